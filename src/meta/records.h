// Records: the namespace's tables as structs, each with the way to and from its bytes. record.h has
// the frame around the fields, keys.h the keys, docs/on_disk_meta.md all of it on one page. Pure;
// any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "meta/namespace.h"
#include "meta/record.h"

namespace gd2fs {

struct FormatRecord {
  static constexpr uint32_t kFormat = 1;
  uint32_t format = kFormat;
  bool loading = false;  // a load has begun and not ended
  std::string encode(std::string_view key) const;
  static Result<FormatRecord> decode(std::string_view key, std::string_view value);
};

struct CounterRecord {
  uint64_t next = 0;
  std::string encode(std::string_view key) const;
  static Result<CounterRecord> decode(std::string_view key, std::string_view value);
};

struct ClusterNameRecord {
  uint16_t cluster = 0;
  std::string encode(std::string_view key) const;
  static Result<ClusterNameRecord> decode(std::string_view key, std::string_view value);
};

struct ClusterRecord {
  Cluster cluster;  // the id is in the key
  std::string rest;
  std::string encode(std::string_view key) const;
  static Result<ClusterRecord> decode(std::string_view key, std::string_view value);
};

// A name. While `holds` intents that changed it are not settled, it is held: the name is not free
// (also with type none: unlinked or renamed away), and `was_` is what it meant before.
struct DentryRecord {
  FileType type = FileType::none;
  uint64_t inode = 0;
  uint8_t holds = 0;
  FileType was_type = FileType::none;
  uint64_t was_inode = 0;
  std::string encode(std::string_view key) const;
  static Result<DentryRecord> decode(std::string_view key, std::string_view value);
};

struct InodeRecord {
  FileType type = FileType::none;
  bool unlinked = false;  // a tombstone: its unlink intent is open
  uint8_t chunk_log2 = 0;
  uint32_t layout_version = 0;
  uint64_t generation = 1;
  uint64_t size_bytes = 0;
  uint64_t reserved_bytes = 0;
  uint64_t mtime_us = 0;
  uint64_t ctime_us = 0;
  // The generation whose intent is not settled; 0 = none.
  uint64_t pending_generation = 0;
  // Where its dentry is. For messages, and to find the way back after damage.
  uint64_t parent = 0;
  std::string name;
  static constexpr uint8_t kPinned = 1;  // to be kept in the servers' memory
  uint8_t attributes = 0;                // k...; bits of newer writers are kept
  std::string rest;
  std::string encode(std::string_view key) const;
  static Result<InodeRecord> decode(std::string_view key, std::string_view value);
};

// Sums of one shard; a single shard may be below zero.
struct UsageRecord {
  int64_t files = 0;
  int64_t directories = 0;
  int64_t size_bytes = 0;
  int64_t reserved_bytes = 0;
  // This shard's part of the quota; meaningless without one. All shards' parts make the quota.
  int64_t granted_bytes = 0;
  std::string encode(std::string_view key) const;
  static Result<UsageRecord> decode(std::string_view key, std::string_view value);
};

struct HeldName {
  uint64_t parent = 0;
  std::string name;
};

struct IntentRecord {
  Intent intent;               // inode and generation are in the key
  std::vector<HeldName> held;  // each counted in its dentry's `holds` until settled
  std::string encode(std::string_view key) const;
  static Result<IntentRecord> decode(std::string_view key, std::string_view value);
};

// The answer to one mutation of one client.
struct AnswerRecord {
  static constexpr size_t kTextMaxBytes = 200;
  uint64_t sequence = 0;
  uint8_t operation = 0;
  uint32_t arguments_crc = 0;
  uint64_t time_us = 0;
  Status status;  // the text is cut to kTextMaxBytes
  InodeInfo info;
  std::vector<Intent> intents;  // inode and generation only
  std::string encode(std::string_view key) const;
  static Result<AnswerRecord> decode(std::string_view key, std::string_view value);
};

struct TagFloorRecord {
  uint64_t sequence = 0;  // this and all below are stale
  uint64_t time_us = 0;
  std::string encode(std::string_view key) const;
  static Result<TagFloorRecord> decode(std::string_view key, std::string_view value);
};

InodeInfo info_of(uint64_t inode, const InodeRecord& record, uint64_t namespace_epoch);

}  // namespace gd2fs
