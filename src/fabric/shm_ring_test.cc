#include "fabric/shm_ring.h"

#include <thread>

#include <gtest/gtest.h>

#include "base/random.h"

namespace gd2fs {
namespace {

constexpr uint64_t kSize = 4096;

struct Ring : testing::Test {
  RingControl control;
  std::vector<std::byte> data = std::vector<std::byte>(kSize);
  RingWriter writer{control, data.data(), kSize};
  RingReader reader{control, data.data(), kSize};

  RingMoved put(Bytes bytes) {
    const iovec part{bytes.data(), bytes.size()};
    return writer.write({&part, 1});
  }
  RingMoved get(Bytes bytes) {
    const iovec part{bytes.data(), bytes.size()};
    return reader.read({&part, 1});
  }
};

TEST_F(Ring, bytes_come_out_as_they_went_in_across_the_end_of_the_memory) {
  Random random(3);
  std::vector<std::byte> in(1'000'000);
  random.fill(in);
  std::vector<std::byte> out(in.size());
  size_t written = 0;
  size_t taken = 0;
  while (taken < in.size()) {
    const size_t want = std::min<size_t>(in.size() - written, random.below(6000));
    written += put(Bytes(in).subspan(written, want)).bytes;
    ASSERT_LE(written - taken, kSize);
    taken +=
        get(Bytes(out).subspan(taken, std::min<size_t>(out.size() - taken, random.below(6000))))
            .bytes;
  }
  EXPECT_TRUE(in == out);
}

TEST_F(Ring, a_full_ring_takes_nothing_and_an_empty_one_gives_nothing) {
  std::vector<std::byte> bytes(kSize + 100);
  EXPECT_EQ(get(bytes).bytes, 0u);
  EXPECT_FALSE(reader.readable());
  EXPECT_EQ(put(bytes).bytes, kSize);
  EXPECT_FALSE(writer.has_room());
  EXPECT_EQ(put(bytes).bytes, 0u);
  EXPECT_EQ(get(bytes).bytes, kSize);
  EXPECT_TRUE(writer.has_room());
}

TEST_F(Ring, a_counter_that_cannot_be_is_seen_and_nothing_is_copied) {
  std::vector<std::byte> bytes(100);
  for (const uint64_t lie : {kSize + 1, uint64_t{1} << 40, UINT64_MAX}) {
    control.written.store(lie);
    EXPECT_TRUE(reader.readable());
    const RingMoved moved = get(bytes);
    EXPECT_TRUE(moved.broken);
    EXPECT_EQ(moved.bytes, 0u);
    control.written.store(0);
  }
  for (const uint64_t lie : {uint64_t{1}, UINT64_MAX - kSize - 1, uint64_t{1} << 40}) {
    control.taken.store(lie);
    EXPECT_TRUE(put(bytes).broken) << lie;
    control.taken.store(0);
  }
  EXPECT_EQ(put(bytes).bytes, 100u);
}

TEST_F(Ring, a_side_that_lies_down_is_rung_for_exactly_once) {
  std::vector<std::byte> bytes(10);
  EXPECT_FALSE(writer.reader_sleeps());
  reader.sleep();
  put(bytes);
  EXPECT_TRUE(writer.reader_sleeps());
  EXPECT_FALSE(writer.reader_sleeps());
  writer.sleep();
  get(bytes);
  EXPECT_TRUE(reader.writer_sleeps());
  EXPECT_FALSE(reader.writer_sleeps());
}

TEST_F(Ring, two_threads_stream_through_it) {
  constexpr size_t kTotal = 8'000'000;
  std::thread writing([this] {
    std::vector<std::byte> piece(777);
    for (size_t at = 0; at < kTotal;) {
      const size_t want = std::min(piece.size(), kTotal - at);
      for (size_t i = 0; i < want; ++i) piece[i] = static_cast<std::byte>((at + i) * 31);
      size_t sent = 0;
      while (sent < want) {
        const size_t moved = put(Bytes(piece).subspan(sent, want - sent)).bytes;
        sent += moved;
        if (moved == 0) std::this_thread::yield();
      }
      at += want;
    }
  });
  std::vector<std::byte> piece(1000);
  bool right = true;
  for (size_t at = 0; at < kTotal;) {
    const size_t moved = get(piece).bytes;
    for (size_t i = 0; i < moved; ++i) right &= piece[i] == static_cast<std::byte>((at + i) * 31);
    at += moved;
    if (moved == 0) std::this_thread::yield();
  }
  writing.join();
  EXPECT_TRUE(right);
}

}  // namespace
}  // namespace gd2fs
