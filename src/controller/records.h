// Records: what a controller keeps in the MetaStore beside the namespace: the servers that hold
// data, the groups with their epochs, the keys that capabilities are signed with. Table 'S'.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace gd2fs::controller {

struct ServerRecord {
  uint32_t server_id = 0;
  uint64_t incarnation = 0;  // of its last registration
  std::vector<std::string> addresses;
  friend bool operator==(const ServerRecord&, const ServerRecord&) = default;
};

struct GroupRecord {
  uint32_t group = 0;
  uint64_t epoch = 0;
  uint64_t map_version = 0;  // of the whole map; kept with group 0
  std::vector<uint32_t> members;
  friend bool operator==(const GroupRecord&, const GroupRecord&) = default;
};

struct CapabilityKeysRecord {
  std::string current;
  std::string previous;  // empty: none yet
  uint64_t made_us = 0;  // when the current one was made
  friend bool operator==(const CapabilityKeysRecord&, const CapabilityKeysRecord&) = default;
};

std::string server_key(uint32_t server_id);
std::string group_key(uint32_t group);
std::string capability_keys_key();

std::string encode(const ServerRecord& record, std::string_view key);
std::string encode(const GroupRecord& record, std::string_view key);
std::string encode(const CapabilityKeysRecord& record, std::string_view key);
Result<ServerRecord> decode_server(std::string_view key, std::string_view value);
Result<GroupRecord> decode_group(std::string_view key, std::string_view value);
Result<CapabilityKeysRecord> decode_capability_keys(std::string_view key, std::string_view value);

}  // namespace gd2fs::controller
