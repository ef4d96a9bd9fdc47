#include "fabric/stripes.h"

#include <algorithm>

#include "base/crc32c.h"

namespace gd2fs {

uint64_t Window::length_bytes() const {
  uint64_t sum = 0;
  for (const MemorySegment& segment : segments) sum += segment.length_bytes;
  return sum;
}

Stripe cut_stripe(Push& push) {
  const uint64_t left = push.bytes.size() - push.cut_bytes;
  CHECK(left > 0);
  Stripe stripe;
  stripe.offset = push.offset + push.cut_bytes;
  stripe.bytes = push.bytes.subspan(push.cut_bytes, std::min<uint64_t>(left, kStripeDefaultBytes));
  if (stripe.bytes.size() < left) {
    stripe.crc = crc32c(stripe.bytes);
    push.cut_crc = crc32c_combine(push.cut_crc, stripe.crc, stripe.bytes.size());
  } else {
    // combine(a, b) is shift(a) ^ b, so b = whole ^ combine(a, 0).
    stripe.crc = push.crc ^ crc32c_combine(push.cut_crc, 0, stripe.bytes.size());
  }
  push.cut_bytes += stripe.bytes.size();
  return stripe;
}

PullRange ask_next(Pull& pull) {
  if (pull.asked_bytes == pull.into.size()) return {};
  const uint64_t index = pull.asked_bytes / kStripeDefaultBytes;
  if (index >= pull.first_missing + uint64_t{kPullStripesAhead}) return {};
  const uint64_t length_bytes =
      std::min<uint64_t>(pull.into.size() - pull.asked_bytes, kStripeDefaultBytes);
  const PullRange range{pull.offset + pull.asked_bytes, length_bytes};
  pull.asked_bytes += length_bytes;
  return range;
}

Bytes place_of(Pull& pull, uint64_t offset, uint64_t length_bytes) {
  if (offset < pull.offset || offset - pull.offset >= pull.asked_bytes) return {};
  const uint64_t at = offset - pull.offset;
  if (at % kStripeDefaultBytes != 0) return {};
  if (length_bytes != std::min<uint64_t>(pull.into.size() - at, kStripeDefaultBytes)) return {};
  const uint64_t index = at / kStripeDefaultBytes;
  if (index < pull.first_missing) return {};
  if ((pull.arrived >> (index - pull.first_missing)) & 1) return {};
  return pull.into.subspan(at, length_bytes);
}

std::span<uint32_t> crcs_of(Pull& pull, uint64_t offset, uint64_t length_bytes) {
  if (pull.block_crcs.empty()) return {};
  const uint64_t first = (offset - pull.offset) / kPullBlockBytes;
  return pull.block_crcs.subspan(first, (length_bytes + kPullBlockBytes - 1) / kPullBlockBytes);
}

void take_block_crcs(Pull& pull) {
  crc32c_blocks(pull.into, kPullBlockBytes, pull.block_crcs);
}

void mark_arrived(Pull& pull, uint64_t offset) {
  const uint64_t index = (offset - pull.offset) / kStripeDefaultBytes;
  pull.arrived |= uint64_t{1} << (index - pull.first_missing);
  while (pull.arrived & 1) {
    pull.arrived >>= 1;
    ++pull.first_missing;
  }
}

bool inside(const Window& window, uint64_t offset, uint64_t length_bytes) {
  return offset <= window.total_bytes && length_bytes <= window.total_bytes - offset;
}

Status check_push(const Window& window, const FrameHeader& header) {
  if (window.direction != Window::Direction::sink ||
      !inside(window, header.offset, header.payload_bytes)) {
    return {StatusCode::invalid, "the peer pushed outside of the window"};
  }
  if (window.device) {
    return {StatusCode::invalid, "the peer pushed into GPU memory by the CPU"};
  }
  return {};
}

int window_parts(const Window& window, WindowHint& hint, uint64_t offset, uint64_t length_bytes,
                 iovec* parts, int count_max) {
  if (hint.window != &window || hint.request_id != window.request_id) {
    hint = {&window, window.request_id, 0, 0};
  }
  // The search starts where the last one ended.
  size_t index = hint.segment;
  uint64_t start = hint.offset;
  while (offset < start) start -= window.segments[--index].length_bytes;
  while (index < window.segments.size() && offset >= start + window.segments[index].length_bytes) {
    start += window.segments[index++].length_bytes;
  }
  hint.segment = index;
  hint.offset = start;
  int count = 0;
  for (; length_bytes > 0 && count < count_max && index < window.segments.size(); ++index) {
    const MemorySegment& segment = window.segments[index];
    const uint64_t skip = offset - start;
    const uint64_t part = std::min(segment.length_bytes - skip, length_bytes);
    start += segment.length_bytes;
    if (part == 0) continue;  // an empty segment
    parts[count++] = {segment.data + skip, part};
    offset += part;
    length_bytes -= part;
  }
  return count;
}

int window_parts(Window& window, uint64_t offset, uint64_t length_bytes, iovec* parts,
                 int count_max) {
  WindowHint hint{&window, window.request_id, window.hint_segment, window.hint_offset};
  const int count = window_parts(window, hint, offset, length_bytes, parts, count_max);
  window.hint_segment = hint.segment;
  window.hint_offset = hint.offset;
  return count;
}

uint32_t crc_of(const Window& window, WindowHint& hint, uint64_t offset, uint64_t length_bytes) {
  uint32_t crc = 0;
  while (length_bytes > 0) {
    iovec parts[16];
    const int count = window_parts(window, hint, offset, length_bytes, parts, 16);
    CHECK(count > 0);
    for (int i = 0; i < count; ++i) {
      crc = crc32c_extend(crc, as_bytes(parts[i].iov_base, parts[i].iov_len));
      offset += parts[i].iov_len;
      length_bytes -= parts[i].iov_len;
    }
  }
  return crc;
}

void copy_into(const Window& window, WindowHint& hint, uint64_t offset, ConstBytes from) {
  while (!from.empty()) {
    iovec part{};
    CHECK(window_parts(window, hint, offset, from.size(), &part, 1) == 1);
    std::memcpy(part.iov_base, from.data(), part.iov_len);
    from = from.subspan(part.iov_len);
    offset += part.iov_len;
  }
}

void copy_into(Window& window, uint64_t offset, ConstBytes from) {
  WindowHint hint{&window, window.request_id, window.hint_segment, window.hint_offset};
  copy_into(window, hint, offset, from);
  window.hint_segment = hint.segment;
  window.hint_offset = hint.offset;
}

void copy_out_of(Window& window, uint64_t offset, Bytes to) {
  while (!to.empty()) {
    iovec part{};
    CHECK(window_parts(window, offset, to.size(), &part, 1) == 1);
    std::memcpy(to.data(), part.iov_base, part.iov_len);
    to = to.subspan(part.iov_len);
    offset += part.iov_len;
  }
}

}  // namespace gd2fs
