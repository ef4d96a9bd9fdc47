// SimWorld: one simulated world: its clock, its randomness and the loops of all its processes,
// driven by one thread. A round turns every loop until none has anything ready; then the clock
// moves to the next timer. The order of loops within a round is drawn from the seed.
//
//   SimWorld world(seed);
//   Loop loop(world.clock(), Loop::Waits::never);
//   SimWorld::Member member(world, loop);      // leaves the world when destroyed
//   ... start work ...
//   EXPECT_TRUE(world.run_until([&] { return finished; }));
#pragma once

#include <vector>

#include "base/random.h"
#include "loop/loop.h"
#include "sim/sim_clock.h"

namespace gd2fs {

class SimWorld {
 public:
  // Turns at one instant; more means that two parts keep each other busy for ever.
  static constexpr uint64_t kTurnsPerInstantMax = 10'000'000;
  static constexpr uint64_t kLimitNs = 3600 * kSecond;  // of simulated time, per call

  explicit SimWorld(uint64_t seed) : random_(seed) {}
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  SimClock& clock() { return clock_; }
  Random& random() { return random_; }

  // A loop's membership. May be made and destroyed between runs, and from a callback of another
  // loop; destroy it before its loop.
  class Member {
   public:
    Member(SimWorld& world, Loop& loop);
    ~Member();
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

   private:
    friend class SimWorld;
    SimWorld& world_;
    Loop& loop_;
  };

  // Runs what is ready now, without moving the clock.
  void run_ready();
  // Until nothing is ready and no timer runs: true. False when limit_ns of simulated time passed.
  bool run_until_idle(uint64_t limit_ns = kLimitNs);
  // Until the clock shows time_ns; everything due by then has run.
  void run_until_ns(uint64_t time_ns);
  void run_for_ns(uint64_t ns) { run_until_ns(clock_.now_ns() + ns); }
  // Until predicate() is true (asked between turns). False if the world went idle or limit_ns
  // passed first.
  template <class Predicate>
  bool run_until(const Predicate& predicate, uint64_t limit_ns = kLimitNs) {
    const uint64_t end_ns = clock_.now_ns() + limit_ns;
    for (;;) {
      if (predicate()) return true;
      if (turn_once()) continue;
      const uint64_t next_ns = next_timer_ns();
      if (next_ns > end_ns) return predicate();
      clock_.set_now_ns(next_ns > clock_.now_ns() ? next_ns : clock_.now_ns());
    }
  }

 private:
  bool turn_once();  // one turn of every loop; false if none ran anything
  uint64_t next_timer_ns() const;

  SimClock clock_;
  Random random_;
  std::vector<Member*> members_;  // nullptr: left during the round
  uint64_t turns_at_instant_ = 0;
  uint64_t instant_ns_ = 0;
};

}  // namespace gd2fs
