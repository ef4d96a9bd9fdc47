// Stripes: how a push, a pull and a window are cut into the pieces that frames carry. The fabrics'
// own bookkeeping, the same for all of them.
#pragma once

#include <sys/uio.h>

#include "fabric/fabric.h"

namespace gd2fs {

// One frame's worth of a push.
struct Stripe {
  uint64_t offset = 0;  // in the peer's window
  ConstBytes bytes;
  uint32_t crc = 0;
};

// Takes the next stripe off a push that has bytes left. The crcs of a push's stripes are made so
// that together they give push.crc: if the memory no longer holds the bytes that push.crc was
// computed of, the last one is wrong and the receiver sees it.
Stripe cut_stripe(Push& push);
inline bool fully_cut(const Push& push) {
  return push.cut_bytes == push.bytes.size();
}

// The requester's side of a pull's pieces: each stripe is asked once and arrives once.
struct PullRange {
  uint64_t offset = 0;  // in the peer's window
  uint64_t length_bytes = 0;
};
inline constexpr uint32_t kPullStripesAhead = 64;  // asked and not yet arrived, per pull
// The next range to ask for; length 0: nothing now.
PullRange ask_next(Pull& pull);
// Where the bytes of an answer go; empty if this pull did not ask for exactly that range or has it
// already.
Bytes place_of(Pull& pull, uint64_t offset, uint64_t length_bytes);
// The part of the pull's block_crcs that is of the stripe at this offset.
std::span<uint32_t> crcs_of(Pull& pull, uint64_t offset, uint64_t length_bytes);
// All of them, for bytes that came another way.
void take_block_crcs(Pull& pull);
// After place_of() said yes and the bytes are in.
void mark_arrived(Pull& pull, uint64_t offset);
inline bool fully_arrived(const Pull& pull) {
  return uint64_t{pull.first_missing} * kStripeDefaultBytes >= pull.into.size();
}

// True if [offset, offset + length_bytes) lies inside the window.
bool inside(const Window& window, uint64_t offset, uint64_t length_bytes);
// Where the last search in a window ended: stripes lie near one another. Who looks from another
// thread than the loop has one of its own; the loop's is in the window.
struct WindowHint {
  const Window* window = nullptr;
  uint64_t request_id = 0;
  size_t segment = 0;
  uint64_t offset = 0;  // where that segment begins
};
// Whether the CPU may put this stripe into the window; an error is the peer's violation.
Status check_push(const Window& window, const FrameHeader& header);
// The memory of that range, at most `count_max` parts; the number of parts. The parts may cover
// less than the range if there are more segments than parts.
int window_parts(Window& window, uint64_t offset, uint64_t length_bytes, iovec* parts,
                 int count_max);
int window_parts(const Window& window, WindowHint& hint, uint64_t offset, uint64_t length_bytes,
                 iovec* parts, int count_max);
uint32_t crc_of(const Window& window, WindowHint& hint, uint64_t offset, uint64_t length_bytes);
// The whole range at once.
void copy_into(Window& window, uint64_t offset, ConstBytes from);
void copy_into(const Window& window, WindowHint& hint, uint64_t offset, ConstBytes from);
void copy_out_of(Window& window, uint64_t offset, Bytes to);

}  // namespace gd2fs
