// Script: bytes as a fuzzer makes them, read as what a hostile but well-formed peer says. They are
// cut into steps {kind, mode, length, `length` bytes of fields}; each field takes a byte or a few
// of its step, and where the step has no more, or the byte is 0, the field is what an honest peer
// would say. So three bytes are an honest request, and every further byte bends it.
//
// Known is what the peers have learned from answers: an honest request names real inodes, carries
// real capabilities, and a bent one may as well.
#pragma once

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "wire/message.h"

namespace gd2fs::sim {

struct Known {
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t namespace_epoch = 0;
  uint64_t epoch = 0;  // of group 0
  uint32_t handle = 0;
  std::vector<uint8_t> capability;
  uint64_t incarnation = 0xBAD;  // of the hostile client
  uint64_t sequence = 0;         // its last one
  uint64_t request_id = 0;       // of its last request to the data server
  uint64_t server_incarnation = 0;
  uint64_t deployment = 0;
  std::string dump_next;               // where a dump of the metadata goes on
  std::vector<std::byte> keys;         // a ClusterKeys body as the controller sends it
  std::array<uint64_t, 16> numbers{};  // seen lately, any
  size_t numbers_seen = 0;

  void see(uint64_t number) { numbers[numbers_seen++ % numbers.size()] = number; }
};

class Script {
 public:
  Script(ConstBytes bytes, Known& known) : bytes_(bytes), known_(&known) {}

  bool empty() const { return bytes_.empty(); }
  Known& known() { return *known_; }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<uint8_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value;
  }
  ConstBytes take(size_t length_bytes) {
    const ConstBytes taken = bytes_.first(std::min(length_bytes, bytes_.size()));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  ConstBytes rest() { return take(bytes_.size()); }

  bool flag(bool honest) { return (byte() & 1) != 0 ? !honest : honest; }
  uint64_t number(uint64_t honest);
  std::string text(std::string_view honest);
  std::vector<uint8_t> bytes(const std::vector<uint8_t>& honest);
  // How many there are of something: at most `most`.
  size_t count(size_t honest, size_t most) { return std::min<uint64_t>(number(honest), most); }
  // A fresh one, or a used, old or foreign one; now and then none.
  std::unique_ptr<msg::Tag> tag();

  // text() answers kTexts[n - 1] for a byte n.
  static constexpr std::array<std::string_view, 20> kTexts = {
      "/f",   "/d",     "/d/f", "/d/g", "/u",
      "",     "/",      "f",    "//",   "/../f",
      "/d/",  "c0",     "c1",   "c2",   std::string_view("c\0d", 3),
      "disk", "memory", "\xff", "/f/f", "tcp://rogue:7528"};

 private:
  ConstBytes bytes_;
  Known* known_;
};

}  // namespace gd2fs::sim
