// SenderCore: gets a thread that receives much from a process of its own host off the core on which
// that one sends (base/leave_core.h). Cold reads of 256 MiB over TCP went from 3.3 to 3.9 GB/s on
// two cores. It stays off that core only while it does not sleep: its next wake-up would be there
// again, and wait for the sender's core.
//
// Which core that is the socket tells (SO_INCOMING_CPU: over loopback the one on which the last
// packet was sent), but only of the first bytes after it was empty. Once the sender is ahead of the
// receiver, it is the receiver's own acknowledgements that let packets go, on the receiver's core:
// it would run away from itself, to where the sender is.
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

  // Before a read that asks for many bytes. True: it asked for the sender's core.
  bool before_read(int fd, uint64_t now_ns) {
    core_ = kUnknown;
    if (!was_empty_ || now_ns - looked_ns_ < kPauseNs) return false;
    looked_ns_ = now_ns;
    socklen_t length = sizeof core_;
    if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &core_, &length) != 0) core_ = kUnknown;
    return true;
  }
  // After any read. True: many bytes came.
  bool after_read(size_t asked_bytes, size_t bytes) {
    const bool many = bytes >= kManyBytes;
    if (many && core_ != kUnknown) leave_core(core_);
    core_ = kUnknown;
    // (A frame's header, read by itself, says nothing of what comes behind it.)
    if (bytes < asked_bytes || many) was_empty_ = bytes < asked_bytes;
    return many;
  }

 private:
  static constexpr uint64_t kPauseNs = 500'000;  // between two looks: each is a system call
  static constexpr int kUnknown = -1;

  uint64_t looked_ns_ = 0;
  int core_ = kUnknown;    // the sender's, when the bytes came that are to be read next
  bool was_empty_ = true;  // after the last read that told
};

}  // namespace gd2fs
