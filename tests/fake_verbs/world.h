// World: all that the fake devices know, under one mutex, and the thread that carries out what is
// posted. Objects stay in memory after they are destroyed, so that the use of a dead one is an
// error and not a crash.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include <infiniband/verbs.h>

#include "fake_verbs.h"

namespace fake_verbs {

struct Device {
  ibv_device device{};
  int index = 0;
  bool active = true;
  bool held = false;
  bool removed = false;
  bool kept_from_gpus = false;
  uint64_t transfer_ns = 0;
  uint64_t busy_until_ns = 0;
  std::vector<ibv_gid_entry> gids;  // of Ethernet
  bool infiniband = false;
  uint16_t lid = 0;
  ibv_gid_entry guid{};    // the one GID of InfiniBand
  std::set<int> cut_from;  // devices that it does not reach
  fake_verbs_counts counts{};
};

struct Context {
  verbs_context extended{};  // its `context` is what callers hold
  Device* device = nullptr;
  int bell = -1;  // the writing end of the pipe whose reading end is async_fd
  std::deque<ibv_async_event> events;
  std::set<struct Channel*> channels;
  bool gone = false;  // its device was removed
};
Context& context_of(ibv_context* context);
Device& device_of(ibv_context* context);

struct Region : ibv_mr {
  Device* device = nullptr;
  bool alive = true;
  bool gpu = false;
  uint64_t begin = 0;  // as callers name it
  uint64_t size = 0;
  std::byte* memory = nullptr;  // of `begin`; null: all of the process
  std::byte* at(uint64_t address) const {
    return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(memory) + (address - begin));
  }
  unsigned access = 0;
};

struct Channel : ibv_comp_channel {
  std::deque<ibv_cq*> events;
};

struct Entry {
  ibv_wc wc{};
  struct Pair* sent_by = nullptr;  // whose send slots it frees
  uint32_t frees = 0;
};
struct Queue : ibv_cq {
  Device* device = nullptr;
  std::deque<Entry> entries;
  enum class Armed { no, solicited, any };  // what it was asked for last
  Armed armed = Armed::no;
  bool alive = true;
};

struct Work {
  uint64_t id = 0;
  ibv_wr_opcode opcode = IBV_WR_SEND;
  bool signaled = false;
  bool solicited = false;
  uint32_t immediate = 0;
  ibv_sge local{};
  uint64_t remote_address = 0;
  uint32_t remote_key = 0;
  uint64_t due_ns = 0;
  int tries = 0;
};

struct Pair : ibv_qp {
  Device* device = nullptr;
  bool alive = true;
  uint32_t sends_max = 0;
  uint32_t receives_max = 0;
  uint32_t send_slots = 0;   // taken
  uint32_t since_entry = 0;  // carried out since the last completion
  std::deque<Work> sends;
  std::deque<Work> receives;
  uint32_t peer_number = 0;
  ibv_ah_attr way{};
  uint16_t partition_key = 0;
};

constexpr uint16_t kPartitionKeys[] = {0x7fff, 0xffff};
constexpr uint64_t kLinkLocal = 0xfe80'0000'0000'0000;  // a subnet's number if nobody gives one
constexpr uint8_t kServiceLevel = 3;

// A pipe's writing end, once.
void close_bell(int& bell);

class World {
 public:
  static World& instance();
  ~World();

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<std::unique_ptr<Region>> regions;
  std::unordered_map<uint32_t, Region*> regions_by_key;
  std::vector<std::unique_ptr<Pair>> pairs;
  std::unordered_map<uint32_t, Pair*> pairs_by_number;
  std::vector<Pair*> live_pairs;
  std::vector<std::unique_ptr<Queue>> queues;
  std::vector<Context*> contexts;
  uint32_t last_key = 0x1000;
  uint32_t last_number = 0x100;

  uint64_t delay_ns = 0;
  int hold_after = -1;  // transfers left before all is held; -1: none
  int lose = 0;
  int refuse_count = 0;
  int refuse_error = 0;
  uint64_t max_mr_size = std::numeric_limits<uint64_t>::max();
  bool late_bytes = false;
  bool all_open = false;
  bool lie_about_refusals = false;
  bool lose_credit = false;
  int forge = 0;
  uint64_t forge_choice = 0;
  std::atomic<bool> manual = false;
  bool events_on = true;

  Region* add_region(ibv_pd* domain, uint64_t begin, uint64_t size, std::byte* memory,
                     unsigned access);
  // Appends a completion and rings the channel if somebody waits for one of its kind. What has
  // failed is always solicited.
  void complete(ibv_cq* queue, const Entry& entry, bool solicited = false);
  void complete_send(Pair& pair, const Work& work, ibv_wc_status status, uint32_t length);
  // Into the error state: everything that is posted is flushed.
  void stop(Pair& pair);
  uint64_t step(uint64_t choice);
  std::vector<Pair*> ready() const;
  void forget_dead();
  // To all who have opened the device.
  void tell(const Device& device, ibv_event_type type);
  void remove(Device& device);
  static void set_subnet(Device& device, uint16_t lid, uint64_t prefix);
  void wake() {
    if (!manual) changed.notify_all();
  }
  static uint64_t now_ns();

 private:
  World();
  void run();
  bool carry_out_one(uint64_t now, uint64_t* next_ns);
  void carry_out(Pair& pair, uint64_t now);
  void end(Pair& pair, ibv_wc_status status);
  Region* find_region(uint32_t key, ibv_pd* domain, uint64_t address, uint64_t length,
                      unsigned access, bool late);
  static bool leads_to(const Pair& pair, const Pair& peer);
  Pair* peer_of(const Pair& pair, bool* late);
  bool send(Pair& pair, Pair& peer, Work& work, const std::byte* from, uint64_t now);
  bool transfer(Pair& pair, Pair& peer, Work& work, std::byte* local, bool late);
  void forge_key(Work& work, const Pair& peer);

  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace fake_verbs
