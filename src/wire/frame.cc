#include "wire/frame.h"

#include "base/crc32c.h"

namespace gd2fs {
namespace {

// The header's fields are in wire order without padding, so it is copied as a whole.
constexpr size_t kCrcOffset = 60;
static_assert(offsetof(FrameHeader, header_crc) == kCrcOffset);
static_assert(offsetof(FrameHeader, request_id) == 16 && offsetof(FrameHeader, payload_crc) == 40);

Status invalid(std::string_view why) {
  return {StatusCode::invalid, why};
}

Status check_message(const FrameHeader& header) {
  if (header.body_bytes > kFrameBodyMaxBytes) return invalid("frame: body too long");
  if (header.payload_bytes > kEagerMaxBytes) return invalid("frame: eager payload too long");
  if (header.payload_bytes > 0 && header.request_id == 0) {
    return invalid("frame: a one-way message with a payload");
  }
  return {};
}

Status check_reply(const FrameHeader& header) {
  if (header.body_bytes > kFrameBodyMaxBytes) return invalid("frame: body too long");
  if (header.payload_bytes > 0) return invalid("frame: a reply with a payload");
  return {};
}

Status check_range(const FrameHeader& header, uint64_t length_bytes,
                   uint64_t length_max = kStripeMaxBytes) {
  if (header.request_id == 0) return invalid("frame: bytes without a request");
  if (length_bytes == 0 || length_bytes > length_max) return invalid("frame: stripe length");
  if (header.offset > kWindowMaxBytes - length_bytes) return invalid("frame: window offset");
  return {};
}

Status check_stripe(const FrameHeader& header) {
  if (header.body_bytes > 0) return invalid("frame: this kind has no body");
  return check_range(header, header.payload_bytes);
}

Status check_grant(const FrameHeader& header) {
  if (header.body_bytes != sizeof(GrantBody) || header.payload_bytes > 0) {
    return invalid("frame: the body of a grant");
  }
  return check_range(header, header.length, kGrantMaxBytes);
}

Status check_window(const FrameHeader& header) {
  if (header.request_id == 0 || header.type > (kWindowSource | kWindowDevice) ||
      header.payload_bytes > 0) {
    return invalid("frame: a window");
  }
  if (header.body_bytes > kFrameBodyMaxBytes || header.offset == 0 ||
      header.offset > header.body_bytes || header.offset % sizeof(RemoteSegment) != 0 ||
      header.length > UINT16_MAX) {
    return invalid("frame: the body of a window");
  }
  return {};
}

Status check_bare(const FrameHeader& header) {
  if (header.body_bytes > 0 || header.payload_bytes > 0) {
    return invalid("frame: this kind has no body and no payload");
  }
  return {};
}

}  // namespace

void encode_frame_header(const FrameHeader& header, std::byte out[64]) {
  std::memcpy(out, &header, sizeof header);
  store_le(out + kCrcOffset, crc32c({out, kCrcOffset}));
}

Result<FrameHeader> decode_frame_header(const std::byte in[64]) {
  const auto header = load_le<FrameHeader>(in);
  if (header.magic != kFrameMagic) return fail(invalid("frame: wrong magic"));
  if (header.header_crc != crc32c({in, kCrcOffset})) return fail(invalid("frame: header crc"));
  if (header.version < kProtocolVersionMin || header.version > kProtocolVersion) {
    return fail(StatusCode::unsupported, "frame: protocol version");
  }
  if (header.reserved != 0 || header.flags != 0) return fail(invalid("frame: reserved bits"));
  Status status;
  switch (header.kind) {
    case FrameKind::message:
      status = check_message(header);
      break;
    case FrameKind::reply:
      status = check_reply(header);
      break;
    case FrameKind::stripe:
    case FrameKind::pulled:
      status = check_stripe(header);
      break;
    case FrameKind::grant:
      status = check_grant(header);
      break;
    case FrameKind::window:
      status = check_window(header);
      break;
    case FrameKind::recall:
    case FrameKind::recalled:
      status = check_bare(header);
      if (status.ok() && header.request_id == 0) status = invalid("frame: a recall of nothing");
      break;
    case FrameKind::pull:
    case FrameKind::pull_gone:
    case FrameKind::stage:
    case FrameKind::staged:
      status = check_bare(header);
      if (status.ok()) status = check_range(header, header.length);
      break;
    case FrameKind::ping:
    case FrameKind::pong:
    case FrameKind::granted:
    case FrameKind::grant_lost:
    case FrameKind::arena_gone:
      status = check_bare(header);
      break;
    default:
      status = invalid("frame: unknown kind");
      break;
  }
  if (!status.ok()) return fail(std::move(status));
  return header;
}

}  // namespace gd2fs
