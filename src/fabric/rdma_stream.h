// RdmaStream: the lane of an RDMA session: bytes in messages over its queue pair, and beside it the
// TCP connection of the handshake, whose end tells at once that the peer has died. One loop.
#pragma once

#include "fabric/lane_stream.h"
#include "fabric/rdma_queue.h"

namespace gd2fs {

class RdmaStream final : public LaneStream {
 public:
  // The queue must not be used once the stream is stopped.
  RdmaStream(Loop& loop, TcpSocket socket, RdmaQueue& queue);
  ~RdmaStream() override { stop(); }

  Status start(LaneEvents& events) override;
  void stop() override;
  bool open() const override { return socket_.open(); }
  Moved read(std::span<iovec> parts) override;
  Moved write(std::span<iovec> parts) override;
  void wait_for_room() override { waits_for_room_ = true; }

  // The session passes this on from the queue. May end the session.
  void on_ready();

 private:
  void on_socket(uint32_t events);

  Loop& loop_;
  TcpSocket socket_;
  RdmaQueue& queue_;
  LaneEvents* events_ = nullptr;
  Watch watch_;
  bool waits_for_room_ = false;
  bool peer_gone_ = false;
};

}  // namespace gd2fs
