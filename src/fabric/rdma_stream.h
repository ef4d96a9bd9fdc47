// RdmaStream: the lane of an RDMA session: bytes in messages over its queue pair, and beside it a
// lifeline, whose end tells at once that the peer has died. One loop.
#pragma once

#include <memory>

#include "fabric/lane_stream.h"
#include "fabric/rdma_queue.h"

namespace gd2fs {

// What both ends hold on to beside their queue pairs, and what breaks with either of them: the TCP
// connection of the handshake; in sim/ a session of the simulated network. One loop.
class RdmaLifeline {
 public:
  class Owner {
   public:
    // At most once, and the last that the lifeline does: it may be destroyed in there.
    virtual void on_peer_gone() = 0;

   protected:
    ~Owner() = default;
  };
  // The peer learns that we are gone.
  virtual ~RdmaLifeline() = default;
  // Tells the owner from now on, from the loop.
  virtual Status start(Owner& owner) = 0;
};

class SocketLifeline final : public RdmaLifeline {
 public:
  SocketLifeline(Loop& loop, TcpSocket socket);
  ~SocketLifeline() override { loop_.unwatch(watch_); }
  Status start(Owner& owner) override;

 private:
  void on_socket(uint32_t events);

  Loop& loop_;
  TcpSocket socket_;
  Owner* owner_ = nullptr;
  Watch watch_;
};

class RdmaStream final : public LaneStream, private RdmaLifeline::Owner {
 public:
  // The queue must not be used once the stream is stopped.
  RdmaStream(std::unique_ptr<RdmaLifeline> lifeline, RdmaQueue& queue)
      : lifeline_(std::move(lifeline)), queue_(queue) {}

  Status start(LaneEvents& events) override;
  void stop() override { lifeline_.reset(); }
  bool open() const override { return lifeline_ != nullptr; }
  Moved read(std::span<iovec> parts) override;
  Moved write(std::span<iovec> parts) override;
  void wait_for_room() override { waits_for_room_ = true; }

  // The session passes this on from the queue. May end the session.
  void on_ready();

 private:
  void on_peer_gone() override;

  std::unique_ptr<RdmaLifeline> lifeline_;
  RdmaQueue& queue_;
  LaneEvents* events_ = nullptr;
  bool waits_for_room_ = false;
  bool peer_gone_ = false;
};

}  // namespace gd2fs
