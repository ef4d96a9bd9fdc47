// FrameReader: turns a byte stream into frames, with every payload received where it belongs.
//
// It owns no socket: ask where the next bytes go (targets), put them there, say how many came
// (received). A payload goes straight into a window or a pull's memory; only what arrived together
// with a header is copied once. Its crc is taken while the bytes are in the cache.
//
// What a window wants around the caches is received, a turn at a time, into memory that stays in
// this core's cache, and copied from there while its crc is taken (decision 028).
//
// All lengths come from headers that were checked; memory is one read-ahead buffer, one body of at
// most kFrameBodyMaxBytes, and one turn. One loop.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "fabric/fabric.h"
#include "fabric/stripes.h"

namespace gd2fs {

// Where a payload goes.
struct Landing {
  Window* window = nullptr;  // at `offset` of it, or
  uint64_t offset = 0;
  Bytes memory;                    // here, or nowhere: drained
  Pull* pull = nullptr;            // whose memory it is
  std::span<uint32_t> block_crcs;  // of the payload's blocks, if the pull wants them
};

struct InFrame {
  FrameHeader header;
  ConstBytes body;               // its crc was right
  std::vector<std::byte> eager;  // payload of a message; the sink may take it
  Landing landing;
  bool drained = false;     // the payload, or a part of it, went nowhere
  bool payload_ok = false;  // its crc was right (true without payload)
};

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // Where the payload goes. An error ends the stream.
  virtual Result<Landing> on_header(const FrameHeader& header) = 0;
  // The frame is complete. An error ends the stream; the reader may not be used after it.
  virtual Status on_frame(InFrame& frame) = 0;
};

class FrameReader {
 public:
  // A small read's bytes and its reply come in one call.
  static constexpr size_t kReadAheadBytes = 16 * 1024;
  static constexpr size_t kReadAheadMinBytes = 1024;
  static constexpr size_t kTurnBytes = 256 * 1024;  // asked for at once: stays in the cache
  static constexpr int kPartsMax = 128;
  static constexpr uint64_t kAroundMinBytes = 64 * 1024;  // for less the copy does not pay

  explicit FrameReader(FrameSink& sink, size_t read_ahead_bytes = kReadAheadBytes);

  // Where the next bytes go; valid until received(). Never empty.
  std::span<iovec> targets();
  size_t asked_bytes() const { return asked_bytes_; }
  // `length_bytes` bytes (of those asked for) were put there. Calls the sink.
  Status received(size_t length_bytes);

  // The memory is withdrawn: what is still to come of a payload for it goes nowhere.
  void forget(const Window& window);
  void forget(const Pull& pull);
  // True between frames, with nothing read ahead.
  bool idle() const { return state_ == State::header && begin_ == end_; }

 private:
  enum class State : uint8_t { header, body, payload };
  Status parse();
  Status begin_frame();
  Status end_body(const std::byte* body);
  Status end_frame();
  bool lies_whole(size_t available) const;
  size_t take_body(size_t available);
  size_t take_payload(size_t available);
  uint64_t payload_left() const {
    return frame_.header.payload_bytes - payload_done_ - turn_bytes_;
  }
  void end_turn();
  void add_crc(ConstBytes bytes, uint64_t offset);
  void add_received_crc(size_t length_bytes);

  FrameSink& sink_;
  State state_ = State::header;
  InFrame frame_;
  std::vector<std::byte> body_;  // at least as long as the body
  size_t body_done_ = 0;
  uint64_t payload_done_ = 0;          // where it belongs, or nowhere
  bool around_caches_ = false;         // the payload
  size_t turn_bytes_ = 0;              // the next of it, in turn_
  std::unique_ptr<std::byte[]> turn_;  // kTurnBytes, from the first such payload on
  uint32_t crc_ = 0;
  WindowHint hint_;
  iovec parts_[kPartsMax];
  int payload_parts_ = 0;  // of parts_, those that are payload (or body)
  size_t payload_asked_ = 0;
  size_t asked_bytes_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace gd2fs
