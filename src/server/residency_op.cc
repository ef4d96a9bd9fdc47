#include "server/residency_op.h"

#include "server/connection.h"
#include "server/server_state.h"

namespace gd2fs::server {

void residency_op(Connection& connection, uint64_t request_id, const Handle& handle,
                  const msg::Residency& residency) {
  ServerState& server = connection.state();
  const uint64_t bytes = resident_bytes(server.store, handle, pieces_of(residency.pieces()));
  auto& builder = server.reply_builder();
  connection.reply(msg::Type::residency, request_id,
                   finish_body(builder, msg::CreateResidencyReply(builder, bytes)));
}

std::vector<msg::ReadPiece> pieces_of(const flatbuffers::Vector<const msg::ReadPiece*>* pieces) {
  std::vector<msg::ReadPiece> out;
  if (pieces == nullptr) return out;
  for (const msg::ReadPiece* piece : *pieces) {
    if (piece->length_bytes() > 0) out.push_back(*piece);
  }
  return out;
}

uint64_t resident_bytes(const Store& store, const Handle& handle,
                        const std::vector<msg::ReadPiece>& pieces) {
  uint64_t bytes = 0;
  for (const msg::ReadPiece& piece : pieces) {
    bytes +=
        store.residency({handle.inode, piece.chunk()}, piece.offset_bytes(), piece.length_bytes())
            .bytes;
  }
  return bytes;
}

}  // namespace gd2fs::server
