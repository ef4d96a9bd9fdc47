// SimNetwork: the simulated network between the processes of one world: delays, partitions, resets,
// killed nodes, all drawn from one seed. The fake behind the Fabric door; see sim_fabric.h for what
// a process sees of it.
//
// A node is a process's name and loop. A stopped process (SIGSTOP) is a loop that has left the
// world for a while: what arrives waits in its inbox. What a network does to TCP is what happens
// here: a partition loses nothing, it holds frames back until it heals or both ends give up
// (keepalive); a reset loses what is under way; the frames of one lane keep their order, those of
// different lanes do not.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fabric/fabric.h"
#include "sim/sim_world.h"

namespace gd2fs {

class SimSession;
class SimFabric;
class SimNetwork;
struct SimLink;

struct SimFrame;

struct SimNetworkFaults {
  uint64_t delay_min_ns = 5 * kUs;
  uint64_t delay_max_ns = 200 * kUs;
  uint32_t slow_per_million = 0;  // of frames: late by up to slow_max_ns
  uint64_t slow_max_ns = 500 * kMs;
  // Of frames: the session is reset as the frame is sent (it is lost), or right after it arrived
  // (so that its answer is lost).
  uint32_t reset_per_million = 0;
  uint32_t refuse_per_million = 0;       // of connects
  uint32_t ghost_per_million = 0;        // of connects: the listener sees a second one, soon closed
  uint64_t ping_after_ns = 2 * kSecond;  // of silence
  uint64_t dead_after_ns = 5 * kSecond;
  // A mutation, to prove that checkers see it: bytes for a withdrawn window are written after all.
  bool write_late_bytes = false;
  // Another: what is sent is first changed by this.
  std::function<void(SimFrame&)> tamper;
};

struct SimFrame {
  FrameKind kind = FrameKind::message;
  uint16_t type = 0;
  uint64_t request_id = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint32_t crc = 0;  // of payload, by the sender
  bool eager = false;
  std::vector<std::byte> body;
  std::vector<std::byte> payload;
  // Set for the last frame of a session: why the other side ended it.
  bool closing = false;
};

// One direction of one lane: frames arrive in order.
struct SimLane {
  SimLink* link = nullptr;
  int to_side = 0;
  struct Flying {
    SimFrame frame;
    uint64_t arrival_ns;
  };
  std::deque<Flying> frames;
  Timer head;         // when the first one arrives
  bool held = false;  // by a partition
  uint64_t queued_bytes = 0;
  void on_head(Completion&);
};

// A session's wire. Side 0 connected, side 1 listened.
struct SimLink {
  SimNetwork* network = nullptr;
  std::string nodes[2];
  SimSession* ends[2] = {nullptr, nullptr};
  std::deque<SimLane> lanes[2];  // by receiving side
  bool reset = false;            // nothing moves any more
};

class SimNetwork {
 public:
  explicit SimNetwork(SimWorld& world);  // draws from the world's randomness
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  SimNetworkFaults faults;  // may be changed at any time
  Random& random() { return random_; }

  // --- what a test does to the world ---
  void partition(const std::string& from, const std::string& to);  // one way
  void partition_both(const std::string& a, const std::string& b);
  void heal(const std::string& from, const std::string& to);
  // All partitions, and frames that are late are so no longer: one by seconds keeps its lane from
  // all that was sent after it.
  void heal_all();
  // The sessions between two nodes break: what is under way is lost, both ends learn it.
  void reset_sessions(const std::string& a, const std::string& b);
  void reset_all_sessions();
  // The process is gone: it gets no further call (its objects may be destroyed in any order and
  // later), its sessions are reset for their peers. A new SimFabric of the same name is its
  // restart.
  void kill(const std::string& node);

  uint64_t frames_delivered() const { return frames_delivered_; }
  uint64_t late_stripes() const { return late_stripes_; }  // arrived after their window's end
  size_t links() const { return links_.size(); }

 private:
  friend class SimFabric;
  friend class SimListener;
  friend class SimSession;
  friend struct SimLane;
  friend struct SimConnect;

  // What runs on a node's loop: the arrival of a connection's first words, outside any lane.
  struct Packet;
  struct Node {
    std::string name;
    Loop* loop = nullptr;
    uint64_t life = 0;  // changes at every restart
    uint16_t next_port = 20000;
    std::deque<std::move_only_function<void()>> inbox;
    Completion inbox_ready;
    void on_inbox(Completion&);
  };

  uint64_t add_node(const std::string& name, Loop& loop);
  void remove_node(const std::string& name, uint64_t life);
  Node* find_node(const std::string& name, uint64_t life);
  bool partitioned(const std::string& from, const std::string& to) const;
  uint64_t draw_delay_ns();
  void send_packet(const std::string& from, const std::string& to, uint64_t to_life,
                   std::move_only_function<void()> run);
  void on_packet(Packet& packet);

  // A connect sets out for `listener` ("node:port").
  void knock(uint64_t connect_id, const std::string& from, uint64_t from_life,
             const std::string& listener, const std::string& to, const ConnectOptions& hello);

  SimLink& add_link(const std::string& side0, const std::string& side1, uint32_t lanes);
  void transmit(SimLink& link, int to_side, uint32_t lane, SimFrame frame);
  void deliver(SimLane& lane);
  void schedule(SimLane& lane);
  // The end on `side` is gone or has closed: the other one learns it, unless it is gone too.
  void detach(SimLink& link, int side);
  void reset(SimLink& link);
  void sweep();

  Loop loop_;  // its own: the wires work while processes are stopped
  SimWorld::Member member_;
  Random random_;
  uint64_t next_life_ = 1;
  std::map<std::string, std::unique_ptr<Node>> nodes_;
  std::map<std::string, class SimListener*> listeners_;  // "node:port"
  std::map<uint64_t, struct SimConnect*> connects_;      // those still waited for
  uint64_t next_connect_ = 1;
  std::set<std::pair<std::string, std::string>> partitions_;
  std::vector<std::unique_ptr<SimLink>> links_;
  std::vector<std::unique_ptr<Packet>> packets_;
  Timer sweeper_;
  uint64_t frames_delivered_ = 0;
  uint64_t late_stripes_ = 0;
};

}  // namespace gd2fs
