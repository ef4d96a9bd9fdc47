// The same peers on a Loop: a server with a loop per core, and a client's lanes. What these find
// out about receive sizes, wake-ups and spinning is meant for fabric/tcp.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "bench/stripe_wire.h"
#include "loop/loop.h"

namespace gd2fs::bench {

// Serves `memory` on loop_count loops, a thread each, until the process is killed. An idle loop
// spins up to spin_ns before it sleeps.
[[noreturn]] void serve_on_loops(Fd listener, ConstBytes memory, uint32_t loop_count,
                                 uint64_t spin_ns);

// One connection of a client. All calls from its loop.
class ClientLane {
 public:
  ClientLane(Loop& loop, Fd fd, Bytes destination, std::function<void(const Ask&)> on_answer);
  ~ClientLane();
  void ask(std::span<const Ask> asks);

 private:
  void on_events(uint32_t events);
  void send_asks();
  ssize_t receive_some();
  void end_answer();

  Loop& loop_;
  Fd fd_;
  Watch watch_;
  Bytes destination_;
  std::function<void(const Ask&)> on_answer_;
  std::vector<std::byte> unsent_;
  // The answer that comes in: its head, then its bytes straight to their place. Between answers the
  // head and the first bytes are taken in one call, through a small buffer.
  Ask head_{};
  size_t head_bytes_ = 0;
  size_t payload_bytes_ = 0;
  std::byte first_bytes_[kSmallReadBytes];
};

}  // namespace gd2fs::bench
