// SimSession: one end of a simulated session. Made by SimFabric; see fabric.h for what it promises.
#pragma once

#include <deque>
#include <unordered_map>

#include "sim/sim_network.h"

namespace gd2fs {

class SimSession final : public Session {
 public:
  SimSession(SimNetwork& network, SimLink& link, int side, Loop& loop, Peer peer);
  ~SimSession() override;

  const Peer& peer() const override { return peer_; }
  bool open() const override { return !closing_; }
  std::string_view path() const override { return "sim"; }
  Status send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) override;
  Status reply(uint16_t type, uint64_t request_id, ConstBytes body) override;
  void expose(Window& window) override;
  void withdraw(Window& window, Completion& done) override;
  void push(Push& push) override;
  void pull(Pull& pull) override;
  void drop_request(uint64_t request_id) override;
  void close(Status reason) override;

  // A client's end handles nothing before its owner has it.
  void start();

 private:
  friend class SimNetwork;

  struct Incoming {  // a request of the peer, not yet answered
    uint64_t pushed_bytes = 0;
    bool has_eager = false;
    std::vector<std::byte> eager;
  };
  struct Outgoing {  // a piece of memory to be read and sent
    Push* push = nullptr;
    Window* window = nullptr;  // for the answer to a pull
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  struct HeldReply {
    uint16_t type = 0;
    uint64_t pushed_bytes = 0;
    std::vector<std::byte> body;
  };

  // Called by the network, on its loop: only queues.
  void arrive(SimFrame frame);
  void die();  // killed, or its network is gone: no call leaves this object any more
  void queue_inbox();

  void on_inbox(Completion&);
  void on_send_ready(Completion&);
  void on_send_delay(Completion&);
  void on_keepalive(Completion&);
  void on_close(Completion&);
  void handle(SimFrame& frame);
  void handle_message(SimFrame& frame);
  void handle_reply(SimFrame& frame);
  void handle_stripe(SimFrame& frame);
  void handle_pull(SimFrame& frame);
  void handle_pulled(SimFrame& frame);
  void handle_pull_gone(SimFrame& frame);
  void deliver_reply(uint64_t request_id, const HeldReply& reply);
  void send_frame(uint32_t lane, SimFrame frame);
  void send_stripe(const Outgoing& out);
  void kick_send();
  void ask(Pull& pull);
  void finish_push(Push& push);
  void finish_pull(Pull& pull, Status status);
  uint32_t any_lane();

  SimNetwork& network_;
  SimLink* link_;  // nullptr once closed or dead
  const int side_;
  Loop& loop_;
  Peer peer_;
  uint32_t lanes_;
  bool started_ = false;
  bool closing_ = false;
  bool dead_ = false;
  Status close_reason_;
  std::deque<SimFrame> inbox_;
  Completion inbox_ready_;
  Completion closed_;
  Completion send_ready_;
  Timer send_delay_;
  Timer keepalive_;
  uint64_t last_arrival_ns_;
  std::unordered_map<uint64_t, Window*> windows_;
  std::unordered_map<uint64_t, std::vector<MemorySegment>> late_;  // write_late_bytes only
  std::unordered_map<uint64_t, HeldReply> held_;
  std::unordered_map<uint64_t, uint64_t> eager_out_;  // unanswered eager bytes by request
  uint64_t eager_out_bytes_ = 0;
  std::unordered_map<uint64_t, Incoming> incoming_;
  uint64_t eager_in_bytes_ = 0;
  List<Push> pushes_;
  List<Pull> pulls_;
  std::deque<Outgoing> outgoing_;
};

}  // namespace gd2fs
