// FrameWriter: the frames of one byte stream on their way out, payloads straight from their memory.
//
// It owns no socket: ask for the next bytes (parts), write them, say how many were taken (sent).
// Frames added are few: the session decides late what goes next. What frames are kept in is used
// again, bodies included: a small message costs no allocation. One loop.
#pragma once

#include <span>
#include <vector>

#include <sys/uio.h>

#include "base/fifo.h"
#include "base/small_vector.h"
#include "fabric/fabric.h"
#include "fabric/stripes.h"

namespace gd2fs {

struct OutFrame {
  static constexpr size_t kBodyInsideBytes = 256;  // a longer body has memory of its own
  std::byte header[sizeof(FrameHeader)];
  SmallVector<std::byte, kBodyInsideBytes> body;  // with an eager payload behind it
  Push* push = nullptr;                           // payload: `bytes` of a push, or
  ConstBytes bytes;
  Window* window = nullptr;  // `payload_bytes` of a window at `window_offset`
  uint64_t window_offset = 0;
  uint64_t payload_bytes = 0;
  bool message = false;  // counts against the send queue
  bool pong = false;
  bool filler = false;  // the rest of the payload is zeros: its memory was withdrawn
  uint64_t sent_bytes = 0;
  uint64_t total_bytes() const { return sizeof header + body.size() + payload_bytes; }
  // As new, but for the memory of its body.
  void reset();
};

// A frame of bytes that no lane has begun to send.
struct OutStripe {
  FrameHeader header;  // of a window's bytes the crc is taken by who sends them
  Push* push = nullptr;
  ConstBytes bytes;          // of the push, or
  Window* window = nullptr;  // header.payload_bytes of it at header.offset
};

class FrameWriter {
 public:
  static constexpr int kPartsMax = 128;

  // A frame to fill in, with added() then; its place changes with the next.
  OutFrame& add();
  // Takes the crc of a window's bytes.
  void add(const OutStripe& stripe);
  bool empty() const { return frames_.empty(); }
  size_t frames() const { return frames_.size(); }
  uint64_t queued_bytes() const { return queued_bytes_; }
  // Counts a frame that add() gave, once it is filled in.
  void added(const OutFrame& frame) { queued_bytes_ += frame.total_bytes(); }

  // The next bytes to write.
  std::span<iovec> parts();
  // The stream took these many of them. `on_sent(frame)` for each frame that is now out.
  template <class OnSent>
  void sent(uint64_t length_bytes, OnSent on_sent) {
    queued_bytes_ -= length_bytes;
    while (!frames_.empty()) {
      OutFrame& front = frames_.front();
      const uint64_t part = std::min(length_bytes, front.total_bytes() - front.sent_bytes);
      front.sent_bytes += part;
      length_bytes -= part;
      if (front.sent_bytes < front.total_bytes()) return;
      on_sent(front);
      frames_.pop_front();
    }
  }
  // Frames of which no byte is out yet: `drop(frame)` true takes it away.
  template <class Drop>
  void drop_unbegun(Drop drop) {
    frames_.erase_if([&](OutFrame& frame) {
      if (frame.sent_bytes > 0 || !drop(frame)) return false;
      queued_bytes_ -= frame.total_bytes();
      return true;
    });
  }
  // The window's memory may be read no more; a frame that is half out ends with zeros. How many
  // did.
  uint32_t forget(const Window& window);
  template <class Visit>
  void for_each(Visit visit) {
    for (size_t i = 0; i < frames_.size(); ++i) visit(frames_[i]);
  }
  void clear();

 private:
  void add_payload(OutFrame& frame, uint64_t skip, int& count);

  WindowHint hint_;

  Fifo<OutFrame> frames_;
  uint64_t queued_bytes_ = 0;
  iovec parts_[kPartsMax];
};

}  // namespace gd2fs
