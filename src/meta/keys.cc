#include "meta/keys.h"

namespace gd2fs {

namespace {

template <class T>
void append_be(std::string* out, T value) {
  for (int shift = static_cast<int>(sizeof(T) - 1) * 8; shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(static_cast<unsigned char>(value >> shift)));
  }
}

template <class T>
T load_be(std::string_view from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8 | static_cast<unsigned char>(from[i]));
  }
  return value;
}

Status not_of(char table, std::string_view key) {
  return {StatusCode::corrupt,
          "key " + printable_key(key) + " is not of table " + std::string(1, table)};
}

bool is_of(std::string_view key, char table, size_t length_bytes) {
  return key.size() == length_bytes && key.front() == table;
}

}  // namespace

std::string table_begin(char table) {
  return std::string(1, table);
}
std::string table_end(char table) {
  return std::string(1, static_cast<char>(table + 1));
}

std::string format_key() {
  return table_begin(kFormatTable);
}

std::string cluster_key(uint16_t cluster) {
  std::string key = table_begin(kClusterTable);
  append_be(&key, cluster);
  return key;
}

std::string cluster_name_key(std::string_view name) {
  std::string key = table_begin(kClusterNameTable);
  key += name;
  return key;
}

std::string dentry_key(uint64_t parent, std::string_view name) {
  std::string key = table_begin(kDentryTable);
  append_be(&key, parent);
  key += name;
  return key;
}

std::string inode_key(uint64_t inode) {
  std::string key = table_begin(kInodeTable);
  append_be(&key, inode);
  return key;
}

std::string counter_key(uint16_t cluster) {
  std::string key = table_begin(kCounterTable);
  append_be(&key, cluster);
  return key;
}

std::string tag_floor_key(uint64_t incarnation) {
  std::string key = table_begin(kTagTable);
  append_be(&key, incarnation);
  return key;
}

std::string tag_slot_key(uint64_t incarnation, uint8_t slot) {
  std::string key = tag_floor_key(incarnation);
  append_be(&key, slot);
  return key;
}

std::string usage_key(uint16_t cluster, uint8_t shard) {
  std::string key = table_begin(kUsageTable);
  append_be(&key, cluster);
  append_be(&key, shard);
  return key;
}

std::string intent_key(uint64_t inode, uint64_t generation) {
  std::string key = table_begin(kIntentTable);
  append_be(&key, inode);
  append_be(&key, generation);
  return key;
}

Result<uint16_t> parse_cluster_key(std::string_view key) {
  if (!is_of(key, kClusterTable, 3)) return fail(not_of(kClusterTable, key));
  return load_be<uint16_t>(key.substr(1));
}

Result<std::string> parse_cluster_name_key(std::string_view key) {
  if (key.empty() || key.front() != kClusterNameTable) return fail(not_of(kClusterNameTable, key));
  return std::string(key.substr(1));
}

Result<DentryKey> parse_dentry_key(std::string_view key) {
  if (key.size() < 9 || key.front() != kDentryTable) return fail(not_of(kDentryTable, key));
  return DentryKey{load_be<uint64_t>(key.substr(1)), std::string(key.substr(9))};
}

Result<uint64_t> parse_inode_key(std::string_view key) {
  if (!is_of(key, kInodeTable, 9)) return fail(not_of(kInodeTable, key));
  return load_be<uint64_t>(key.substr(1));
}

Result<uint16_t> parse_counter_key(std::string_view key) {
  if (!is_of(key, kCounterTable, 3)) return fail(not_of(kCounterTable, key));
  return load_be<uint16_t>(key.substr(1));
}

Result<TagKey> parse_tag_key(std::string_view key) {
  const bool floor = is_of(key, kTagTable, 9);
  if (!floor && !is_of(key, kTagTable, 10)) return fail(not_of(kTagTable, key));
  return TagKey{load_be<uint64_t>(key.substr(1)), floor,
                floor ? uint8_t{0} : load_be<uint8_t>(key.substr(9))};
}

Result<UsageKey> parse_usage_key(std::string_view key) {
  if (!is_of(key, kUsageTable, 4)) return fail(not_of(kUsageTable, key));
  return UsageKey{load_be<uint16_t>(key.substr(1)), load_be<uint8_t>(key.substr(3))};
}

Result<IntentKey> parse_intent_key(std::string_view key) {
  if (!is_of(key, kIntentTable, 17)) return fail(not_of(kIntentTable, key));
  return IntentKey{load_be<uint64_t>(key.substr(1)), load_be<uint64_t>(key.substr(9))};
}

std::string printable_key(std::string_view key) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : key) {
    if (c > ' ' && c <= '~') {
      out.push_back(c);
    } else {
      out += "\\x";
      out.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
      out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
    }
  }
  return out;
}

}  // namespace gd2fs
