// SimNics: the NICs of one simulated world: those of tests/fake_verbs, which carry out one work
// request at a time, of a queue pair and at a moment that the seed draws, whatever the processes
// that posted it are doing. What befalls them is done to them here.
//
// There are kDevices, the same in every process of this program, so one SimNics at a time. What a
// device says by itself is off: sessions find a broken queue pair by its completions.
#pragma once

#include <string>

#include "fabric/rdma_port.h"
#include "sim/sim_world.h"

namespace gd2fs {

// What NICs have moved.
struct SimNicBytes {
  uint64_t written = 0;  // by RDMA WRITE
  uint64_t read = 0;     // by RDMA READ
};

class SimNics final : private Poller {
 public:
  static constexpr int kDevices = 4;
  // Between two work requests, of all devices.
  static constexpr uint64_t kStepMaxNs = 30 * kUs;
  static constexpr uint64_t kSlowStepMaxNs = 2 * kMs;

  explicit SimNics(SimWorld& world);
  ~SimNics();
  SimNics(const SimNics&) = delete;
  SimNics& operator=(const SimNics&) = delete;

  static std::string address(int device) { return "127.0.0." + std::to_string(device + 1); }
  Random& random() { return random_; }

  // --- what a test does to them ---
  // It carries out nothing until it is let go.
  void hold(int device, bool held);
  // Nothing passes between these two.
  void cut(int one, int other, bool cut);
  // The next so many work requests fail, as after too many retries.
  void lose(uint32_t count);
  void break_pairs(int device);
  // The next so many registrations of memory, of messages too.
  void refuse_registrations(uint32_t count);
  // The next so many WRITEs and READs name memory that is not theirs: see fake_verbs_forge_keys.
  void forge_keys(uint32_t count, uint64_t choice);
  void heal_all();
  // A mutation, to prove that checkers see it: clients get their memory back at once, without
  // asking for it.
  bool skip_recalls = false;
  // Another: every key opens all memory.
  void open_all_memory();

  SimNicBytes moved() const;  // by all devices in this world
  // Work requests whose keys opened nothing.
  uint64_t refused_keys() const { return ever_refused_keys() - refused_keys_before_; }
  // Of the fabrics that there are no more.
  RdmaCounters& ended_counters() { return ended_counters_; }

 private:
  struct Controls;
  size_t poll() override;
  bool arm() override { return true; }
  void disarm() override {}
  void on_step(Completion&);
  SimNicBytes ever_moved() const;
  uint64_t ever_refused_keys() const;

  const Controls& controls_;
  SimNicBytes moved_before_;
  uint64_t refused_keys_before_ = 0;
  RdmaCounters ended_counters_;
  Random random_;
  Loop loop_;  // its own: NICs work while processes are stopped
  SimWorld::Member member_;
  Timer step_;
};

}  // namespace gd2fs
