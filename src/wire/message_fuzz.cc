// Any bytes as any message body, request or reply: the first byte picks the table. What the
// verifier lets through is read in full (UnPack touches every field), packed again, and must come
// out equal.
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/fuzz_seeds.h"
#include "wire/body_form.h"

namespace gd2fs {
namespace {

template <class Table>
void opens(ConstBytes body) {
  const Table* table = open_body<Table>(body);
  if (table == nullptr) return;
  const std::unique_ptr<typename Table::NativeTableType> object(table->UnPack());
  const auto packed = pack_body(*object);
  // A hostile body may name one small table a thousand times; unpacked and packed again it may be
  // larger than a body can be.
  if (packed.size() > kFrameBodyMaxBytes) return;
  const Table* again = open_body<Table>(packed);
  if (again == nullptr) std::abort();
  const std::unique_ptr<typename Table::NativeTableType> copy(again->UnPack());
  if (pack_body(*copy) != packed) std::abort();
}

// What a form opens without asking the verifier, the verifier would have let through.
template <class Table>
void opens_by_form(const BodyForm<Table>& form, ConstBytes body) {
  if ((form.open(body) != nullptr) != (open_body<Table>(body) != nullptr)) std::abort();
}

template <class Table>
std::vector<std::byte> plain() {
  return pack_body(typename Table::NativeTableType());
}

struct Kind {
  void (*opens)(ConstBytes body);
  std::vector<std::byte> (*plain)();
};
template <class Table>
constexpr Kind kind() {
  return {opens<Table>, plain<Table>};
}

constexpr Kind kKinds[] = {
    kind<msg::Error>(),
    kind<msg::Hello>(),
    kind<msg::Challenge>(),
    kind<msg::Proof>(),
    kind<msg::Welcome>(),
    kind<msg::FileInfo>(),
    kind<msg::Lookup>(),
    kind<msg::LookupReply>(),
    kind<msg::Create>(),
    kind<msg::CreateReply>(),
    kind<msg::Mkdir>(),
    kind<msg::Rmdir>(),
    kind<msg::Unlink>(),
    kind<msg::Rename>(),
    kind<msg::Done>(),
    kind<msg::Readdir>(),
    kind<msg::DirEntry>(),
    kind<msg::ReaddirReply>(),
    kind<msg::Reserve>(),
    kind<msg::ReserveReply>(),
    kind<msg::SetSize>(),
    kind<msg::SetSizeReply>(),
    kind<msg::Truncate>(),
    kind<msg::TruncateReply>(),
    kind<msg::Usage>(),
    kind<msg::UsageReply>(),
    kind<msg::ClusterPolicy>(),
    kind<msg::ServerInfo>(),
    kind<msg::GroupInfo>(),
    kind<msg::ClusterMap>(),
    kind<msg::ClusterMapReply>(),
    kind<msg::ClusterCreate>(),
    kind<msg::ClusterCreateReply>(),
    kind<msg::ClusterList>(),
    kind<msg::ClusterInfo>(),
    kind<msg::ClusterListReply>(),
    kind<msg::ClusterRemove>(),
    kind<msg::ClusterPolicySet>(),
    kind<msg::TokenRotate>(),
    kind<msg::TokenRotateReply>(),
    kind<msg::Counter>(),
    kind<msg::ServerStatus>(),
    kind<msg::DeploymentStatus>(),
    kind<msg::DeploymentStatusReply>(),
    kind<msg::Scrub>(),
    kind<msg::ScrubReply>(),
    kind<msg::Evict>(),
    kind<msg::Setattr>(),
    kind<msg::MetaDump>(),
    kind<msg::MetaDumpReply>(),
    kind<msg::MetaLoad>(),
    kind<msg::RegisterServer>(),
    kind<msg::RegisterServerReply>(),
    kind<msg::Heartbeat>(),
    kind<msg::HeartbeatReply>(),
    kind<msg::Fence>(),
    kind<msg::ClusterKey>(),
    kind<msg::ClusterKeys>(),
    kind<msg::ServerStatusRequest>(),
    kind<msg::ServerStatusReply>(),
    kind<msg::ServerEvict>(),
    kind<msg::ServerPin>(),
    kind<msg::Prefetch>(),
    kind<msg::Residency>(),
    kind<msg::BindHandle>(),
    kind<msg::Read>(),
    kind<msg::ReadReply>(),
    kind<msg::Write>(),
    kind<msg::WriteReply>(),
    kind<msg::Cancel>(),
    kind<msg::Flush>(),
};

// A filled body is offered as every kind: the verifier must tell what it is not.
void add_as_all(SeedFolder& folder, const std::vector<std::byte>& body) {
  for (uint8_t pick = 0; pick < std::size(kKinds); ++pick) folder.add(pick, body);
}

std::vector<std::byte> copy_of(ConstBytes bytes) {
  return {bytes.begin(), bytes.end()};
}

template <class Object>
std::unique_ptr<Object> owned(Object object) {
  return std::make_unique<Object>(std::move(object));
}

// The tables that hold tables, strings or structs.
void seeds(SeedFolder& folder) {
  for (uint8_t pick = 0; pick < std::size(kKinds); ++pick) folder.add(pick, kKinds[pick].plain());
  msg::ErrorT error;
  error.code = 1;
  error.text = "not here";
  error.done = {1, 2};
  add_as_all(folder, pack_body(error));
  msg::HelloT hello;
  hello.cluster = "kv";
  hello.nonce.resize(32);
  add_as_all(folder, pack_body(hello));
  msg::LookupReplyT lookup;
  lookup.info = std::make_unique<msg::FileInfoT>();
  lookup.info->capability.resize(64);
  add_as_all(folder, pack_body(lookup));
  msg::CreateT create;
  create.path = "/a/b";
  create.tag = std::make_unique<msg::Tag>(1, 2, 3);
  add_as_all(folder, pack_body(create));
  msg::ReaddirReplyT names;
  for (const char* name : {"a", "b"}) {
    msg::DirEntryT entry;
    entry.name = name;
    names.entries.push_back(owned(std::move(entry)));
  }
  add_as_all(folder, pack_body(names));
  msg::ServerInfoT server;
  server.addresses = {"tcp://127.0.0.1:7528"};
  msg::GroupInfoT group;
  group.members = {1, 2};
  msg::ClusterMapReplyT map;
  map.policy = std::make_unique<msg::ClusterPolicyT>();
  map.policy->durability = "drive";
  map.groups.push_back(owned(group));
  map.servers.push_back(owned(server));
  add_as_all(folder, pack_body(map));
  msg::RegisterServerReplyT keys;
  keys.groups.push_back(owned(group));
  keys.keys = std::make_unique<msg::ClusterKeysT>();
  keys.keys->keys.push_back(std::make_unique<msg::ClusterKeyT>());
  keys.keys->capability_key.resize(32);
  add_as_all(folder, pack_body(keys));
  msg::ReadT read;
  read.pieces.resize(3);
  add_as_all(folder, pack_body(read));
  add_as_all(folder, copy_of(read_form().bytes()));
  add_as_all(folder, copy_of(read_reply_form().bytes()));
  msg::WriteT write;
  write.pieces.resize(3);
  add_as_all(folder, pack_body(write));
  msg::MetaDumpReplyT dump;
  dump.lines = {"{}", "{\"a\":1}"};
  add_as_all(folder, pack_body(dump));
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // A copy: aligned, and with its end where the sanitizer sees it.
  const std::vector<uint8_t> body(data + 1, data + size);
  const gd2fs::Kind& kind = gd2fs::kKinds[data[0] % std::size(gd2fs::kKinds)];
  const gd2fs::ConstBytes bytes = gd2fs::as_bytes(body.data(), body.size());
  kind.opens(bytes);
  static const auto read_form = gd2fs::read_form();
  static const auto read_reply_form = gd2fs::read_reply_form();
  gd2fs::opens_by_form(read_form, bytes);
  gd2fs::opens_by_form(read_reply_form, bytes);
  const gd2fs::Status status = gd2fs::open_error(bytes);
  if (status.ok()) std::abort();
  return 0;
}
