// SenderCore: gets a thread that receives much from a process of its own host off the core on which
// that one sends.
//
// Over loopback the kernel wakes the receiver from inside the sender's sendmsg and takes the
// wake-up as a hint that the sender is about to sleep: it puts the receiver on the sender's core.
// On a busy machine with few cores it does not look for an idle one (SIS_UTIL of the scheduler),
// and the two then take turns on one core while another idles: cold reads of 256 MiB went from 3.3
// to 3.9 GB/s on two cores when they stopped that. One move is enough for a while: a sleeper is
// woken on the core that it left, if that is idle.
//
// The thread's own, which may be the application's: its affinity is as before when leave() returns.
// (It is set twice within; what another thread sets for this one in between is lost.) A thread that
// may use one core only stays there. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gd2fs {

class SenderCore {
 public:
  // So many bytes at once, or more, are worth it; what comes with small requests is not.
  static constexpr size_t kManyBytes = 128 * 1024;

  // Many bytes came out of this TCP socket, whose peer is on this host.
  void leave(int fd, uint64_t now_ns) {
    if (now_ns - looked_ns_ < kPauseNs) return;
    looked_ns_ = now_ns;
    if (shared_with_sender(fd)) move_away();
  }

 private:
  static constexpr uint64_t kPauseNs = 500'000;  // between two looks: each is a system call

  static bool shared_with_sender(int fd);
  static void move_away();

  uint64_t looked_ns_ = 0;
};

}  // namespace gd2fs
