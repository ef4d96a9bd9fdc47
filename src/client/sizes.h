// Sizes: the two questions that extending writes have for the controller, coalesced per file.
//
//   reserve   before bytes move: may the file grow to here (quota)?
//   set_size  after the bytes are durable: it is this long now.
//
// One question of each kind is open per file; what arrives meanwhile rides on the next one, which
// asks for the furthest end of all. Writes of different generations never share one. When the
// furthest end is refused (no_space), only who asked for it fails; the others ask again.
// Belongs to one loop.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "client/peer.h"

namespace gd2fs::client {

class Sizes {
 public:
  enum class Kind : uint8_t { reserve, set_size };
  // Caller-owned; `done` completes once.
  struct Wish : ListNode<> {
    Kind kind = Kind::reserve;
    uint64_t inode = 0;
    uint64_t generation = 0;
    uint64_t end_bytes = 0;
    Completion done;
    Status outcome;
    uint64_t size_bytes = 0;      // the file's, as answered
    uint64_t reserved_bytes = 0;  // of a reserve
  };

  Sizes(Loop& loop, Peer& controller, uint64_t incarnation);
  ~Sizes();
  void start(Wish& wish);
  void cancel(Wish& wish);

 private:
  class Lane;
  struct Key {
    uint64_t inode;
    Kind kind;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return std::hash<uint64_t>()(key.inode * 2 + static_cast<uint64_t>(key.kind));
    }
  };
  void retire(Lane& lane);

  Loop& loop_;
  Peer& controller_;
  uint64_t incarnation_;
  std::unordered_map<Key, std::unique_ptr<Lane>, KeyHash> lanes_;
  std::vector<std::unique_ptr<Lane>> retired_;
};

}  // namespace gd2fs::client
