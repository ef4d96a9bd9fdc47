// Frame: what goes over a byte stream between two GD2FS processes.
//
// Every frame is a 64-byte little-endian header, then body_bytes of a FlatBuffers table (see
// messages.fbs; the table is chosen by `type`), then payload_bytes of raw data. Both crcs are
// CRC32C. A receiver checks magic, header_crc and limits before it believes a length, body_crc and
// the FlatBuffers verifier before it reads a body, and payload_crc before the payload counts as
// received; any failure ends the connection with a logged reason. docs/protocol.md has the rules.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

inline constexpr uint32_t kFrameMagic = 0x46324447;  // "GD2F"
inline constexpr uint8_t kProtocolVersion = 1;       // the newest we speak
inline constexpr uint8_t kProtocolVersionMin = 1;    // the oldest we speak
inline constexpr uint32_t kFrameBodyMaxBytes = 1 << 20;
inline constexpr uint32_t kStripeMaxBytes = 1 << 20;
inline constexpr uint32_t kStripeDefaultBytes = 512 * 1024;
inline constexpr uint32_t kEagerMaxBytes = 64 * 1024;  // payload that rides with its write request
inline constexpr uint32_t kEagerTotalMaxBytes = 4 << 20;  // unanswered eager bytes per session
inline constexpr uint32_t kPiecesMax = 256;               // chunk pieces per read or write request
inline constexpr uint32_t kRequestsMax = 1024;            // unanswered requests per session
inline constexpr uint32_t kLanesMax = 16;
inline constexpr uint32_t kGrantMaxBytes = 64 << 20;

enum class FrameKind : uint8_t {
  message = 1,  // a request or one-way message; body by type; payload only if eager
  // answers request_id; `offset` = bytes pushed for it in all, or pulled, by RDMA; `length`: those
  // of them that came by RDMA
  reply = 2,
  stripe = 3,     // pushed: payload for the receiver's window of request_id at `offset`
  pull = 4,       // asks for `length` bytes of the receiver's window of request_id at `offset`
  pull_gone = 5,  // the window of request_id is withdrawn; no stripe will come for that pull
  ping = 6,
  pong = 7,
  // Answers one pull with exactly its bytes. A kind of its own, because each side numbers its
  // requests for itself: a stripe and a pulled of the same id belong to different requests.
  pulled = 8,
  // The rest only inside one host, where both sides have mapped the same memory.
  grant = 9,        // pushed by its place: the body, a GrantBody, says where the `length` bytes lie
  granted = 10,     // `offset` is a grant's number: the bytes were taken, or, with type 1, were not
  grant_lost = 11,  // some bytes granted for request_id cannot be had any more
  stage = 12,       // as pull; the bytes go into slot `type` of the staging memory
  staged = 13,      // answers one stage: they are there
  arena_gone = 14,  // arena `offset` holds nothing any more
  // Only over RDMA, where the server reads and writes the client's memory by itself.
  // a request with its window: `offset` bytes of RemoteSegments, then a message's body; `length`:
  // its msg::Type; type: kWindowSource if it is one, kWindowDevice if only a NIC can touch it
  window = 15,
  recall = 16,    // the window of request_id is to be left alone, and that is to be said
  recalled = 17,  // answers one recall: nothing touches it any more
};

// A piece of a window, little-endian: the client's memory, and the key to it.
struct RemoteSegment {
  uint64_t address = 0;
  uint64_t length_bytes = 0;
  uint32_t key = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(RemoteSegment) == 24);
inline constexpr uint16_t kWindowSource = 1;
inline constexpr uint16_t kWindowDevice = 2;
inline constexpr size_t kRemoteSegmentsMax = kFrameBodyMaxBytes / sizeof(RemoteSegment);

// The body of a grant, little-endian.
struct GrantBody {
  uint64_t number = 0;  // of the grant, in this session
  uint64_t arena_offset = 0;
  uint64_t generation = 0;  // of the page
  uint32_t arena = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(GrantBody) == 32);

struct FrameHeader {
  uint32_t magic = kFrameMagic;
  uint8_t version = kProtocolVersion;
  FrameKind kind = FrameKind::message;
  uint16_t type = 0;  // msg::Type for message and reply
  uint32_t body_bytes = 0;
  uint32_t payload_bytes = 0;
  uint64_t request_id = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint32_t payload_crc = 0;
  uint32_t body_crc = 0;
  uint64_t reserved = 0;    // zero
  uint32_t flags = 0;       // zero
  uint32_t header_crc = 0;  // crc32c of the 60 bytes before it
};
static_assert(sizeof(FrameHeader) == 64);

inline constexpr uint64_t kWindowMaxBytes = uint64_t{1} << 48;  // offset + length stays below

// Writes 64 bytes, with the header's crc.
void encode_frame_header(const FrameHeader& header, std::byte out[64]);
// Checks magic, version, crc, kind and every limit. invalid, with the reason, if it may not be
// believed.
Result<FrameHeader> decode_frame_header(const std::byte in[64]);

}  // namespace gd2fs
