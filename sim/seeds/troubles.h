// Troubles: what befalls one simulated deployment while its applications work: crashes, stopped
// processes, partitions, hanging drives, killed applications, in an order and at times drawn from
// the seed; and their end. One thread.
#pragma once

#include <queue>
#include <string>
#include <vector>

#include "sim/cluster/cluster.h"

namespace gd2fs::sim {

enum class Trouble : uint8_t {
  crash_server,
  crash_controller,
  crash_both,
  sudden_server,  // in the middle of a change of a drive
  sudden_controller,
  stop_process,
  partition,
  reset_sessions,
  kill_application,
  hang_drive,
  evict,
  // In a world with NICs.
  hold_nic,
  cut_nics,
  lose_work,
  break_pairs,
  refuse_registrations,
  stop_server,
  forge_keys,
};

struct TroubleProfile {
  std::vector<Trouble> kinds;
  size_t count = 0;
  uint64_t period_ns = 2 * kSecond;  // in which they happen
  bool network = false;              // slow, reset and refused connections by chance
  bool read_errors = false;          // of the data drives, by chance
  bool lose_index = false;           // now and then a server starts without its index
  bool only_power = false;           // every crash is a lost power

  static TroubleProfile draw(Random& random);
  // Those of NICs beside.
  void draw_nics(Random& random);
  std::string to_string() const;
};

class Troubles {
 public:
  // What only the owner of the applications can do.
  class Applications {
   public:
    virtual ~Applications() = default;
    virtual size_t count() const = 0;
    virtual Process* process(size_t index) = 0;  // null while it does not run
    virtual std::string node(size_t index) const = 0;
    virtual void kill_and_restart(size_t index) = 0;
  };

  Troubles(Cluster& cluster, Applications& applications, const TroubleProfile& profile);

  // Does all that is due.
  void act();
  // When something is due next; UINT64_MAX: nothing more.
  uint64_t next_ns() const { return due_.empty() ? UINT64_MAX : due_.top().at_ns; }
  bool over() const { return due_.empty(); }
  // Ends all of it; everything runs again, but may need time to serve.
  void heal();
  void set_network_faults(bool on);
  const std::vector<std::string>& log() const { return log_; }

 private:
  enum class What : uint8_t {
    begin,
    start_server,
    start_controller,
    go_on,
    heal_partition,
    resume,
    let_go_nic,
    mend_nics
  };
  struct Due {
    uint64_t at_ns = 0;
    uint64_t order = 0;
    What what = What::begin;
    Trouble trouble = Trouble::evict;
    size_t which = 0;  // process, partition, drive or NIC
    bool operator>(const Due& other) const {
      return std::pair(at_ns, order) > std::pair(other.at_ns, other.order);
    }
  };
  void later(uint64_t delay_ns, What what, size_t which = 0);
  void begin(Trouble trouble);
  void begin_nics(Trouble trouble, SimNics& nics);
  void note(const std::string& text);
  Crash draw_crash();
  uint64_t draw_pause_ns();
  void crash_server(Crash crash);
  void crash_controller(Crash crash);
  void start_server();
  void start_controller();
  void stop_process(size_t which);
  void partition();
  void reap();  // processes whose drives are gone
  Process* process(size_t which);
  std::string node(size_t which) const;

  Cluster& cluster_;
  Applications& applications_;
  TroubleProfile profile_;
  Random random_;
  uint64_t order_ = 0;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::vector<std::pair<std::string, std::string>> partitions_;
  std::vector<std::string> log_;
};

}  // namespace gd2fs::sim
