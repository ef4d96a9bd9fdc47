// TcpLane: one stream of a TcpSession: what is being received and what is on its way out. Always
// read, also while it cannot be written. The session decides what it sends.
#pragma once

#include "fabric/frame_reader.h"
#include "fabric/frame_writer.h"
#include "fabric/lane_stream.h"

namespace gd2fs {

class TcpSession;

class TcpLane final : private FrameSink, private LaneEvents {
 public:
  // Read in one go before others get their turn (as TcpSession::kFlushTurnBytes).
  static constexpr size_t kReadTurnBytes = 256 * 1024;
  static constexpr size_t kReadLastBytes = 8 << 20;  // more than a socket holds

  TcpLane(TcpSession& session, uint16_t index, std::unique_ptr<LaneStream> stream);
  ~TcpLane() override;
  TcpLane(const TcpLane&) = delete;
  TcpLane& operator=(const TcpLane&) = delete;

  uint16_t index() const { return index_; }
  bool open() const { return stream_->open(); }
  Status start();  // begins to read
  // Closes the stream: from here on nothing touches any memory. The object stays, for whoever is
  // still inside one of its methods.
  void stop();

  // The stream takes no more bytes now; the session is told when it does.
  bool blocked() const { return blocked_; }
  // Writes once what is queued. `on_sent(OutFrame&)` for each frame that is out.
  template <class OnSent>
  Status write(OnSent on_sent) {
    const LaneStream::Moved moved = stream_->write(writer.parts());
    if (moved.error != 0) return Status::from_errno(moved.error, "send");
    writer.sent(moved.bytes, on_sent);
    if (!writer.empty()) wait_for_room();
    return {};
  }

  // What a peer that is gone has said last: takes what has come, if anything, but not for ever.
  void read_last() { read(kReadLastBytes); }

  // Since the last time this was asked: anything heard, or room made by the peer's
  // acknowledgements? (That the socket takes a ping says nothing of the peer.)
  bool take_heard() { return std::exchange(heard_, false); }

  FrameReader reader;
  FrameWriter writer;
  uint32_t silent_ticks = 0;
  bool pong_queued = false;

 private:
  void on_readable() override;
  void on_room() override;
  void read(size_t bytes_max);
  void wait_for_room();
  Result<Landing> on_header(const FrameHeader& header) override;
  Status on_frame(InFrame& frame) override;

  TcpSession& session_;
  const uint16_t index_;
  std::unique_ptr<LaneStream> stream_;
  bool blocked_ = false;
  bool heard_ = true;
};

}  // namespace gd2fs
