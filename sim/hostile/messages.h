// Messages: every request and every answer that goes between processes, built from a Script.
#pragma once

#include <span>

#include "sim/hostile/script.h"

namespace gd2fs::sim {

// Who says it, to whom.
enum class Voice : uint8_t {
  client,       // a client to the controller
  admin,        // an administrator to the controller
  data_server,  // a data server to the controller
  reader,       // a client to the data server
  controller,   // a controller to the data server
};
inline constexpr size_t kVoices = 5;

struct RequestKind {
  msg::Type type;
  Voice voice;
  std::vector<std::byte> (*body)(Script& script);
  bool one_way = false;
};
// All there are; docs/protocol.md.
std::span<const RequestKind> request_kinds();

// How one that is asked by `type` answers; null: nobody answers that.
std::vector<std::byte> answer_body(msg::Type type, Script& script);

// A body in which a thousand fields are one and the same long text. Empty: `type` has no such
// fields.
std::vector<std::byte> repeating_body(msg::Type type, Script& script);

// Adds clusters to keys as they are, and changes them, as the script says.
void bend_keys(msg::ClusterKeysT& keys, Script& script);

}  // namespace gd2fs::sim
