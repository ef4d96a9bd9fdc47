// Ring: a byte stream in shared memory, one process writes and one reads. RingWriter and RingReader
// are its two ends.
//
// The memory belongs to both, so each end trusts only what it keeps itself: a peer's counter is
// checked before it is used, and bytes are copied out before anybody looks at them. A peer that
// breaks the rules can spoil its own stream and nothing else.
//
// Sleep: an end that is about to sleep stores 1 into its `sleeps` word and then looks once more;
// the other end stores its counter and then looks at that word: all four sequentially consistent,
// so that one of them sees the other.
// The one that finds 1 takes it back to 0 and rings the bell.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>

#include <sys/uio.h>

#include "base/bytes.h"

namespace gd2fs {

struct RingControl {
  alignas(64) std::atomic<uint64_t> written{0};  // bytes ever, by the writer
  alignas(64) std::atomic<uint64_t> taken{0};    // bytes ever, by the reader
  alignas(64) std::atomic<uint32_t> reader_sleeps{0};
  alignas(64) std::atomic<uint32_t> writer_sleeps{0};
};
static_assert(sizeof(RingControl) == 256);

struct RingMoved {
  size_t bytes = 0;
  bool broken = false;  // the peer's counter is impossible
};

class RingWriter {
 public:
  // size_bytes is a power of two.
  RingWriter(RingControl& control, std::byte* data, uint64_t size_bytes)
      : control_(control), data_(data), size_bytes_(size_bytes) {}

  RingMoved write(std::span<const iovec> parts) {
    const uint64_t used = written_ - control_.taken.load(std::memory_order_acquire);
    RingMoved moved;
    moved.broken = used > size_bytes_;
    if (moved.broken) return moved;
    uint64_t room = size_bytes_ - used;
    for (const iovec& part : parts) {
      const size_t length = std::min<uint64_t>(part.iov_len, room);
      put(static_cast<const std::byte*>(part.iov_base), length);
      room -= length;
      moved.bytes += length;
      if (length < part.iov_len) break;
    }
    control_.written.store(written_, std::memory_order_seq_cst);
    return moved;
  }
  bool has_room() const {
    return written_ - control_.taken.load(std::memory_order_seq_cst) != size_bytes_;
  }
  void sleep() { control_.writer_sleeps.store(1, std::memory_order_seq_cst); }
  void wake() { control_.writer_sleeps.store(0, std::memory_order_relaxed); }
  // After a write: whether the reader must be rung for.
  bool reader_sleeps() {
    return control_.reader_sleeps.load(std::memory_order_seq_cst) != 0 &&
           control_.reader_sleeps.exchange(0, std::memory_order_seq_cst) != 0;
  }

 private:
  void put(const std::byte* from, size_t length) {
    if (length == 0) return;  // `from` may be null then
    const uint64_t at = written_ & (size_bytes_ - 1);
    const size_t first = std::min<uint64_t>(length, size_bytes_ - at);
    std::memcpy(data_ + at, from, first);
    if (length > first) std::memcpy(data_, from + first, length - first);
    written_ += length;
  }

  RingControl& control_;
  std::byte* const data_;
  const uint64_t size_bytes_;
  uint64_t written_ = 0;
};

class RingReader {
 public:
  RingReader(RingControl& control, const std::byte* data, uint64_t size_bytes)
      : control_(control), data_(data), size_bytes_(size_bytes) {}

  // True also when the peer's counter is impossible: read() tells.
  bool readable() const { return control_.written.load(std::memory_order_seq_cst) != taken_; }
  RingMoved read(std::span<const iovec> parts) {
    uint64_t ready = control_.written.load(std::memory_order_acquire) - taken_;
    RingMoved moved;
    moved.broken = ready > size_bytes_;
    if (moved.broken) return moved;
    for (const iovec& part : parts) {
      const size_t length = std::min<uint64_t>(part.iov_len, ready);
      get(static_cast<std::byte*>(part.iov_base), length);
      ready -= length;
      moved.bytes += length;
      if (length < part.iov_len) break;
    }
    control_.taken.store(taken_, std::memory_order_seq_cst);
    return moved;
  }
  void sleep() { control_.reader_sleeps.store(1, std::memory_order_seq_cst); }
  void wake() { control_.reader_sleeps.store(0, std::memory_order_relaxed); }
  // After a read: whether the writer must be rung for.
  bool writer_sleeps() {
    return control_.writer_sleeps.load(std::memory_order_seq_cst) != 0 &&
           control_.writer_sleeps.exchange(0, std::memory_order_seq_cst) != 0;
  }

 private:
  void get(std::byte* to, size_t length) {
    if (length == 0) return;
    const uint64_t at = taken_ & (size_bytes_ - 1);
    const size_t first = std::min<uint64_t>(length, size_bytes_ - at);
    std::memcpy(to, data_ + at, first);
    if (length > first) std::memcpy(to + first, data_, length - first);
    taken_ += length;
  }

  RingControl& control_;
  const std::byte* const data_;
  const uint64_t size_bytes_;
  uint64_t taken_ = 0;
};

}  // namespace gd2fs
