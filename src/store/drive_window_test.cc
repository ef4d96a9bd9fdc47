// How many bytes of large reads are in a drive's hands at once.
#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

struct Timed : StoreRead {
  TestStore* t = nullptr;
  uint64_t done_ns = 0;
  void start(TestStore& store, ChunkKey chunk, uint32_t bytes) {
    t = &store;
    key = chunk;
    length_bytes = bytes;
    done.bind<&Timed::on_done>(this);
    t->store->read(*this);
  }
  void on_done(Completion&) { done_ns = t->world.clock().now_ns(); }
};

// Chunks of 1 MiB on a drive that takes kReadNs for whatever it is given, two of them at once.
class DriveWindow : public testing::Test {
 protected:
  static constexpr uint64_t kReadNs = 1 * kMs;
  static constexpr uint32_t kChunks = 6;
  DriveWindow() : t(4, 1, steady()) {
    t.options.slab_bytes = t.options.arena_bytes = 16 * kMiB;
    t.options.drive_window_bytes = 2 * kMiB;
    EXPECT_TRUE(t.open().ok());
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      EXPECT_TRUE(t.write({1, chunk}, 0, pattern(1 * kMiB, chunk)).ok());
    }
    EXPECT_TRUE(t.write({2, 0}, 0, "small").ok());
    t.store->evict(UINT64_MAX);
    from_ns = t.world.clock().now_ns();
  }
  static SimDriveOptions steady() {
    SimDriveOptions options;
    options.read = {.min_ns = kReadNs, .max_ns = kReadNs};
    options.slow_one_in = 0;
    return options;
  }
  // How many reads, one behind the other, came before its end.
  uint64_t rounds(Timed& read) {
    EXPECT_TRUE(t.world.run_until([&] { return read.done_ns != 0; }));
    EXPECT_TRUE(read.done.status.ok());
    if (read.key.inode == 1) {
      const std::string whole = pattern(1 * kMiB, read.key.chunk);
      EXPECT_EQ(TestStore::bytes_of(read), whole.substr(0, read.length_bytes));
    }
    return (read.done_ns - from_ns) / kReadNs;
  }
  TestStore t;
  uint64_t from_ns = 0;
};

TEST_F(DriveWindow, large_reads_are_given_to_the_drive_a_window_at_a_time_and_small_ones_pass_by) {
  std::vector<Timed> large(kChunks);
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) large[chunk].start(t, {1, chunk}, 1 * kMiB);
  Timed small;
  small.start(t, {2, 0}, 5);
  EXPECT_LE(rounds(small), 1u);
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    EXPECT_EQ(rounds(large[chunk]), chunk / 2 + 1) << chunk;
  }
}

TEST_F(DriveWindow, at_the_end_of_a_request_it_gets_half_of_what_is_left) {
  std::vector<Timed> large(4);
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    large[chunk].left_bytes = (3 - chunk) * kMiB;
    large[chunk].start(t, {1, chunk}, 1 * kMiB);
  }
  EXPECT_EQ(rounds(large[0]), 1u);
  EXPECT_EQ(rounds(large[1]), 1u);
  EXPECT_EQ(rounds(large[2]), 2u);
  EXPECT_EQ(rounds(large[3]), 3u);
}

TEST_F(DriveWindow, the_end_of_one_request_is_not_the_end_while_others_wait) {
  std::vector<Timed> large(kChunks);
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    large[chunk].left_bytes = chunk < 2 ? (1 - chunk) * kMiB : UINT64_MAX;
    large[chunk].start(t, {1, chunk}, 1 * kMiB);
  }
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    EXPECT_EQ(rounds(large[chunk]), chunk / 2 + 1) << chunk;
  }
}

TEST_F(DriveWindow, a_read_is_cut_to_the_size_that_it_wants) {
  Timed read;
  read.left_bytes = 0;
  read.fill_bytes_max = 512 * 1024;
  read.start(t, {1, 0}, 1 * kMiB);
  EXPECT_EQ(rounds(read), 2u);
}

// Gaps of one block between pinned ones are all the room that there is.
TEST_F(DriveWindow, where_only_single_blocks_are_free_a_cut_read_takes_them) {
  constexpr ChunkKey kPinned{3, 0};
  constexpr ChunkKey kOther{4, 0};
  const auto nth = [](const ChunkKey& first, uint32_t block) {
    return ChunkKey{first.inode, block / 16};
  };
  for (uint32_t block = 0; block < 128; block += 16) {
    ASSERT_TRUE(t.write(nth(kPinned, block), 0, pattern(1 * kMiB, 1)).ok());
    ASSERT_TRUE(t.write(nth(kOther, block), 0, pattern(1 * kMiB, 2)).ok());
  }
  t.store->evict(UINT64_MAX);
  ASSERT_TRUE(t.store->pin({.inode = kPinned.inode, .pinned = true}).ok());
  for (uint32_t block = 0; block < 128; ++block) {
    for (const ChunkKey& first : {kPinned, kOther}) {
      const uint64_t offset_bytes = block % 16 * kBlockBytes;
      EXPECT_EQ(t.read(nth(first, block), offset_bytes, kBlockBytes).size(), kBlockBytes);
    }
  }
  ASSERT_EQ(t.store->stats().slab_used_bytes, 16 * kMiB);
  from_ns = t.world.clock().now_ns();
  Timed read;
  read.fill_bytes_max = 512 * 1024;
  read.start(t, {1, 5}, 1 * kMiB);
  EXPECT_LT(rounds(read), 100u);
  EXPECT_EQ(t.store->stats().slab_pinned_bytes, 8 * kMiB);
}

}  // namespace
}  // namespace gd2fs
