// For tests and fuzzers: the other end of a session in shared memory, without manners.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "base/crc32c.h"
#include "fabric/shm_stream.h"

namespace gd2fs {

inline ShmSegment map_segment(int fd) {
  ShmSegment segment;
  segment.memory = std::move(
      *SharedMapping::map(fd, ShmSegment::kTotalBytes, SharedMapping::Access::read_write));
  return segment;
}

struct RawFrame {
  FrameHeader header;
  std::vector<std::byte> body;
};

class RawEnd {
 public:
  RawEnd(TcpSocket socket, ShmSegment segment, ShmStream::Side side)
      : socket(std::move(socket)),
        segment_(std::move(segment)),
        server_(side == ShmStream::Side::server),
        writer_(out(), server_ ? segment_.to_client_data() : segment_.to_server_data(), kRingBytes),
        reader_(in(), server_ ? segment_.to_server_data() : segment_.to_client_data(), kRingBytes) {
  }

  RingControl& out() { return server_ ? segment_.to_client() : segment_.to_server(); }
  RingControl& in() { return server_ ? segment_.to_server() : segment_.to_client(); }
  void send(FrameHeader header, ConstBytes body = {}) {
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.body_crc = body.empty() ? 0 : crc32c(body);
    std::byte encoded[sizeof header];
    encode_frame_header(header, encoded);
    send_raw(encoded);
    send_raw(body);
  }
  void send_raw(ConstBytes bytes) {
    const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    writer_.write({&part, 1});
  }
  // The next frame, if there is a whole one.
  std::optional<RawFrame> receive() {
    std::byte bytes[4096];
    const iovec part{bytes, sizeof bytes};
    received_.insert(received_.end(), bytes, bytes + reader_.read({&part, 1}).bytes);
    if (received_.size() < sizeof(FrameHeader)) return std::nullopt;
    RawFrame frame;
    frame.header = *decode_frame_header(received_.data());
    const size_t total = sizeof(FrameHeader) + frame.header.body_bytes + frame.header.payload_bytes;
    if (received_.size() < total) return std::nullopt;
    frame.body.assign(received_.begin() + sizeof(FrameHeader),
                      received_.begin() + sizeof(FrameHeader) + frame.header.body_bytes);
    received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(total));
    return frame;
  }

  TcpSocket socket;

 private:
  ShmSegment segment_;
  const bool server_;
  RingWriter writer_;
  RingReader reader_;
  std::vector<std::byte> received_;
};

}  // namespace gd2fs
