// LanePumps: threads that move the bytes of a process's bulk lanes (bulk_lane.h), each with a loop
// of its own that turns only that. One loop copies 4 GB/s into and out of TCP sockets, whatever it
// does; a machine with more cores has more to give.
//
// A thread is started when a lane needs one, up to pumps_max; lanes go to the thread with the
// fewest. Idle threads sleep. Signals are blocked in them. A CheckFailure in one ends that thread,
// and on_broken is told of it there.
//
// Thread rule: take() and give_back() from the loop that owns the lanes; stop() from any thread but
// a pump's own; for_each_epoll_in_child() in the child of a fork.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "loop/loop.h"

namespace gd2fs {

struct LanePump {
  explicit LanePump(Clock& clock) : loop(clock, Loop::Waits::epoll) {}
  Loop loop;
  std::thread thread;
  uint32_t lanes = 0;  // the owner's
};

class LanePumps {
 public:
  static constexpr uint32_t kPumpsMax = 32;
  static constexpr uint64_t kSpinNs = 50 * kUs;
  // With fewer cores than this a thread more takes from the loop what it gives.
  static constexpr uint32_t kCoresMin = 4;

  explicit LanePumps(uint32_t pumps_max,
                     std::function<void(const CheckFailure&)> on_broken = nullptr);
  ~LanePumps();  // stops; no lane uses them any more
  LanePumps(const LanePumps&) = delete;
  LanePumps& operator=(const LanePumps&) = delete;

  // As many as the machine has cores at most, or `pumps_min`: one for each lane that comes, so that
  // a client with the usual lanes has half as many. Null: none.
  static std::shared_ptr<LanePumps> of_this_machine(
      uint32_t pumps_min, std::function<void(const CheckFailure&)> on_broken = nullptr);

  // How many lanes a client has unless it asks for more: the application, or a peer on this host,
  // needs the other cores.
  static constexpr uint32_t kLanesMin = 4;
  static uint32_t lanes_of_this_machine();

  // Null: the system gives us no thread.
  LanePump* take();
  void give_back(LanePump& pump);
  size_t threads() const { return pumps_.size(); }

  // When it returns no thread runs any more, and nothing touches any lane's memory. Idempotent.
  void stop();
  // The descriptors that the child of a fork has copies of; it takes no lock for them.
  template <class Visit>
  void for_each_epoll_in_child(Visit visit) const {
    for (const auto& fd : epoll_fds_) {
      if (const int open = fd.load(std::memory_order_relaxed) - 1; open >= 0) visit(open);
    }
  }

 private:
  void start(LanePump& pump);
  void run(LanePump& pump) const;

  RealClock clock_;
  const uint32_t pumps_max_;
  const std::function<void(const CheckFailure&)> on_broken_;
  std::vector<std::unique_ptr<LanePump>> pumps_;
  // What the child of a fork may read, whatever else was being changed.
  std::array<std::atomic<int>, kPumpsMax> epoll_fds_{};  // + 1; 0: none
  std::mutex mutex_;                                     // of stopped_ and the threads' handles
  bool stopped_ = false;
};

}  // namespace gd2fs
