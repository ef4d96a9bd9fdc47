// Keys: how the namespace's records are named in a MetaStore. The first byte tells the table, the
// rest is big-endian, so that byte order is the order of the numbers. Frozen by golden tests;
// docs/on_disk_meta.md has the table. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gd2fs {

inline constexpr char kFormatTable = 'A';
inline constexpr char kClusterTable = 'B';
inline constexpr char kClusterNameTable = 'C';
inline constexpr char kDentryTable = 'D';
inline constexpr char kInodeTable = 'I';
inline constexpr char kCounterTable = 'N';
inline constexpr char kControllerTable = 'S';  // controller/records.h
inline constexpr char kTagTable = 'T';
inline constexpr char kUsageTable = 'U';
inline constexpr char kIntentTable = 'X';

// The whole table is [table, table_end).
std::string table_begin(char table);
std::string table_end(char table);

std::string format_key();
std::string cluster_key(uint16_t cluster);
std::string cluster_name_key(std::string_view name);
// The entries of a directory are [dentry_key(parent, ""), dentry_key(parent + 1, "")).
std::string dentry_key(uint64_t parent, std::string_view name);
std::string inode_key(uint64_t inode);
// The next number to give out: of clusters for cluster 0, else of the cluster's inodes.
std::string counter_key(uint16_t cluster);
std::string tag_floor_key(uint64_t incarnation);
std::string tag_slot_key(uint64_t incarnation, uint8_t slot);
std::string usage_key(uint16_t cluster, uint8_t shard);
std::string intent_key(uint64_t inode, uint64_t generation);

// The way back, for whoever lists a table. corrupt if the key is not of that form.
struct DentryKey {
  uint64_t parent = 0;
  std::string name;
};
struct TagKey {
  uint64_t incarnation = 0;
  bool floor = false;
  uint8_t slot = 0;
};
struct IntentKey {
  uint64_t inode = 0;
  uint64_t generation = 0;
};
struct UsageKey {
  uint16_t cluster = 0;
  uint8_t shard = 0;
};
Result<uint16_t> parse_cluster_key(std::string_view key);
Result<std::string> parse_cluster_name_key(std::string_view key);
Result<DentryKey> parse_dentry_key(std::string_view key);
Result<uint64_t> parse_inode_key(std::string_view key);
Result<uint16_t> parse_counter_key(std::string_view key);
Result<TagKey> parse_tag_key(std::string_view key);
Result<UsageKey> parse_usage_key(std::string_view key);
Result<IntentKey> parse_intent_key(std::string_view key);

// For messages: 'I0003000000000001' with unprintable bytes as \xNN.
std::string printable_key(std::string_view key);

}  // namespace gd2fs
