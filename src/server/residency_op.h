// Residency: serves one residency request: how many bytes of its pieces are in the slab. Answers at
// once and keeps nothing.
#pragma once

#include <vector>

#include "server/handle_table.h"
#include "store/store.h"
#include "wire/messages_generated.h"

namespace gd2fs::server {

class Connection;

// The connection has checked handle, epochs and the pieces' number and bounds.
void residency_op(Connection& connection, uint64_t request_id, const Handle& handle,
                  const msg::Residency& residency);

// Those that are not empty.
std::vector<msg::ReadPiece> pieces_of(const flatbuffers::Vector<const msg::ReadPiece*>* pieces);
uint64_t resident_bytes(const Store& store, const Handle& handle,
                        const std::vector<msg::ReadPiece>& pieces);

}  // namespace gd2fs::server
