// Any 64 bytes as a frame header, with its crc made right so that the fuzzer gets past it: what is
// believed obeys every limit and encodes to the same bytes.
#include <cstdlib>
#include <cstring>

#include "base/crc32c.h"
#include "base/fuzz_seeds.h"
#include "wire/frame.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  for (uint8_t kind = 1; kind <= 8; ++kind) {
    gd2fs::FrameHeader header;
    header.kind = static_cast<gd2fs::FrameKind>(kind);
    header.request_id = 1;
    std::byte wire[64] = {};
    gd2fs::encode_frame_header(header, wire);
    folder.add(gd2fs::ConstBytes(wire));
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  if (size < 60) return 0;
  std::byte wire[64] = {};
  std::memcpy(wire, data, size < 64 ? size : 64);
  (void)decode_frame_header(wire);
  store_le<uint32_t>(wire, kFrameMagic);
  store_le(wire + 60, crc32c({wire, 60}));
  const auto header = decode_frame_header(wire);
  if (!header.has_value()) return 0;
  if (header->body_bytes > kFrameBodyMaxBytes || header->payload_bytes > kStripeMaxBytes) abort();
  const bool bytes = header->kind == FrameKind::stripe || header->kind == FrameKind::pulled;
  if (header->payload_bytes > kEagerMaxBytes && !bytes) abort();
  if (bytes && header->offset + header->payload_bytes > kWindowMaxBytes) abort();
  std::byte again[64];
  encode_frame_header(*header, again);
  if (std::memcmp(wire, again, 64) != 0) abort();
  return 0;
}
