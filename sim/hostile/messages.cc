#include "sim/hostile/messages.h"

#include "wire/ids.h"

namespace gd2fs::sim {
namespace {

constexpr size_t kPiecesAskedMax = 300;  // more than kPiecesMax
constexpr uint64_t kPieceBytes = 4096;

using Body = std::vector<std::byte>;

template <class Object>
Body with_path(Script& script, std::string_view honest) {
  Object request;
  request.path = script.text(honest);
  request.tag = script.tag();
  return pack_body(request);
}

// --- names ---
Body lookup_body(Script& script) {
  msg::LookupT request;
  request.path = script.text("/f");
  request.create_if_missing = script.flag(true);
  request.write = script.flag(true);
  request.tag = script.tag();
  return pack_body(request);
}
Body create_body(Script& script) {
  msg::CreateT request;
  request.path = script.text("/f");
  request.size_bytes = script.number(0);
  request.chunk_log2 = static_cast<uint8_t>(script.number(0));
  request.flags = static_cast<uint32_t>(script.number(0));
  request.tag = script.tag();
  return pack_body(request);
}
Body rename_body(Script& script) {
  msg::RenameT request;
  request.from = script.text("/f");
  request.to = script.text("/d/f");
  request.tag = script.tag();
  return pack_body(request);
}
Body readdir_body(Script& script) {
  msg::ReaddirT request;
  request.path = script.text("/");
  request.after = script.text("");
  request.limit = static_cast<uint32_t>(script.number(0));
  return pack_body(request);
}
Body truncate_body(Script& script) {
  msg::TruncateT request;
  request.path = script.text("/f");
  request.size_bytes = script.number(100);
  request.tag = script.tag();
  return pack_body(request);
}
Body reserve_body(Script& script) {
  msg::ReserveT request;
  request.inode = script.number(script.known().inode);
  request.generation = script.number(script.known().generation);
  request.end_bytes = script.number(kPieceBytes);
  return pack_body(request);
}
Body set_size_body(Script& script) {
  msg::SetSizeT request;
  request.inode = script.number(script.known().inode);
  request.generation = script.number(script.known().generation);
  request.end_bytes = script.number(kPieceBytes);
  request.tag = script.tag();
  return pack_body(request);
}
Body usage_body(Script& script) {
  msg::UsageT request;
  request.path = script.text("/");
  return pack_body(request);
}
Body evict_body(Script& script) {
  msg::EvictT request;
  request.path = script.text("/f");
  return pack_body(request);
}

// --- clusters and the deployment ---
std::unique_ptr<msg::ClusterPolicyT> policy(Script& script) {
  if (script.flag(false)) return nullptr;
  auto out = std::make_unique<msg::ClusterPolicyT>();
  out->chunk_log2 = static_cast<uint8_t>(script.number(kChunkLog2Min));
  out->quota_bytes = script.number(0);
  out->durability = script.text("disk");
  return out;
}
template <class Object>
Body with_policy(Script& script, std::string_view honest) {
  Object request;
  request.name = script.text(honest);
  request.policy = policy(script);
  request.tag = script.tag();
  return pack_body(request);
}
template <class Object>
Body with_name(Script& script, std::string_view honest) {
  Object request;
  request.name = script.text(honest);
  request.tag = script.tag();
  return pack_body(request);
}
template <class Object>
Body plain(Script&) {
  return pack_body(Object());
}
Body scrub_body(Script& script) {
  msg::ScrubT request;
  request.rate_bytes_per_s = script.number(0);
  request.wait = script.flag(true);
  request.status_only = script.flag(false);
  return pack_body(request);
}
Body meta_dump_body(Script& script) {
  msg::MetaDumpT request;
  request.after = script.flag(false) ? script.known().dump_next : script.text("");
  request.limit = static_cast<uint32_t>(script.number(0));
  return pack_body(request);
}
Body meta_load_body(Script& script) {
  msg::MetaLoadT request;
  for (size_t i = script.count(1, 8); i > 0; --i) {
    request.lines.push_back(script.text(R"({"kind":"gd2fs metadata","format":1})"));
  }
  request.tag = script.tag();
  return pack_body(request);
}

// --- data servers ---
Body register_server_body(Script& script) {
  Known& known = script.known();
  msg::RegisterServerT request;
  if (script.byte() != 255) request.info = std::make_unique<msg::ServerInfoT>();
  if (request.info != nullptr) {
    request.info->server_id = static_cast<uint32_t>(script.number(1));
    request.info->incarnation = script.number(known.server_incarnation);
    for (size_t i = script.count(1, 40); i > 0; --i) {
      request.info->addresses.push_back(script.text("tcp://server:7528"));
    }
    request.info->alive = script.flag(true);
  }
  request.drives = static_cast<uint32_t>(script.number(1));
  request.total_bytes = script.number(uint64_t{1} << 40);
  request.free_bytes = script.number(uint64_t{1} << 39);
  request.deployment_id = script.number(known.deployment);
  return pack_body(request);
}
Body heartbeat_body(Script& script) {
  msg::HeartbeatT request;
  request.server_id = static_cast<uint32_t>(script.number(1));
  request.incarnation = script.number(script.known().server_incarnation);
  request.free_bytes = script.number(uint64_t{1} << 39);
  request.used_bytes = script.number(0);
  return pack_body(request);
}

// --- controller -> data server ---
Body fence_body(Script& script) {
  Known& known = script.known();
  msg::FenceT request;
  request.inode = script.number(known.inode);
  request.generation = script.number(known.generation + 1);
  request.keep_bytes = script.number(UINT64_MAX);
  request.chunk_log2 = static_cast<uint8_t>(script.number(kChunkLog2Min));
  request.unlinked = script.flag(false);
  request.cluster_id = static_cast<uint16_t>(script.number(known.inode >> 48));
  request.namespace_epoch = script.number(0);
  return pack_body(request);
}
Body cluster_keys_body(Script& script) {
  msg::ClusterKeysT keys;
  open_body<msg::ClusterKeys>(script.known().keys)->UnPackTo(&keys);
  bend_keys(keys, script);
  return pack_body(keys);
}
Body server_evict_body(Script& script) {
  msg::ServerEvictT request;
  request.inode = script.number(script.known().inode);
  return pack_body(request);
}

// --- client -> data server ---
Body bind_handle_body(Script& script) {
  msg::BindHandleT request;
  request.handle = static_cast<uint32_t>(script.number(1));
  script.known().handle = request.handle;
  request.capability = script.bytes(script.known().capability);
  return pack_body(request);
}
template <class Object>
void aim(Object& request, Script& script) {
  Known& known = script.known();
  request.handle = static_cast<uint32_t>(script.number(known.handle));
  request.generation = script.number(known.generation);
  request.namespace_epoch = script.number(known.namespace_epoch);
  request.group = static_cast<uint32_t>(script.number(0));
  request.epoch = script.number(known.epoch);
}
Body read_body(Script& script) {
  msg::ReadT request;
  aim(request, script);
  request.sequential = script.flag(false);
  const size_t pieces = script.count(1, kPiecesAskedMax);
  for (size_t i = 0; i < pieces; ++i) {
    const uint64_t window_offset = script.number(i * kPieceBytes);
    const auto chunk = static_cast<uint32_t>(script.number(0));
    const auto offset = static_cast<uint32_t>(script.number(0));
    const auto length = static_cast<uint32_t>(script.number(kPieceBytes));
    request.pieces.emplace_back(window_offset, chunk, offset, length, 0);
  }
  return pack_body(request);
}
Body write_body(Script& script) {
  Known& known = script.known();
  msg::WriteT request;
  aim(request, script);
  request.incarnation = script.number(known.incarnation);
  const size_t pieces = script.count(1, kPiecesAskedMax);
  for (size_t i = 0; i < pieces; ++i) {
    const uint64_t window_offset = script.number(i * kPieceBytes);
    const uint64_t sequence = script.number(++known.sequence);
    const auto chunk = static_cast<uint32_t>(script.number(0));
    const auto offset = static_cast<uint32_t>(script.number(0));
    const auto length = static_cast<uint32_t>(script.number(kPieceBytes));
    request.pieces.emplace_back(window_offset, sequence, chunk, offset, length, 0);
  }
  request.low = script.number(1);
  return pack_body(request);
}
Body cancel_body(Script& script) {
  msg::CancelT request;
  request.request_id = script.number(script.known().request_id);
  return pack_body(request);
}
Body flush_body(Script& script) {
  msg::FlushT request;
  request.handle = static_cast<uint32_t>(script.number(script.known().handle));
  return pack_body(request);
}

constexpr RequestKind kRequests[] = {
    {msg::Type::lookup, Voice::client, lookup_body},
    {msg::Type::create, Voice::client, create_body},
    {msg::Type::mkdir, Voice::client, [](Script& s) { return with_path<msg::MkdirT>(s, "/d"); }},
    {msg::Type::rmdir, Voice::client, [](Script& s) { return with_path<msg::RmdirT>(s, "/d"); }},
    {msg::Type::unlink, Voice::client, [](Script& s) { return with_path<msg::UnlinkT>(s, "/u"); }},
    {msg::Type::rename, Voice::client, rename_body},
    {msg::Type::readdir, Voice::client, readdir_body},
    {msg::Type::reserve, Voice::client, reserve_body},
    {msg::Type::set_size, Voice::client, set_size_body},
    {msg::Type::truncate, Voice::client, truncate_body},
    {msg::Type::usage, Voice::client, usage_body},
    {msg::Type::evict, Voice::client, evict_body},
    {msg::Type::cluster_map, Voice::client, plain<msg::ClusterMapT>},
    {msg::Type::cluster_map, Voice::admin, plain<msg::ClusterMapT>},
    {msg::Type::cluster_create, Voice::admin,
     [](Script& s) { return with_policy<msg::ClusterCreateT>(s, "c2"); }},
    {msg::Type::cluster_list, Voice::admin, plain<msg::ClusterListT>},
    {msg::Type::cluster_remove, Voice::admin,
     [](Script& s) { return with_name<msg::ClusterRemoveT>(s, "c2"); }},
    {msg::Type::cluster_policy, Voice::admin,
     [](Script& s) { return with_policy<msg::ClusterPolicySetT>(s, "c0"); }},
    {msg::Type::token_rotate, Voice::admin,
     [](Script& s) { return with_name<msg::TokenRotateT>(s, "c0"); }},
    {msg::Type::deployment_status, Voice::admin, plain<msg::DeploymentStatusT>},
    {msg::Type::scrub, Voice::admin, scrub_body},
    {msg::Type::evict, Voice::admin, evict_body},
    {msg::Type::meta_dump, Voice::admin, meta_dump_body},
    {msg::Type::meta_load, Voice::admin, meta_load_body},
    {msg::Type::register_server, Voice::data_server, register_server_body},
    {msg::Type::heartbeat, Voice::data_server, heartbeat_body},
    {msg::Type::bind_handle, Voice::reader, bind_handle_body, true},
    {msg::Type::read, Voice::reader, read_body},
    {msg::Type::write, Voice::reader, write_body},
    {msg::Type::cancel, Voice::reader, cancel_body, true},
    {msg::Type::flush, Voice::reader, flush_body},
    {msg::Type::fence, Voice::controller, fence_body},
    {msg::Type::cluster_keys, Voice::controller, cluster_keys_body},
    {msg::Type::server_status, Voice::controller, plain<msg::ServerStatusRequestT>},
    {msg::Type::server_scrub, Voice::controller, scrub_body},
    {msg::Type::server_evict, Voice::controller, server_evict_body},
};

}  // namespace

std::span<const RequestKind> request_kinds() {
  return kRequests;
}

}  // namespace gd2fs::sim
