#include "meta/records.h"

#include "base/check.h"
#include "meta/keys.h"

namespace gd2fs {

namespace {

Status bad_field(std::string_view key, std::string_view what) {
  return {StatusCode::corrupt,
          "metadata record " + printable_key(key) + ": unknown " + std::string(what)};
}

bool known(FileType type) {
  return type == FileType::file || type == FileType::directory;
}

}  // namespace

std::string FormatRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::format);
  out.u32(format);
  out.u8(loading ? 1 : 0);
  return std::move(out).finish(key);
}

Result<FormatRecord> FormatRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::format, key, value));
  FormatRecord record;
  record.format = in.u32();
  record.loading = in.u8() != 0;
  GD2FS_TRY(in.finish());
  return record;
}

std::string CounterRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::counter);
  out.u64(next);
  return std::move(out).finish(key);
}

Result<CounterRecord> CounterRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::counter, key, value));
  CounterRecord record;
  record.next = in.u64();
  GD2FS_TRY(in.finish());
  return record;
}

std::string ClusterNameRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::cluster_name);
  out.u16(cluster);
  return std::move(out).finish(key);
}

Result<ClusterNameRecord> ClusterNameRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::cluster_name, key, value));
  ClusterNameRecord record;
  record.cluster = in.u16();
  GD2FS_TRY(in.finish());
  return record;
}

std::string ClusterRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::cluster);
  out.text(cluster.name);
  out.u8(cluster.policy.chunk_log2);
  out.u64(cluster.policy.quota_bytes);
  out.u8(static_cast<uint8_t>(cluster.policy.durability));
  out.u64(cluster.namespace_epoch);
  out.text(cluster.token);
  out.text(cluster.previous_token);
  out.u64(cluster.created_us);
  out.rest(rest);
  return std::move(out).finish(key);
}

Result<ClusterRecord> ClusterRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::cluster, key, value));
  ClusterRecord record;
  Cluster& cluster = record.cluster;
  GD2FS_ASSIGN(cluster.id, parse_cluster_key(key));
  cluster.name = in.text();
  cluster.policy.chunk_log2 = in.u8();
  cluster.policy.quota_bytes = in.u64();
  cluster.policy.durability = static_cast<Durability>(in.u8());
  cluster.namespace_epoch = in.u64();
  cluster.token = in.text();
  cluster.previous_token = in.text();
  cluster.created_us = in.u64();
  record.rest = in.rest();
  GD2FS_TRY(in.finish());
  if (cluster.policy.durability > Durability::memory) return fail(bad_field(key, "durability"));
  return record;
}

std::string DentryRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::dentry);
  out.u8(static_cast<uint8_t>(type));
  out.u64(inode);
  out.u8(holds);
  if (holds > 0) {
    out.u8(static_cast<uint8_t>(was_type));
    out.u64(was_inode);
  }
  return std::move(out).finish(key);
}

Result<DentryRecord> DentryRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::dentry, key, value));
  DentryRecord record;
  record.type = static_cast<FileType>(in.u8());
  record.inode = in.u64();
  record.holds = in.u8();
  record.was_type = static_cast<FileType>(in.u8());
  record.was_inode = in.u64();
  GD2FS_TRY(in.finish());
  const bool held_away = record.type == FileType::none && record.holds > 0;
  if ((!known(record.type) && !held_away) || record.was_type > FileType::directory) {
    return fail(bad_field(key, "type"));
  }
  return record;
}

std::string InodeRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::inode);
  out.u8(static_cast<uint8_t>(type));
  out.u8(unlinked ? 1 : 0);
  out.u8(chunk_log2);
  out.u32(layout_version);
  out.u64(generation);
  out.u64(size_bytes);
  out.u64(reserved_bytes);
  out.u64(mtime_us);
  out.u64(ctime_us);
  out.u64(pending_generation);
  out.u64(parent);
  out.text(name);
  // Only where there is something to say, so that all other records stay as they always were.
  if (attributes != 0 || !rest.empty()) out.u8(attributes);
  out.rest(rest);
  return std::move(out).finish(key);
}

Result<InodeRecord> InodeRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::inode, key, value));
  InodeRecord record;
  record.type = static_cast<FileType>(in.u8());
  record.unlinked = in.u8() != 0;
  record.chunk_log2 = in.u8();
  record.layout_version = in.u32();
  record.generation = in.u64();
  record.size_bytes = in.u64();
  record.reserved_bytes = in.u64();
  record.mtime_us = in.u64();
  record.ctime_us = in.u64();
  record.pending_generation = in.u64();
  record.parent = in.u64();
  record.name = in.text();
  record.attributes = in.u8();
  record.rest = in.rest();
  GD2FS_TRY(in.finish());
  if (!known(record.type)) return fail(bad_field(key, "type"));
  return record;
}

std::string UsageRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::usage);
  out.i64(files);
  out.i64(directories);
  out.i64(size_bytes);
  out.i64(reserved_bytes);
  out.i64(granted_bytes);
  return std::move(out).finish(key);
}

