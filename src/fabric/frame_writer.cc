#include "fabric/frame_writer.h"

#include <algorithm>

namespace gd2fs {
namespace {
constexpr size_t kZerosBytes = 64 * 1024;
const std::byte g_zeros[kZerosBytes] = {};

iovec part_of(const std::byte* data, size_t length_bytes) {
  return {const_cast<std::byte*>(data), length_bytes};  // sendmsg only reads
}
}  // namespace

void OutFrame::reset() {
  constexpr size_t kBodyKeptBytes = 4 * 1024;  // a larger body's memory is given back
  if (body.capacity() > kBodyKeptBytes) body = decltype(body)();
  body.clear();
  push = nullptr;
  bytes = {};
  window = nullptr;
  window_offset = 0;
  payload_bytes = 0;
  message = pong = filler = false;
  sent_bytes = 0;
}

OutFrame& FrameWriter::add() {
  OutFrame& frame = frames_.add();
  frame.reset();
  return frame;
}

void FrameWriter::add(const OutStripe& stripe) {
  FrameHeader header = stripe.header;
  OutFrame& frame = add();
  frame.payload_bytes = header.payload_bytes;
  if (stripe.window != nullptr) {
    frame.window = stripe.window;
    frame.window_offset = header.offset;
    header.payload_crc = crc_of(*stripe.window, hint_, header.offset, header.payload_bytes);
  } else {
    frame.push = stripe.push;
    frame.bytes = stripe.bytes;
  }
  encode_frame_header(header, frame.header);
  added(frame);
}

std::span<iovec> FrameWriter::parts() {
  int count = 0;
  for (size_t i = 0; i < frames_.size() && count + 3 <= kPartsMax; ++i) {
    OutFrame& frame = frames_[i];
    uint64_t skip = frame.sent_bytes;
    if (skip < sizeof frame.header) {
      parts_[count++] = part_of(frame.header + skip, sizeof frame.header - skip);
      skip = 0;
    } else {
      skip -= sizeof frame.header;
    }
    if (skip < frame.body.size()) {
      parts_[count++] = part_of(frame.body.data() + skip, frame.body.size() - skip);
      skip = 0;
    } else {
      skip -= frame.body.size();
    }
    if (skip < frame.payload_bytes) {
      const int before = count;
      add_payload(frame, skip, count);
      uint64_t covered = 0;
      for (int part = before; part < count; ++part) covered += parts_[part].iov_len;
      if (covered < frame.payload_bytes - skip) break;  // out of parts; the rest comes next time
    }
  }
  return {parts_, static_cast<size_t>(count)};
}

void FrameWriter::add_payload(OutFrame& frame, uint64_t skip, int& count) {
  if (frame.filler) {
    for (uint64_t left = frame.payload_bytes - skip; left > 0 && count < kPartsMax;) {
      const uint64_t part = std::min<uint64_t>(left, kZerosBytes);
      parts_[count++] = part_of(g_zeros, part);
      left -= part;
    }
  } else if (frame.window != nullptr) {
    count += window_parts(*frame.window, hint_, frame.window_offset + skip,
                          frame.payload_bytes - skip, parts_ + count, kPartsMax - count);
  } else {
    parts_[count++] = part_of(frame.bytes.data() + skip, frame.payload_bytes - skip);
  }
}

uint32_t FrameWriter::forget(const Window& window) {
  uint32_t forgotten = 0;
  for_each([&](OutFrame& frame) {
    if (frame.window != &window) return;
    frame.window = nullptr;
    frame.filler = true;
    ++forgotten;
  });
  return forgotten;
}

void FrameWriter::clear() {
  frames_.clear();
  queued_bytes_ = 0;
}

}  // namespace gd2fs
