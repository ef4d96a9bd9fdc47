// The network baseline: blocking sockets over loopback, one thread per lane on both sides, moving a
// buffer from a process of its own into this one's, with no protocol and no checks.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

class RawSockets {
 public:
  // Forks the sending process, so call before this process has threads of its own that hold locks.
  static Result<RawSockets> start(uint32_t lanes, uint64_t buffer_bytes);
  RawSockets(RawSockets&& other) noexcept;
  RawSockets& operator=(RawSockets&&) = delete;
  ~RawSockets();

  // Moves `into.size()` bytes, a share over each lane; seconds taken.
  Result<double> transfer(Bytes into);
  // One request and its `reply_bytes` answer after another, `count` times with `depth` on the way;
  // the times of each in microseconds.
  Result<std::vector<double>> round_trips(uint32_t reply_bytes, uint32_t depth, uint32_t count);

 private:
  RawSockets() = default;
  std::vector<int> lanes_;
  int child_ = -1;
};

}  // namespace gd2fs