Result<UsageRecord> UsageRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::usage, key, value));
  UsageRecord record;
  record.files = in.i64();
  record.directories = in.i64();
  record.size_bytes = in.i64();
  record.reserved_bytes = in.i64();
  record.granted_bytes = in.i64();
  GD2FS_TRY(in.finish());
  return record;
}

std::string IntentRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::intent);
  out.u64(intent.keep_bytes);
  out.u8(intent.chunk_log2);
  out.u8(intent.unlinked ? 1 : 0);
  out.u64(intent.namespace_epoch);
  out.u8(intent.settled ? 1 : 0);
  out.u8(static_cast<uint8_t>(held.size()));
  for (const HeldName& name : held) {
    out.u64(name.parent);
    out.text(name.name);
  }
  return std::move(out).finish(key);
}

Result<IntentRecord> IntentRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(const IntentKey id, parse_intent_key(key));
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::intent, key, value));
  IntentRecord record;
  record.intent.inode = id.inode;
  record.intent.generation = id.generation;
  record.intent.keep_bytes = in.u64();
  record.intent.chunk_log2 = in.u8();
  record.intent.unlinked = in.u8() != 0;
  record.intent.namespace_epoch = in.u64();
  record.intent.settled = in.u8() != 0;
  const uint8_t held = in.u8();
  for (uint8_t i = 0; i < held; ++i) {
    HeldName name;
    name.parent = in.u64();
    name.name = in.text();
    record.held.push_back(std::move(name));
  }
  GD2FS_TRY(in.finish());
  return record;
}

std::string AnswerRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::tag);
  out.u64(sequence);
  out.u8(operation);
  out.u32(arguments_crc);
  out.u64(time_us);
  out.u8(static_cast<uint8_t>(status.code()));
  out.u16(static_cast<uint16_t>(status.errno_value()));
  out.text(status.text().substr(0, kTextMaxBytes));
  out.u64(info.inode);
  out.u8(static_cast<uint8_t>(info.type));
  out.u64(info.generation);
  out.u64(info.size_bytes);
  out.u64(info.reserved_bytes);
  out.u8(info.chunk_log2);
  out.u32(info.layout_version);
  out.u64(info.mtime_us);
  out.u64(info.ctime_us);
  out.u64(info.namespace_epoch);
  CHECK(intents.size() <= UINT8_MAX);
  out.u8(static_cast<uint8_t>(intents.size()));
  for (const Intent& intent : intents) {
    out.u64(intent.inode);
    out.u64(intent.generation);
  }
  if (info.pinned) out.u8(InodeRecord::kPinned);
  return std::move(out).finish(key);
}

Result<AnswerRecord> AnswerRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::tag, key, value));
  AnswerRecord record;
  record.sequence = in.u64();
  record.operation = in.u8();
  record.arguments_crc = in.u32();
  record.time_us = in.u64();
  const uint8_t code = in.u8();
  const uint16_t errno_value = in.u16();
  const std::string text = in.text();
  if (code >= kStatusCodes) return fail(bad_field(key, "status code"));
  if (code != 0) record.status = Status(static_cast<StatusCode>(code), text, errno_value);
  InodeInfo& info = record.info;
  info.inode = in.u64();
  info.type = static_cast<FileType>(in.u8());
  info.generation = in.u64();
  info.size_bytes = in.u64();
  info.reserved_bytes = in.u64();
  info.chunk_log2 = in.u8();
  info.layout_version = in.u32();
  info.mtime_us = in.u64();
  info.ctime_us = in.u64();
  info.namespace_epoch = in.u64();
  const uint8_t intents = in.u8();
  for (uint8_t i = 0; i < intents; ++i) {
    Intent intent;
    intent.inode = in.u64();
    intent.generation = in.u64();
    record.intents.push_back(intent);
  }
  info.pinned = (in.u8() & InodeRecord::kPinned) != 0;
  GD2FS_TRY(in.finish());
  if (info.type > FileType::directory) return fail(bad_field(key, "type"));
  return record;
}

std::string TagFloorRecord::encode(std::string_view key) const {
  RecordWriter out(RecordKind::tag_floor);
  out.u64(sequence);
  out.u64(time_us);
  return std::move(out).finish(key);
}

Result<TagFloorRecord> TagFloorRecord::decode(std::string_view key, std::string_view value) {
  GD2FS_ASSIGN(RecordReader in, RecordReader::open(RecordKind::tag_floor, key, value));
  TagFloorRecord record;
  record.sequence = in.u64();
  record.time_us = in.u64();
  GD2FS_TRY(in.finish());
  return record;
}

InodeInfo info_of(uint64_t inode, const InodeRecord& record, uint64_t namespace_epoch) {
  return {.inode = inode,
          .type = record.type,
          .generation = record.generation,
          .size_bytes = record.size_bytes,
          .reserved_bytes = record.reserved_bytes,
          .chunk_log2 = record.chunk_log2,
          .layout_version = record.layout_version,
          .mtime_us = record.mtime_us,
          .ctime_us = record.ctime_us,
          .pinned = (record.attributes & InodeRecord::kPinned) != 0,
          .namespace_epoch = namespace_epoch};
}

}  // namespace gd2fs
