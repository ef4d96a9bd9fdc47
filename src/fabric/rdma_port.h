// RdmaPort: a NIC on a loop. Its completion queues are shared by all queue pairs of the loop's
// sessions over that NIC, looked at in every turn, and armed before the loop sleeps: for each
// completion, or, while no session waits for the end of what it has posted, for messages of peers
// alone (solicited events), so that an answered request does not wake the loop once more. Others
// than sessions may wait for what its WRITEs hold (pages of the slab, a server's budgets): a timer
// sees to it that those are looked for within kHeldMaxNs.
//
// What the device says by itself (the port is down, a queue pair or all of it has failed) breaks
// the queue pairs that it is about at once, instead of after their retries. Of a device that was
// removed or has failed the port is gone for good: RdmaPorts opens it anew for who comes next.
//
// A work request's id is {generation, slot, index}: completions of a queue pair that is gone, which
// some devices leave behind, find a slot of another generation. One loop; it must outlive the port.
#pragma once

#include <memory>
#include <vector>

#include "loop/loop.h"
#include "loop/worker.h"
#include "verbs/queue_pair.h"

namespace gd2fs {

class RdmaQueue;

class RdmaPort;

// What the sessions of a NIC have moved, and how; for metrics and tests.
struct RdmaCounters {
  uint64_t written_bytes = 0;   // by RDMA WRITE, from here
  uint64_t read_bytes = 0;      // by RDMA READ, to here
  uint64_t copied_windows = 0;  // that went without keys, through the stream
  uint64_t copied_bytes = 0;    // pushed or pulled through the stream, by a server
  uint64_t credit_waits = 0;    // messages that found every buffer of their peer taken
  uint64_t recalls = 0;
  uint64_t broken = 0;  // sessions that ended by an error of their queue pair

  RdmaCounters& operator+=(const RdmaCounters& other);
};

// Entries of a completion queue, taken for one queue pair, which is destroyed before they are given
// back. On the loop.
class RdmaEntries {
 public:
  RdmaEntries() = default;
  RdmaEntries(std::shared_ptr<RdmaPort> port, verbs::CompletionQueue* queue, int count)
      : port_(std::move(port)), queue_(queue), count_(count) {}
  RdmaEntries(RdmaEntries&& other) noexcept { *this = std::move(other); }
  RdmaEntries& operator=(RdmaEntries&& other) noexcept {
    std::swap(port_, other.port_);
    std::swap(queue_, other.queue_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~RdmaEntries();
  verbs::CompletionQueue* queue() const { return queue_; }

 private:
  std::shared_ptr<RdmaPort> port_;
  verbs::CompletionQueue* queue_ = nullptr;
  int count_ = 0;
};

class RdmaPort final : public std::enable_shared_from_this<RdmaPort>, private Poller {
 public:
  static constexpr int kQueueEntries = 16384;  // of one completion queue, if the NIC can
  static constexpr size_t kQueuesMax = 4096;   // queue pairs
  static constexpr int kEntriesAtOnce = 32;    // polled
  // With more there are others to share a wake with, and asking them all costs more than it saves.
  static constexpr size_t kAskedMax = 16;  // queue pairs that were there at once
  static constexpr uint64_t kHeldMaxNs = 1 * kMs;

  // Blocks: on a worker.
  static Result<std::shared_ptr<RdmaPort>> open(Loop& loop, std::shared_ptr<const verbs::Nic> nic);
  ~RdmaPort();
  Status start();

  const verbs::Nic& nic() const { return *nic_; }
  const std::shared_ptr<const verbs::Nic>& shared_nic() const { return nic_; }
  Loop& loop() { return loop_; }
  RdmaCounters& counters() { return counters_; }
  size_t queue_pairs() const { return slots_.size() - free_slots_.size(); }
  // Whether the port was active and had its address when the device last said so, or was asked.
  bool up() const { return up_; }
  bool gone() const { return nic_->gone(); }
  // Asks it, on the worker. Counted in `busy` until its answer is back.
  void ask_whether_up(Worker& worker, const std::shared_ptr<uint32_t>& busy);

  // Room for so many entries in a completion queue; nothing, if none has it: then a new one is made
  // on a worker, and added.
  RdmaEntries take_entries(int entries);
  static Result<std::unique_ptr<verbs::CompletionQueue>> make_completions(
      const std::shared_ptr<RdmaPort>& port);
  void add_completions(std::unique_ptr<verbs::CompletionQueue> queue);

  // The queue gets its completions from now on; busy over kQueuesMax, unavailable if it is gone.
  Status attach(RdmaQueue& queue);
  void detach(RdmaQueue& queue);
  // on_ready() of this queue is called before the loop sleeps.
  void make_ready(RdmaQueue& queue);
  // Takes what the NIC has completed.
  size_t poll() override;

 private:
  friend class RdmaEntries;
  struct Question;
  struct Completions {
    std::unique_ptr<verbs::CompletionQueue> queue;
    int entries_left = 0;
  };
  struct Slot {
    RdmaQueue* queue = nullptr;
    uint16_t generation = 0;
  };
  RdmaPort(Loop& loop, std::shared_ptr<const verbs::Nic> nic);
  void give_back(const verbs::CompletionQueue* queue, int entries);
  bool arm() override;
  // What its queues wait for.
  struct Wanted {
    bool each_completion = false;  // if not, messages alone are to wake the loop
    bool memory = false;           // some wait for the end of WRITEs or READs
  };
  Wanted wanted() const;
  void on_held(Completion&) {}  // it has made the loop turn, and look
  void disarm() override {}
  void on_event(uint32_t events);
  void on_device_event(uint32_t events);
  void leave(const Status& why);
  void break_all(const Status& why);
  size_t take(ibv_cq* queue);
  void deliver(const ibv_wc& completion);

  Loop& loop_;
  std::shared_ptr<const verbs::Nic> nic_;
  std::unique_ptr<verbs::CompletionChannel> channel_;
  std::vector<Completions> completions_;  // after the channel: they end first
  Watch watch_;
  Watch device_watch_;
  Timer held_;
  RdmaCounters counters_;
  bool up_ = true;
  bool asking_ = false;
  uint32_t told_ = 0;  // how often the device itself has said whether the port is up
  std::vector<Slot> slots_;
  std::vector<uint16_t> free_slots_;
  List<RdmaQueue> ready_;
};

}  // namespace gd2fs
