// WatchedBuffers: the memory of one simulated application in a world with NICs, which may write to
// it whenever they have its key. What no request uses is filled with one byte and watched; a byte
// that has changed was moved there when nobody might. Buffers are used again and again, and stay
// registered all the while. One thread.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "base/random.h"
#include "fabric/fabric.h"

namespace gd2fs::sim {

class WatchedBuffers {
 public:
  WatchedBuffers(Fabric& fabric, Random random) : fabric_(fabric), random_(random) {}
  ~WatchedBuffers() { end(); }
  WatchedBuffers(const WatchedBuffers&) = delete;
  WatchedBuffers& operator=(const WatchedBuffers&) = delete;

  struct Buffer {
    std::vector<std::byte> bytes;
    uint64_t used_bytes = 0;  // at the front; 0: nobody uses it
    std::byte canary{0};
    bool known = false;  // to the fabric
    FabricMemory memory();
    Bytes used() { return Bytes(bytes).first(used_bytes); }
  };
  Buffer& take(uint64_t length_bytes);
  // The request has ended.
  void give_back(Buffer& buffer);
  void look();
  // The process has ended, what was in use too: no NIC knows any of it any more.
  void end();
  // Buffers that a NIC has refused.
  uint64_t refused() const { return refused_; }
  // What was found wrong first; empty: nothing.
  const std::string& finding() const { return finding_; }

 private:
  void look_at(const Buffer& buffer);

  Fabric& fabric_;
  Random random_;
  std::list<Buffer> buffers_;
  uint64_t refused_ = 0;
  std::string finding_;
};

}  // namespace gd2fs::sim
