#include "wire/frame.h"

#include <string>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"

namespace gd2fs {
namespace {

FrameHeader stripe_header() {
  FrameHeader header;
  header.kind = FrameKind::stripe;
  header.payload_bytes = 512 * 1024;
  header.request_id = 0x0102030405060708;
  header.offset = 0x1122334455;
  header.payload_crc = 0xCAFEF00D;
  return header;
}

// As a stranger would write it, so that a wrong length or reserved bit carries a right crc.
Result<FrameHeader> decode_raw(const FrameHeader& header) {
  std::byte wire[64];
  std::memcpy(wire, &header, sizeof header);
  store_le(wire + 60, crc32c({wire, 60}));
  return decode_frame_header(wire);
}

TEST(Frame, the_header_on_the_wire_is_these_64_bytes) {
  std::byte wire[64];
  encode_frame_header(stripe_header(), wire);
  std::string hex;
  for (std::byte b : wire) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<int>(b) >> 4];
    hex += kDigits[static_cast<int>(b) & 15];
  }
  EXPECT_EQ(hex.substr(0, 120),
            "47443246"
            "01"
            "03"
            "0000"
            "00000000"
            "00000800"
            "0807060504030201"
            "5544332211000000"
            "0000000000000000"
            "0df0feca"
            "00000000"
            "0000000000000000"
            "00000000");
  EXPECT_EQ(load_le<uint32_t>(wire + 60), crc32c({wire, 60}));
}

TEST(Frame, a_window_lists_whole_segments_in_front_of_its_request) {
  FrameHeader header;
  header.kind = FrameKind::window;
  header.request_id = 7;
  header.type = kWindowSource | kWindowDevice;
  header.offset = 2 * sizeof(RemoteSegment);
  header.length = 17;
  header.body_bytes = static_cast<uint32_t>(header.offset);  // an empty body behind them
  EXPECT_TRUE(decode_raw(header).has_value());
  const auto refused = [header](auto change) {
    FrameHeader changed = header;
    change(changed);
    return !decode_raw(changed).has_value();
  };
  EXPECT_TRUE(refused([](FrameHeader& h) { h.request_id = 0; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.type = 4; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.offset = 0; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.offset += 1; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.body_bytes -= 1; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.offset += sizeof(RemoteSegment); }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.offset = UINT64_MAX / 24 * 24; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.length = UINT16_MAX + 1; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.payload_bytes = 1; }));
  EXPECT_TRUE(refused([](FrameHeader& h) { h.body_bytes = kFrameBodyMaxBytes + 1; }));
}

TEST(Frame, what_is_encoded_decodes_to_the_same_header) {
  std::byte wire[64];
  const FrameHeader header = stripe_header();
  encode_frame_header(header, wire);
  const auto back = decode_frame_header(wire);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->kind, header.kind);
  EXPECT_EQ(back->payload_bytes, header.payload_bytes);
  EXPECT_EQ(back->request_id, header.request_id);
  EXPECT_EQ(back->offset, header.offset);
  EXPECT_EQ(back->payload_crc, header.payload_crc);
}

TEST(Frame, any_flipped_bit_is_refused) {
  std::byte wire[64];
  encode_frame_header(stripe_header(), wire);
  for (size_t bit = 0; bit < 64 * 8; ++bit) {
    wire[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_frame_header(wire).has_value()) << "bit " << bit;
    wire[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
}

TEST(Frame, lengths_over_a_limit_are_refused_although_the_crc_is_right) {
  FrameHeader header;
  header.request_id = 1;
  header.body_bytes = kFrameBodyMaxBytes;
  EXPECT_TRUE(decode_raw(header).has_value());
  header.body_bytes = kFrameBodyMaxBytes + 1;
  EXPECT_FALSE(decode_raw(header).has_value());

  header = FrameHeader();
  header.request_id = 1;
  header.payload_bytes = kEagerMaxBytes;
  EXPECT_TRUE(decode_raw(header).has_value());
  header.payload_bytes = kEagerMaxBytes + 1;
  EXPECT_FALSE(decode_raw(header).has_value());

  header = stripe_header();
  header.payload_bytes = kStripeMaxBytes;
  EXPECT_TRUE(decode_raw(header).has_value());
  header.payload_bytes = kStripeMaxBytes + 1;
  EXPECT_FALSE(decode_raw(header).has_value());
  header.payload_bytes = 0;
  EXPECT_FALSE(decode_raw(header).has_value());

  header = stripe_header();
  header.offset = UINT64_MAX - 5;  // offset + length would wrap
  EXPECT_FALSE(decode_raw(header).has_value());
}

TEST(Frame, a_field_that_its_kind_does_not_have_is_refused) {
  FrameHeader header = stripe_header();
  header.body_bytes = 8;
  EXPECT_FALSE(decode_raw(header).has_value());
  header = stripe_header();
  header.request_id = 0;
  EXPECT_FALSE(decode_raw(header).has_value());
  header = stripe_header();
  header.flags = 1;
  EXPECT_FALSE(decode_raw(header).has_value());
  header = stripe_header();
  header.reserved = 1;
  EXPECT_FALSE(decode_raw(header).has_value());

  header = FrameHeader();
  header.kind = FrameKind::ping;
  EXPECT_TRUE(decode_raw(header).has_value());
  header.payload_bytes = 1;
  EXPECT_FALSE(decode_raw(header).has_value());

  header = FrameHeader();
  header.kind = FrameKind::pull;
  header.request_id = 7;
  EXPECT_FALSE(decode_raw(header).has_value());  // no length
  header.length = 4096;
  EXPECT_TRUE(decode_raw(header).has_value());
  header.kind = static_cast<FrameKind>(99);
  EXPECT_FALSE(decode_raw(header).has_value());
}

TEST(Frame, another_version_is_told_apart_from_damage) {
  FrameHeader header = stripe_header();
  header.version = kProtocolVersion + 1;
  const auto result = decode_raw(header);
  ASSERT_FALSE(result.has_value());
  EXPECT_TRUE(result.error().is(StatusCode::unsupported));
}

}  // namespace
}  // namespace gd2fs
