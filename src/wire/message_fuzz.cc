// Any bytes as any message body, request or reply: the first byte picks the table. What the
// verifier lets through is read in full (UnPack touches every field), packed again, and must come
// out equal.
#include <cstdlib>
#include <memory>
#include <vector>

#include "wire/message.h"

namespace gd2fs {
namespace {

template <class Table>
void opens(ConstBytes body) {
  const Table* table = open_body<Table>(body);
  if (table == nullptr) return;
  const std::unique_ptr<typename Table::NativeTableType> object(table->UnPack());
  const auto packed = pack_body(*object);
  // A hostile body may name one string a thousand times; unpacked and packed again it may be
  // larger than a body can be.
  if (packed.size() > kFrameBodyMaxBytes) return;
  const Table* again = open_body<Table>(packed);
  if (again == nullptr) std::abort();
  const std::unique_ptr<typename Table::NativeTableType> copy(again->UnPack());
  if (pack_body(*copy) != packed) std::abort();
}

constexpr void (*kOpens[])(ConstBytes) = {
    opens<msg::Error>,
    opens<msg::Hello>,
    opens<msg::Challenge>,
    opens<msg::Proof>,
    opens<msg::Welcome>,
    opens<msg::FileInfo>,
    opens<msg::Lookup>,
    opens<msg::LookupReply>,
    opens<msg::Create>,
    opens<msg::CreateReply>,
    opens<msg::Mkdir>,
    opens<msg::Rmdir>,
    opens<msg::Unlink>,
    opens<msg::Rename>,
    opens<msg::Done>,
    opens<msg::Readdir>,
    opens<msg::DirEntry>,
    opens<msg::ReaddirReply>,
    opens<msg::Reserve>,
    opens<msg::ReserveReply>,
    opens<msg::SetSize>,
    opens<msg::SetSizeReply>,
    opens<msg::Truncate>,
    opens<msg::TruncateReply>,
    opens<msg::Usage>,
    opens<msg::UsageReply>,
    opens<msg::ClusterPolicy>,
    opens<msg::ServerInfo>,
    opens<msg::GroupInfo>,
    opens<msg::ClusterMap>,
    opens<msg::ClusterMapReply>,
    opens<msg::ClusterCreate>,
    opens<msg::ClusterCreateReply>,
    opens<msg::ClusterList>,
    opens<msg::ClusterInfo>,
    opens<msg::ClusterListReply>,
    opens<msg::ClusterRemove>,
    opens<msg::ClusterPolicySet>,
    opens<msg::TokenRotate>,
    opens<msg::TokenRotateReply>,
    opens<msg::Counter>,
    opens<msg::ServerStatus>,
    opens<msg::DeploymentStatus>,
    opens<msg::DeploymentStatusReply>,
    opens<msg::Scrub>,
    opens<msg::ScrubReply>,
    opens<msg::Evict>,
    opens<msg::MetaDump>,
    opens<msg::MetaDumpReply>,
    opens<msg::MetaLoad>,
    opens<msg::RegisterServer>,
    opens<msg::RegisterServerReply>,
    opens<msg::Heartbeat>,
    opens<msg::HeartbeatReply>,
    opens<msg::Fence>,
    opens<msg::ClusterKey>,
    opens<msg::ClusterKeys>,
    opens<msg::ServerStatusRequest>,
    opens<msg::ServerStatusReply>,
    opens<msg::ServerEvict>,
    opens<msg::BindHandle>,
    opens<msg::Read>,
    opens<msg::ReadReply>,
    opens<msg::Write>,
    opens<msg::WriteReply>,
    opens<msg::Cancel>,
    opens<msg::Flush>,
};

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // A copy: aligned, and with its end where the sanitizer sees it.
  const std::vector<uint8_t> body(data + 1, data + size);
  gd2fs::kOpens[data[0] % std::size(gd2fs::kOpens)](gd2fs::as_bytes(body.data(), body.size()));
  const gd2fs::Status status = gd2fs::open_error(gd2fs::as_bytes(body.data(), body.size()));
  if (status.ok()) std::abort();
  return 0;
}
