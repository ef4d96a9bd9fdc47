// Any bytes, in any pieces, from a peer that has proved itself: the reader must stay inside the
// memory it was given, whatever they say. The first bytes pick how they are cut; headers get right
// crcs (where the fuzzer asks for it), so that it gets past them.
#include <cstdlib>

#include "base/crc32c.h"
#include "base/fuzz_seeds.h"
#include "fabric/frame_reader.h"
#include "fabric/stripes.h"

namespace gd2fs {
namespace {

struct Sink final : FrameSink {
  std::vector<std::byte> memory = std::vector<std::byte>(3000);
  Window window;
  Pull pull;
  Sink() {
    window.segments = {{memory.data(), 700}, {memory.data() + 700, 0}, {memory.data() + 700, 1300}};
    window.total_bytes = 2000;
    pull.into = Bytes(memory).subspan(2000);
    pull.asked_bytes = 1000;
  }
  Result<Landing> on_header(const FrameHeader& header) override {
    Landing landing;
    if (header.kind == FrameKind::stripe) {
      if (!inside(window, header.offset, header.payload_bytes))
        return fail(Status(StatusCode::invalid));
      landing.window = &window;
      landing.offset = header.offset;
    } else if (header.kind == FrameKind::pulled) {
      landing.memory = place_of(pull, header.offset, header.payload_bytes);
      landing.pull = landing.memory.empty() ? nullptr : &pull;
    }
    return landing;
  }
  Status on_frame(InFrame& frame) override {
    if (frame.body.size() != frame.header.body_bytes) std::abort();
    if (frame.header.type == 99) return Status(StatusCode::canceled);
    return {};
  }
};

// One frame of each kind, behind one another and alone.
void seeds(SeedFolder& folder) {
  std::string all("\x20\x01", 2);
  for (uint8_t kind = 1; kind <= 8; ++kind) {
    FrameHeader header;
    header.kind = static_cast<FrameKind>(kind);
    header.request_id = kind;
    const bool bytes = header.kind == FrameKind::stripe || header.kind == FrameKind::pulled;
    header.payload_bytes = bytes ? 100 : 0;
    header.body_bytes = bytes ? 0 : 24;
    std::string frame(64 + 124 - (bytes ? 24 : 100), 'b');
    encode_frame_header(header, reinterpret_cast<std::byte*>(frame.data()));
    folder.add(std::string("\x01\x01", 2) + frame);
    all += frame;
  }
  folder.add(all);
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  if (size < 3) return 0;
  const size_t piece = 1 + data[0] * 8;
  const bool repair = (data[1] & 1) != 0;
  const bool forget_early = (data[1] & 2) != 0;
  std::vector<std::byte> bytes(size - 2);
  std::memcpy(bytes.data(), data + 2, bytes.size());
  // Frames one behind the other, each with its header and body made believable.
  for (size_t at = 0; repair && at + 64 <= bytes.size();) {
    auto header = load_le<FrameHeader>(bytes.data() + at);
    header.magic = kFrameMagic;
    header.version = kProtocolVersion;
    header.kind = static_cast<FrameKind>(1 + static_cast<uint8_t>(header.kind) % 8);
    header.flags = 0;
    header.reserved = 0;
    header.body_bytes %= 2048;
    header.payload_bytes %= 2048;
    header.offset %= 4096;
    const size_t body = std::min<size_t>(header.body_bytes, bytes.size() - at - 64);
    header.body_crc = crc32c({bytes.data() + at + 64, body});
    encode_frame_header(header, bytes.data() + at);
    at += 64 + header.body_bytes + header.payload_bytes;
  }
  Sink sink;
  FrameReader reader(sink);
  ConstBytes left = bytes;
  while (!left.empty()) {
    const auto targets = reader.targets();
    size_t want = std::min(piece, left.size());
    size_t moved = 0;
    for (const iovec& part : targets) {
      const size_t length = std::min(want, part.iov_len);
      std::memcpy(part.iov_base, left.data(), length);
      left = left.subspan(length);
      moved += length;
      want -= length;
      if (want == 0) break;
    }
    if (moved == 0) std::abort();  // no place for any byte
    if (!reader.received(moved).ok()) return 0;
    if (forget_early && left.size() < bytes.size() / 2) {
      reader.forget(sink.window);
      reader.forget(sink.pull);
    }
  }
  return 0;
}
