#include "controller/records.h"

#include "meta/keys.h"
#include "meta/record.h"

namespace gd2fs::controller {
namespace {

constexpr uint16_t kListMax = 256;  // addresses of a server, members of a group

std::string numbered_key(char kind, uint32_t number) {
  std::string key{kControllerTable, kind};
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
  return key;
}

Status list_too_long(std::string_view key) {
  return {StatusCode::corrupt, "record " + printable_key(key) + ": its list is too long"};
}

}  // namespace

std::string server_key(uint32_t server_id) {
  return numbered_key('s', server_id);
}
std::string group_key(uint32_t group) {
  return numbered_key('g', group);
}
std::string capability_keys_key() {
  return {kControllerTable, 'c'};
}

std::string encode(const ServerRecord& record, std::string_view key) {
  RecordWriter out(RecordKind::server);
  out.u32(record.server_id);
  out.u64(record.incarnation);
  out.u16(static_cast<uint16_t>(record.addresses.size()));
  for (const std::string& address : record.addresses) out.text(address);
  return std::move(out).finish(key);
}

Result<ServerRecord> decode_server(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::server, key, value));
  ServerRecord record;
  record.server_id = in.u32();
  record.incarnation = in.u64();
  const uint16_t addresses = in.u16();
  if (addresses > kListMax) return fail(list_too_long(key));
  for (uint16_t i = 0; i < addresses; ++i) record.addresses.push_back(in.text());
  GD2FS_TRY(in.finish());
  return record;
}

std::string encode(const GroupRecord& record, std::string_view key) {
  RecordWriter out(RecordKind::group);
  out.u32(record.group);
  out.u64(record.epoch);
  out.u64(record.map_version);
  out.u16(static_cast<uint16_t>(record.members.size()));
  for (const uint32_t member : record.members) out.u32(member);
  return std::move(out).finish(key);
}

Result<GroupRecord> decode_group(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::group, key, value));
  GroupRecord record;
  record.group = in.u32();
  record.epoch = in.u64();
  record.map_version = in.u64();
  const uint16_t members = in.u16();
  if (members > kListMax) return fail(list_too_long(key));
  for (uint16_t i = 0; i < members; ++i) record.members.push_back(in.u32());
  GD2FS_TRY(in.finish());
  return record;
}

std::string encode(const CapabilityKeysRecord& record, std::string_view key) {
  RecordWriter out(RecordKind::capability_keys);
  out.text(record.current);
  out.text(record.previous);
  out.u64(record.made_us);
  return std::move(out).finish(key);
}

Result<CapabilityKeysRecord> decode_capability_keys(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::capability_keys, key, value));
  CapabilityKeysRecord record;
  record.current = in.text();
  record.previous = in.text();
  record.made_us = in.u64();
  GD2FS_TRY(in.finish());
  return record;
}

}  // namespace gd2fs::controller
