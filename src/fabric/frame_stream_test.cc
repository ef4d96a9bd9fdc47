// FrameReader and FrameWriter without sockets: bytes cut anywhere.
#include <list>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "fabric/frame_reader.h"
#include "fabric/frame_writer.h"
#include "fabric/stripes.h"

namespace gd2fs {
namespace {

std::vector<std::byte> random_bytes(Random& random, size_t length_bytes) {
  std::vector<std::byte> bytes(length_bytes);
  random.fill(bytes);
  return bytes;
}

// Takes stripes into one window and keeps messages.
struct Sink final : FrameSink {
  Window window;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<std::vector<std::byte>> eagers;
  uint64_t landed = 0;
  uint64_t drained = 0;
  bool all_ok = true;
  bool take_stripes = true;

  Result<Landing> on_header(const FrameHeader& header) override {
    Landing landing;
    if (header.kind == FrameKind::stripe && take_stripes) {
      if (!inside(window, header.offset, header.payload_bytes)) {
        return fail(StatusCode::invalid, "outside");
      }
      landing.window = &window;
      landing.offset = header.offset;
    }
    return landing;
  }
  Status on_frame(InFrame& frame) override {
    if (frame.header.kind == FrameKind::message) {
      bodies.emplace_back(frame.body.begin(), frame.body.end());
      eagers.push_back(std::move(frame.eager));
    } else if (frame.drained) {
      drained += frame.header.payload_bytes;
    } else {
      landed += frame.header.payload_bytes;
    }
    if (!frame.drained || frame.header.kind == FrameKind::message) all_ok &= frame.payload_ok;
    return {};
  }
};

void add_stripe(FrameWriter& writer, uint64_t offset, ConstBytes bytes) {
  FrameHeader header;
  header.kind = FrameKind::stripe;
  header.request_id = 1;
  header.offset = offset;
  header.payload_bytes = static_cast<uint32_t>(bytes.size());
  header.payload_crc = crc32c(bytes);
  OutFrame& frame = writer.add();
  encode_frame_header(header, frame.header);
  frame.bytes = bytes;
  frame.payload_bytes = bytes.size();
  writer.added(frame);
}

void add_message(FrameWriter& writer, ConstBytes body, ConstBytes eager) {
  FrameHeader header;
  header.request_id = 1;
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.body_crc = body.empty() ? 0 : crc32c(body);
  header.payload_bytes = static_cast<uint32_t>(eager.size());
  header.payload_crc = eager.empty() ? 0 : crc32c(eager);
  OutFrame& frame = writer.add();
  encode_frame_header(header, frame.header);
  frame.body.assign(body.data(), body.size());
  frame.body.append(eager.data(), eager.size());
  writer.added(frame);
}

// Takes a random amount of what the writer offers.
std::vector<std::byte> take_some(FrameWriter& writer, Random& random, size_t most) {
  std::vector<std::byte> taken;
  size_t left = 1 + random.below(most);
  for (const iovec& part : writer.parts()) {
    const size_t length = std::min(left, part.iov_len);
    const auto* data = static_cast<const std::byte*>(part.iov_base);
    taken.insert(taken.end(), data, data + length);
    left -= length;
    if (left == 0) break;
  }
  writer.sent(taken.size(), [](OutFrame&) {});
  return taken;
}

Status feed(FrameReader& reader, ConstBytes bytes) {
  while (!bytes.empty()) {
    const auto targets = reader.targets();
    size_t moved = 0;
    for (const iovec& part : targets) {
      const size_t length = std::min(bytes.size(), part.iov_len);
      std::memcpy(part.iov_base, bytes.data(), length);
      bytes = bytes.subspan(length);
      moved += length;
      if (length < part.iov_len) break;
    }
    GD2FS_TRY(reader.received(moved));
  }
  return {};
}

void set_scattered(Window& window, Bytes memory, Random& random) {
  window.total_bytes = memory.size();
  while (!memory.empty()) {
    const size_t part = std::min<size_t>(memory.size(), 1 + random.below(20'000));
    window.segments.push_back({memory.data(), part});
    memory = memory.subspan(part);
  }
}

TEST(FrameStream, any_mixture_of_frames_cut_anywhere_arrives_whole) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const size_t cut = seed % 3 == 0 ? 7 : seed % 3 == 1 ? 5'000 : 600'000;
    const auto from = random_bytes(random, 700'000);
    std::vector<std::byte> to(from.size());
    Sink sink;
    set_scattered(sink.window, to, random);
    sink.window.around_caches = random.chance(1, 2);
    const uint64_t longest = random.chance(1, 2) ? 200'000 : 600'000;  // more than two turns
    FrameReader reader(
        sink, seed % 2 == 0 ? FrameReader::kReadAheadBytes : FrameReader::kReadAheadMinBytes);
    FrameWriter writer;
    std::vector<std::vector<std::byte>> bodies;
    std::vector<std::vector<std::byte>> eagers;
    for (uint64_t at = 0; at < from.size();) {
      const uint64_t part = std::min<uint64_t>(from.size() - at, 1 + random.below(longest));
      add_stripe(writer, at, ConstBytes(from).subspan(at, part));
      at += part;
      if (random.chance(1, 2)) continue;
      bodies.push_back(random_bytes(random, random.below(random.chance(1, 5) ? 100'000 : 60)));
      eagers.push_back(random_bytes(random, random.chance(1, 2) ? 0 : random.below(60'000)));
      add_message(writer, bodies.back(), eagers.back());
    }
    while (!writer.empty()) {
      ASSERT_TRUE(feed(reader, take_some(writer, random, cut)).ok());
    }
    EXPECT_EQ(writer.queued_bytes(), 0u);
    EXPECT_TRUE(reader.idle());
    EXPECT_TRUE(sink.all_ok);
    EXPECT_EQ(sink.landed, from.size());
    EXPECT_TRUE(to == from);
    EXPECT_TRUE(sink.bodies == bodies);
    EXPECT_TRUE(sink.eagers == eagers);
  }
}

TEST(FrameStream, a_window_forgotten_at_any_point_is_not_written_again) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const auto from = random_bytes(random, seed % 2 == 0 ? 100'000 : 600'000);
    std::vector<std::byte> to(from.size());
    Sink sink;
    set_scattered(sink.window, to, random);
    sink.window.around_caches = seed % 4 < 2;
    FrameReader reader(sink);
    FrameWriter writer;
    add_stripe(writer, 0, from);
    add_message(writer, random_bytes(random, 40), {});
    uint64_t left = random.below(from.size() + 200);
    while (left > 0 && !writer.empty()) {
      const auto bytes = take_some(writer, random, std::min<uint64_t>(left, 9'000));
      left -= std::min<uint64_t>(left, bytes.size());
      ASSERT_TRUE(feed(reader, bytes).ok());
    }
    reader.forget(sink.window);
    sink.take_stripes = false;
    const auto before = to;
    while (!writer.empty()) {
      ASSERT_TRUE(feed(reader, take_some(writer, random, 9'000)).ok());
    }
    EXPECT_TRUE(to == before);
    EXPECT_EQ(sink.bodies.size(), 1u);
    EXPECT_EQ(sink.landed + sink.drained, from.size());
  }
}

TEST(FrameStream, bytes_around_the_caches_are_in_the_window_turn_by_turn) {
  constexpr size_t kTurn = FrameReader::kTurnBytes;
  Random random(5);
  const auto from = random_bytes(random, kTurn + kTurn / 2);
  std::vector<std::byte> to(from.size());
  Sink sink;
  sink.window.segments = {{to.data(), to.size()}};
  sink.window.total_bytes = to.size();
  sink.window.around_caches = true;
  FrameReader reader(sink);
  std::vector<std::byte> stream(sizeof(FrameHeader));
  FrameWriter writer;
  add_stripe(writer, 0, from);
  std::copy_n(static_cast<const std::byte*>(writer.parts()[0].iov_base), stream.size(),
              stream.begin());
  stream.insert(stream.end(), from.begin(), from.end());
  const std::vector<std::byte> nothing(to.size());
  const size_t turn_ends = sizeof(FrameHeader) + kTurn;
  ASSERT_TRUE(feed(reader, ConstBytes(stream).first(turn_ends - 1)).ok());
  EXPECT_TRUE(to == nothing);
  ASSERT_TRUE(feed(reader, ConstBytes(stream).subspan(turn_ends - 1, 1)).ok());
  EXPECT_TRUE(std::equal(to.begin(), to.begin() + kTurn, from.begin()));
  EXPECT_EQ(sink.landed, 0u);
  ASSERT_TRUE(feed(reader, ConstBytes(stream).subspan(turn_ends)).ok());
  EXPECT_EQ(sink.landed, from.size());
  EXPECT_TRUE(sink.all_ok);
  EXPECT_TRUE(to == from);
}

TEST(FrameStream, a_stripe_whose_window_is_forgotten_while_it_is_sent_ends_in_zeros) {
  Random random(3);
  auto from = random_bytes(random, 300'000);
  Window source;
  source.segments = {{from.data(), from.size()}};
  source.total_bytes = from.size();
  FrameHeader header;
  header.kind = FrameKind::stripe;
  header.request_id = 1;
  header.payload_bytes = 300'000;
  header.payload_crc = crc32c(from);
  FrameWriter writer;
  OutFrame& frame = writer.add();
  encode_frame_header(header, frame.header);
  frame.window = &source;
  frame.payload_bytes = 300'000;
  writer.added(frame);

  std::vector<std::byte> to(from.size(), std::byte{9});
  Sink sink;
  sink.window.segments = {{to.data(), to.size()}};
  sink.window.total_bytes = to.size();
  FrameReader reader(sink);
  ASSERT_TRUE(feed(reader, take_some(writer, random, 1000)).ok());
  writer.forget(source);
  const auto original = from;
  from = std::vector<std::byte>();  // the address sanitizer would see it read
  while (!writer.empty()) ASSERT_TRUE(feed(reader, take_some(writer, random, 70'000)).ok());
  EXPECT_EQ(sink.landed, 300'000u);
  EXPECT_FALSE(sink.all_ok);  // the receiver knows that these are not the bytes
  EXPECT_EQ(to.back(), std::byte{0});
}

TEST(FrameStream, damage_in_header_body_or_payload_is_seen) {
  Random random(4);
  const auto body = random_bytes(random, 100);
  const auto eager = random_bytes(random, 100);
  FrameWriter writer;
  add_message(writer, body, eager);
  std::vector<std::byte> wire;
  while (!writer.empty()) {
    const auto part = take_some(writer, random, 1000);
    wire.insert(wire.end(), part.begin(), part.end());
  }
  for (size_t at = 0; at < wire.size(); ++at) {
    Sink sink;
    FrameReader reader(sink);
    auto damaged = wire;
    damaged[at] ^= std::byte{0x10};
    const Status status = feed(reader, damaged);
    const bool in_payload = at >= 64 + body.size();
    EXPECT_EQ(status.ok(), in_payload) << at;
    EXPECT_EQ(sink.all_ok, !in_payload) << at;
    EXPECT_EQ(sink.bodies.size(), in_payload ? 1u : 0u) << at;
  }
}

TEST(Stripes, the_crcs_of_a_pushs_stripes_join_to_the_pushs_own) {
  Random random(5);
  for (const size_t size : {1u, 4096u, 524'288u, 524'289u, 2'000'000u}) {
    auto bytes = random_bytes(random, size);
    Push push;
    push.bytes = bytes;
    push.crc = crc32c(bytes);
    uint64_t covered = 0;
    while (!fully_cut(push)) {
      const Stripe stripe = cut_stripe(push);
      EXPECT_EQ(stripe.crc, crc32c(stripe.bytes));
      EXPECT_EQ(stripe.offset, covered);
      covered += stripe.bytes.size();
    }
    EXPECT_EQ(covered, size);
  }
}

TEST(Stripes, bytes_that_changed_since_their_crc_was_taken_give_a_wrong_stripe_crc) {
  Random random(6);
  auto bytes = random_bytes(random, 2'000'000);
  for (const size_t at : {0u, 600'000u, 1'999'999u}) {
    Push push;
    push.bytes = bytes;
    push.crc = crc32c(bytes);
    bytes[at] ^= std::byte{1};
    int wrong = 0;
    while (!fully_cut(push)) {
      const Stripe stripe = cut_stripe(push);
      if (stripe.crc != crc32c(stripe.bytes)) ++wrong;
    }
    EXPECT_EQ(wrong, 1) << at;
    bytes[at] ^= std::byte{1};
  }
}

TEST(Stripes, a_pulls_stripe_is_taken_once_and_only_as_it_was_asked_for) {
  std::vector<std::byte> into(70 * uint64_t{kStripeDefaultBytes} + 5);
  Pull pull;
  pull.offset = 1000;
  pull.into = into;
  std::vector<PullRange> asked;
  for (PullRange range = ask_next(pull); range.length_bytes > 0; range = ask_next(pull)) {
    asked.push_back(range);
  }
  EXPECT_EQ(asked.size(), kPullStripesAhead);  // not all at once
  EXPECT_TRUE(place_of(pull, 999, kStripeDefaultBytes).empty());
  EXPECT_TRUE(place_of(pull, 1001, kStripeDefaultBytes).empty());
  EXPECT_TRUE(place_of(pull, 1000, kStripeDefaultBytes - 1).empty());
  EXPECT_TRUE(
      place_of(pull, 1000 + 64 * uint64_t{kStripeDefaultBytes}, kStripeDefaultBytes).empty());
  Random random(7);
  size_t arrived = 0;
  while (!asked.empty()) {
    const size_t i = random.below(asked.size());
    const PullRange range = asked[i];
    asked.erase(asked.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(place_of(pull, range.offset, range.length_bytes).size(), range.length_bytes);
    mark_arrived(pull, range.offset);
    ++arrived;
    EXPECT_TRUE(place_of(pull, range.offset, range.length_bytes).empty());
    const PullRange next = ask_next(pull);
    if (next.length_bytes > 0) asked.push_back(next);
    EXPECT_EQ(fully_arrived(pull), asked.empty());
  }
  EXPECT_EQ(arrived, 71u);
}

}  // namespace
}  // namespace gd2fs
