// BulkLane: a lane of a TcpSession that carries nothing but stripes, pings and pongs, moved by a
// pump's thread (lane_pumps.h). Until bytes come or are to go it only waits in the session's loop,
// so that a session without much to move needs no threads.
//
// The session's loop calls start, kick, ping, take_heard and rest. reader and writer belong to who
// is inside the gate or holds it; the rest is the pump's.
#pragma once

#include <atomic>

#include "fabric/bulk_board.h"
#include "fabric/lane_gate.h"
#include "fabric/lane_pumps.h"
#include "fabric/tcp_socket.h"

namespace gd2fs {

class BulkLane final : private FrameSink {
 public:
  static constexpr size_t kReadTurnBytes = 1 << 20;  // before other lanes have their turn
  static constexpr size_t kSendTurnBytes = 1 << 20;
  static constexpr size_t kReadAheadBytes = 2 * 1024;
  static constexpr size_t kFramesAtOnce = 4;

  BulkLane(std::shared_ptr<BulkBoard> board, uint16_t index, TcpSocket socket);
  ~BulkLane() override = default;
  BulkLane(const BulkLane&) = delete;
  BulkLane& operator=(const BulkLane&) = delete;

  int fd() const { return socket_.fd(); }
  bool started() const { return pump_ != nullptr; }
  void start(LanePump& pump);
  void kick();  // something is queued for it, or it is to ping
  void ping() {
    ping_wanted_.store(true, std::memory_order_relaxed);
    kick();
  }
  bool take_heard() { return heard_.exchange(false, std::memory_order_relaxed); }
  // From here on nothing touches any memory and the board is left alone; the connection is closed.
  static void rest(std::unique_ptr<BulkLane> lane);

  LaneGate gate;
  FrameReader reader;
  FrameWriter writer;
  uint32_t silent_ticks = 0;  // the session's

 private:
  class Inside;
  enum class After : uint8_t { more, wait, blocked, ended };
  void begin();
  void on_events(uint32_t events);
  void on_kick() { send(); }
  void receive();
  After receive_once(size_t* moved_bytes);
  void send();
  After send_once(size_t* moved_bytes);
  void queue_bare(FrameKind kind);
  void fail(const Status& status);
  Result<Landing> on_header(const FrameHeader& header) override;
  Status on_frame(InFrame& frame) override;

  const std::shared_ptr<BulkBoard> board_;
  const uint16_t index_;
  TcpSocket socket_;
  LanePump* pump_ = nullptr;  // set before the pump knows of us
  Watch watch_;
  Mail kick_;
  bool blocked_ = false;
  bool pong_queued_ = false;
  std::atomic<bool> ping_wanted_{false};
  std::atomic<bool> heard_{true};
};

}  // namespace gd2fs
