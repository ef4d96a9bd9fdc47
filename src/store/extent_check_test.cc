// Checksums of large reads, which are taken in slices while the loop does other things.
#include <gtest/gtest.h>

#include "store/extent_read.h"
#include "store/test_store.h"

namespace gd2fs {
namespace {

constexpr uint32_t kChunkBytes = 4 * kMiB;
constexpr uint8_t kClass = 6;
static_assert(class_data_bytes(kClass) == kChunkBytes);
static_assert(kChunkBytes > 2 * SlicePool::kSliceBytes &&
              kChunkBytes >= ExtentRead::kCheckBySlicesBytes);

struct Asked : StoreRead {
  bool ended = false;
  Asked(uint64_t offset, uint64_t length) {
    key = {1, 0};
    offset_bytes = static_cast<uint32_t>(offset);
    length_bytes = static_cast<uint32_t>(length);
    done.bind<&Asked::on_done>(this);
  }
  void on_done(Completion&) { ended = true; }
};

class ExtentCheck : public testing::Test {
 protected:
  ExtentCheck() : t(9), whole(pattern(kChunkBytes, 5)) {
    t.options.slab_bytes = t.options.arena_bytes = 32 * kMiB;
    t.options.data_file_bytes = 16 * kMiB;
    EXPECT_TRUE(t.open().ok());
    EXPECT_TRUE(t.write({1, 0}, 0, whole).ok());
    t.store->evict(UINT64_MAX);
  }
  void flip(uint64_t offset) {
    const uint64_t data_at = slot_offset(kClass, 0) + class_descriptor_bytes(kClass);
    ASSERT_TRUE(t.drives[0]->flip(data_file_name(kClass, 0), data_at + offset, std::byte{1}).ok());
  }
  // The drive has read the whole chunk.
  void until_read() {
    const uint64_t read_bytes = t.drives[0]->counters().read_bytes;
    EXPECT_TRUE(t.world.run_until(
        [&] { return t.drives[0]->counters().read_bytes >= read_bytes + kChunkBytes; }));
  }
  TestStore t;
  const std::string whole;
};

TEST_F(ExtentCheck, a_bad_block_of_any_slice_is_found_and_the_others_are_given) {
  const uint64_t slice = SlicePool::kSliceBytes;
  const std::vector<uint64_t> bad = {0, slice - 1, slice, 3 * slice + 5000, kChunkBytes - 1};
  for (const uint64_t at : bad) flip(at);
  EXPECT_NE(t.read({1, 0}, 0, kChunkBytes).size(), kChunkBytes);
  const auto is_bad = [&](uint64_t block) {
    return std::ranges::any_of(bad, [&](uint64_t at) { return at / kBlockBytes == block; });
  };
  for (uint64_t block = 0; block < kChunkBytes / kBlockBytes; ++block) {
    const uint64_t at = block * kBlockBytes;
    if (is_bad(block)) {
      Asked asked(at, kBlockBytes);
      EXPECT_TRUE(t.read(asked).is(StatusCode::corrupt)) << block;
    } else {
      ASSERT_EQ(t.read({1, 0}, at, kBlockBytes), whole.substr(at, kBlockBytes)) << block;
    }
  }
}

// A drive's request costs its time whatever its size: the first blocks of a slot come with the
// descriptor before them, others in a transfer beside it.
TEST_F(ExtentCheck, the_first_blocks_come_with_their_descriptor) {
  const auto cost_of = [&](uint64_t offset, uint64_t length) {
    t.store->evict(UINT64_MAX);
    const SimDriveCounters before = t.drives[0]->counters();
    EXPECT_EQ(t.read({1, 0}, offset, length), whole.substr(offset, length));
    const SimDriveCounters& after = t.drives[0]->counters();
    return std::pair(after.reads - before.reads, after.read_bytes - before.read_bytes);
  };
  constexpr uint64_t kDescriptorBytes = class_descriptor_bytes(kClass);
  EXPECT_EQ(cost_of(0, kChunkBytes), std::pair(uint64_t{1}, kDescriptorBytes + kChunkBytes));
  EXPECT_EQ(cost_of(0, kBlockBytes), std::pair(uint64_t{1}, kDescriptorBytes + kBlockBytes));
  EXPECT_EQ(cost_of(kMiB, kMiB), std::pair(uint64_t{2}, kDescriptorBytes + kMiB));
}

// A read, then a write over a part of it that is committed while the read is being checked: who
// asked before gets what was there, and who asks afterwards what is there.
TEST_F(ExtentCheck, a_write_meanwhile_is_not_hidden_by_what_was_read_before_it) {
  for (int turns = 0; turns < 12; ++turns) {
    const std::string fresh = pattern(kBlockBytes, 100 + static_cast<uint64_t>(turns));
    const std::string before = t.read({1, 0}, kBlockBytes, kBlockBytes);
    t.store->evict(UINT64_MAX);
    Asked asked(0, kChunkBytes);
    t.store->read(asked);
    until_read();
    for (int i = 0; i < turns; ++i) t.loop->turn(0);
    ASSERT_TRUE(t.write({1, 0}, kBlockBytes, fresh).ok());
    EXPECT_TRUE(t.world.run_until([&] { return asked.ended; }));
    const std::string got = TestStore::bytes_of(asked).substr(kBlockBytes, kBlockBytes);
    EXPECT_TRUE(got == before || got == fresh);
    EXPECT_EQ(t.read({1, 0}, kBlockBytes, kBlockBytes), fresh);
  }
}

// The process dies, or closes its store, in the middle of the checksums.
TEST_F(ExtentCheck, a_store_that_goes_meanwhile_leaves_nothing_behind) {
  for (int turns = 0; turns < 12; ++turns) {
    Asked asked(0, kChunkBytes);
    asked.fill_only = true;  // it holds no pages of a store that is gone
    t.store->read(asked);
    until_read();
    for (int i = 0; i < turns; ++i) t.loop->turn(0);
    if (turns % 2 == 0) {
      ASSERT_TRUE(t.crash_and_open().ok());
    } else {
      EXPECT_TRUE(t.close().ok());
      EXPECT_TRUE(asked.ended);
      ASSERT_TRUE(t.open().ok());
    }
    EXPECT_EQ(t.read({1, 0}, 0, kChunkBytes), whole);
    t.store->evict(UINT64_MAX);
  }
}

}  // namespace
}  // namespace gd2fs
