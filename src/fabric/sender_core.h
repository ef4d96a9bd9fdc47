// SenderCore: gets a thread that receives much from a process of its own host off the core on which
// that one sends (base/leave_core.h). Cold reads of 256 MiB over TCP went from 3.3 to 3.9 GB/s on
// two cores. It stays off that core only while it does not sleep: its next wake-up would be there
// again, and wait for the sender's core.
//
// The thread may be the application's own. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/socket.h>

#include "base/leave_core.h"

namespace gd2fs {

class SenderCore {
 public:
  // So many bytes at once, or more, are worth it; what comes with small requests is not.
  static constexpr size_t kManyBytes = 128 * 1024;

  // After many bytes more come for so long or never: their sender copies and sums up the next.
  static constexpr uint64_t kMoreComesNs = 200'000;

  // Many bytes came out of this TCP socket, whose peer is on this host.
  void leave(int fd, uint64_t now_ns) {
    if (now_ns - looked_ns_ < kPauseNs) return;
    looked_ns_ = now_ns;
    // Loopback's packets are taken in on the core that sent them.
    int core = -1;
    socklen_t length = sizeof core;
    if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &core, &length) == 0) leave_core(core);
  }

 private:
  static constexpr uint64_t kPauseNs = 500'000;  // between two looks: each is a system call

  uint64_t looked_ns_ = 0;
};

}  // namespace gd2fs
