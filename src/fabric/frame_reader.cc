#include "fabric/frame_reader.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"

namespace gd2fs {
namespace {

constexpr size_t kHeaderBytes = sizeof(FrameHeader);
constexpr size_t kBodyKeptBytes = 64 * 1024;  // a larger body's memory is given back

// Drained bytes land here; nobody reads them.
constexpr size_t kDrainBytes = 64 * 1024;
thread_local std::byte g_drain[kDrainBytes];

}  // namespace

FrameReader::FrameReader(FrameSink& sink, size_t read_ahead_bytes)
    : sink_(sink), buffer_(read_ahead_bytes) {
  CHECK(read_ahead_bytes >= kReadAheadMinBytes);
}

std::span<iovec> FrameReader::targets() {
  payload_parts_ = 0;
  payload_asked_ = 0;
  if (state_ == State::header) {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    parts_[0] = {buffer_.data() + end_, buffer_.size() - end_};
    asked_bytes_ = parts_[0].iov_len;
    return {parts_, 1};
  }
  // Nothing is read ahead here: parse() has used it up.
  uint64_t left = 0;
  if (state_ == State::body) {
    left = frame_.header.body_bytes - body_done_;
    parts_[0] = {body_.data() + body_done_, left};
    payload_parts_ = 1;
  } else {
    left = payload_left();
    const uint64_t now = std::min<uint64_t>(left, kTurnBytes - turn_bytes_);
    const Landing& landing = frame_.landing;
    if (around_caches_) {
      parts_[0] = {turn_.get() + turn_bytes_, now};
      payload_parts_ = 1;
    } else if (landing.window != nullptr) {
      payload_parts_ = window_parts(*landing.window, hint_, landing.offset + payload_done_, now,
                                    parts_, kPartsMax - 1);
    } else if (!landing.memory.empty()) {
      parts_[0] = {landing.memory.data() + payload_done_, now};
      payload_parts_ = 1;
    } else {
      parts_[0] = {g_drain, std::min<uint64_t>(now, kDrainBytes)};
      payload_parts_ = 1;
    }
  }
  for (int i = 0; i < payload_parts_; ++i) payload_asked_ += parts_[i].iov_len;
  asked_bytes_ = payload_asked_;
  int count = payload_parts_;
  begin_ = end_ = 0;
  if (payload_asked_ == left) {
    // The next header, and no more than it, so that its payload is not copied.
    parts_[count++] = {buffer_.data(), kHeaderBytes};
    asked_bytes_ += kHeaderBytes;
  }
  return {parts_, static_cast<size_t>(count)};
}

// The next bytes of the payload, which lie at this offset of it.
void FrameReader::add_crc(ConstBytes bytes, uint64_t offset) {
  const std::span<uint32_t> crcs = frame_.landing.block_crcs;
  if (crcs.empty()) {
    crc_ = crc32c_extend(crc_, bytes);
    return;
  }
  while (!bytes.empty()) {
    const uint64_t in_block = offset % kPullBlockBytes;
    uint32_t& crc = crcs[offset / kPullBlockBytes];
    const size_t part = std::min<uint64_t>(bytes.size(), kPullBlockBytes - in_block);
    crc = crc32c_extend(in_block == 0 ? 0 : crc, bytes.first(part));
    bytes = bytes.subspan(part);
    offset += part;
    // The payload's crc is made of its blocks'.
    if (offset % kPullBlockBytes == 0 || offset == frame_.header.payload_bytes) {
      crc_ = crc32c_combine(crc_, crc, in_block + part);
    }
  }
}

void FrameReader::add_received_crc(size_t length_bytes) {
  if (frame_.drained) return;
  uint64_t offset = payload_done_;
  for (int i = 0; i < payload_parts_ && length_bytes > 0; ++i) {
    const size_t part = std::min(length_bytes, parts_[i].iov_len);
    add_crc(as_bytes(parts_[i].iov_base, part), offset);
    offset += part;
    length_bytes -= part;
  }
}

Status FrameReader::received(size_t length_bytes) {
  CHECK(length_bytes <= asked_bytes_);
  const size_t into = std::min(length_bytes, payload_asked_);
  end_ += length_bytes - into;
  if (state_ == State::body) {
    body_done_ += into;
    if (body_done_ < frame_.header.body_bytes) return {};
    GD2FS_TRY(end_body(body_.data()));
  } else if (state_ == State::payload) {
    if (around_caches_) {
      turn_bytes_ += into;
      if (turn_bytes_ == kTurnBytes || payload_left() == 0) end_turn();
    } else {
      add_received_crc(into);
      payload_done_ += into;
    }
    if (payload_left() > 0) return {};
    GD2FS_TRY(end_frame());
  }
  return parse();
}

Status FrameReader::parse() {
  for (;;) {
    const size_t available = end_ - begin_;
    switch (state_) {
      case State::header: {
        if (available < kHeaderBytes) return {};
        GD2FS_ASSIGN(frame_.header, decode_frame_header(buffer_.data() + begin_));
        begin_ += kHeaderBytes;
        GD2FS_TRY(begin_frame());
        break;
      }
      case State::body:
        if (lies_whole(available)) {
          const std::byte* const body = buffer_.data() + begin_;
          begin_ += frame_.header.body_bytes;
          GD2FS_TRY(end_body(body));
          break;
        }
        begin_ += take_body(available);
        if (body_done_ < frame_.header.body_bytes) return {};
        GD2FS_TRY(end_body(body_.data()));
        break;
      case State::payload:
        begin_ += take_payload(available);
        if (payload_left() > 0) return {};
        GD2FS_TRY(end_frame());
        break;
    }
  }
}

Status FrameReader::begin_frame() {
  const FrameHeader& header = frame_.header;
  frame_.drained = false;
  frame_.payload_ok = true;
  frame_.eager.clear();
  GD2FS_ASSIGN(frame_.landing, sink_.on_header(header));
  body_done_ = 0;
  payload_done_ = 0;
  turn_bytes_ = 0;
  crc_ = 0;
  if (header.kind == FrameKind::message && header.payload_bytes > 0) {
    frame_.eager.resize(header.payload_bytes);
    frame_.landing.memory = frame_.eager;
  }
  const Window* const window = frame_.landing.window;
  frame_.drained = window == nullptr && frame_.landing.memory.empty();
  around_caches_ =
      window != nullptr && window->around_caches && header.payload_bytes >= kAroundMinBytes;
  if (around_caches_ && turn_ == nullptr) {
    turn_ = std::make_unique_for_overwrite<std::byte[]>(kTurnBytes);
  }
  state_ = State::body;
  // Grown before it is known that the bytes come; bounded by kFrameBodyMaxBytes for each lane.
  if (body_.size() < header.body_bytes) body_.resize(header.body_bytes);
  return header.body_bytes == 0 ? end_body(body_.data()) : Status();
}

// A body that is all there, and aligned as one of our own would be, is used where it lies. Nothing
// is received before its frame ends.
bool FrameReader::lies_whole(size_t available) const {
  constexpr size_t kAlignment = 16;
  return body_done_ == 0 && available >= frame_.header.body_bytes &&
         frame_.header.payload_bytes == 0 &&
         is_aligned(reinterpret_cast<uintptr_t>(buffer_.data() + begin_), kAlignment);
}

size_t FrameReader::take_body(size_t available) {
  const size_t part = std::min<size_t>(available, frame_.header.body_bytes - body_done_);
  std::memcpy(body_.data() + body_done_, buffer_.data() + begin_, part);
  body_done_ += part;
  return part;
}

Status FrameReader::end_body(const std::byte* body) {
  frame_.body = ConstBytes(body, frame_.header.body_bytes);
  if (!frame_.body.empty() && crc32c(frame_.body) != frame_.header.body_crc) {
    return {StatusCode::corrupt, "frame: body crc"};
  }
  state_ = State::payload;
  return frame_.header.payload_bytes == 0 ? end_frame() : Status();
}

size_t FrameReader::take_payload(size_t available) {
  const auto part = static_cast<size_t>(
      std::min<uint64_t>(available, frame_.header.payload_bytes - payload_done_));
  if (part == 0) return 0;
  const ConstBytes from(buffer_.data() + begin_, part);
  const Landing& landing = frame_.landing;
  if (around_caches_) {  // its first bytes; what is read ahead is less than a turn
    std::memcpy(turn_.get(), from.data(), part);
    turn_bytes_ = part;
    if (payload_left() == 0) end_turn();
    return part;
  }
  if (!frame_.drained) {
    if (landing.window != nullptr) {
      copy_into(*landing.window, hint_, landing.offset + payload_done_, from);
    } else {
      std::memcpy(landing.memory.data() + payload_done_, from.data(), part);
    }
    add_crc(from, payload_done_);
  }
  payload_done_ += part;
  return part;
}

void FrameReader::end_turn() {
  ConstBytes from(turn_.get(), std::exchange(turn_bytes_, 0));
  while (!from.empty()) {
    iovec part{};
    const uint64_t offset = frame_.landing.offset + payload_done_;
    CHECK(window_parts(*frame_.landing.window, hint_, offset, from.size(), &part, 1) == 1);
    const Bytes to(static_cast<std::byte*>(part.iov_base), part.iov_len);
    crc_ = crc32c_copy_extend(crc_, from.first(to.size()), to);
    from = from.subspan(to.size());
    payload_done_ += to.size();
  }
}

Status FrameReader::end_frame() {
  state_ = State::header;
  frame_.payload_ok = frame_.header.payload_bytes == 0 || crc_ == frame_.header.payload_crc;
  GD2FS_TRY(sink_.on_frame(frame_));
  if (body_.size() > kBodyKeptBytes) body_ = std::vector<std::byte>();
  return {};
}

void FrameReader::forget(const Window& window) {
  if (state_ == State::header || frame_.landing.window != &window) return;
  frame_.landing = Landing();
  frame_.drained = true;
  around_caches_ = false;
  payload_done_ += std::exchange(turn_bytes_, 0);
}

void FrameReader::forget(const Pull& pull) {
  if (state_ == State::header || frame_.landing.pull != &pull) return;
  frame_.landing = Landing();
  frame_.drained = true;
}

}  // namespace gd2fs
