// Durability memory: what is acknowledged before a drive has it.
#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

struct WriteMemory : testing::Test {
  WriteMemory() : t(21) {}
  Status write(ChunkKey key, const std::string& data, MutationTag tag = {}) {
    StoreWrite w;
    w.key = key;
    w.tag = tag;
    w.ack_from_memory = true;
    const Status status = t.write(w, as_bytes(data.data(), data.size()));
    replayed = w.replayed;
    return status;
  }
  // With room for such writes on the drive, so that reserving needs nothing of it.
  void open_with_room(size_t length_bytes) {
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(write({8, 0}, pattern(length_bytes, 99)).ok());
    ASSERT_TRUE(flush().ok());
  }
  Status flush() {
    Completion done;
    t.arm(done);
    t.store->flush(done);
    return t.finish(done);
  }
  void start_commit_of_sevens(StoreWrite& w, ChunkKey key, uint32_t length_bytes) {
    w.key = key;
    w.ack_from_memory = true;
    w.length_bytes = length_bytes;
    t.arm(w.done);
    t.store->reserve(w);
    ASSERT_TRUE(t.finish(w.done).ok());
    std::ranges::fill(w.buffer, std::byte{7});
    t.arm(w.done);
    t.store->commit(w);
  }
  void hang() {
    for (auto& drive : t.drives) drive->hang();
  }
  void resume() {
    for (auto& drive : t.drives) drive->resume();
  }
  TestStore t;
  bool replayed = false;
};

TEST_F(WriteMemory, AWriteIsAcknowledgedAndReadableWhileTheDriveHasNothingYet) {
  open_with_room(200'000);
  hang();
  const std::string data = pattern(200'000, 1);
  ASSERT_TRUE(write({1, 0}, data).ok());
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  EXPECT_EQ(t.store->stats().extents, 1u);
  EXPECT_EQ(t.store->stats().slab_dirty_bytes, 4 * kBlockBytes);
  t.store->evict(UINT64_MAX);  // not what is nowhere else
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  resume();
  EXPECT_TRUE(flush().ok());
  EXPECT_EQ(t.store->stats().slab_dirty_bytes, 0u);
  EXPECT_EQ(t.store->stats().extents, 2u);
  t.store->evict(UINT64_MAX);
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  EXPECT_TRUE(t.close().ok());
}

TEST_F(WriteMemory, ACrashLosesWhatWasNotFlushedAndNothingElse) {
  ASSERT_TRUE(t.open().ok());
  const std::string durable = pattern(100'000, 2);
  ASSERT_TRUE(write({1, 0}, durable).ok());
  ASSERT_TRUE(flush().ok());
  hang();
  ASSERT_TRUE(write({1, 1}, pattern(100'000, 3)).ok());
  resume();
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_EQ(t.read({1, 0}, 0, durable.size()), durable);
  const std::string seen = t.read({1, 1}, 0, 100'000);
  EXPECT_TRUE(seen == pattern(100'000, 3) || seen == std::string(100'000, '\0'));
}

TEST_F(WriteMemory, ACleanCloseWaitsForTheDrive) {
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(300'000, 4);
  ASSERT_TRUE(write({1, 0}, data).ok());
  ASSERT_TRUE(t.close().ok());
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
}

TEST_F(WriteMemory, OverTheLimitAWriteWaitsForItsDrive) {
  t.options.write_back_max_bytes = 2 * kBlockBytes;
  open_with_room(2 * kBlockBytes);
  ASSERT_TRUE(write({8, 1}, pattern(kBlockBytes, 98)).ok());
  ASSERT_TRUE(flush().ok());
  hang();
  ASSERT_TRUE(write({1, 0}, pattern(2 * kBlockBytes, 5)).ok());
  StoreWrite w;
  ASSERT_NO_FATAL_FAILURE(start_commit_of_sevens(w, {1, 1}, kBlockBytes));
  t.world.run_for_ns(100 * kMs);
  EXPECT_TRUE(w.done.pending());
  EXPECT_EQ(t.store->stats().slab_dirty_bytes, 2 * kBlockBytes);
  resume();
  EXPECT_TRUE(t.finish(w.done).ok());
  EXPECT_EQ(t.read({1, 1}, 0, 3), "\7\7\7");
}

TEST_F(WriteMemory, OverwritesAndCutsComeInOrderAndSurvive) {
  ASSERT_TRUE(t.open().ok());
  const std::string first = pattern(300'000, 6);
  const std::string second = pattern(100'000, 7);
  ASSERT_TRUE(write({1, 0}, first).ok());
  ASSERT_TRUE(write({1, 0}, second).ok());
  ASSERT_TRUE(write({1, 1}, first).ok());
  // Right behind them, while they may still be on their way.
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 1, .keep_bytes = 150'000}).ok());
  const std::string expected = second + first.substr(100'000, 50'000) + std::string(150'000, '\0');
  for (const bool again : {false, true}) {
    if (again) {
      ASSERT_TRUE(t.crash_and_open().ok());
    }
    EXPECT_EQ(t.read({1, 0}, 0, expected.size(), 1), expected);
    EXPECT_EQ(t.read({1, 1}, 0, 10, 1), std::string(10, '\0'));
  }
}

TEST_F(WriteMemory, ARetryOfWhatIsOnItsWayIsOneWrite) {
  ASSERT_TRUE(t.open().ok());
  const MutationTag tag{.incarnation = 9, .sequence = 1, .low = 1};
  const std::string data = pattern(100'000, 8);
  ASSERT_TRUE(write({1, 0}, data, tag).ok());
  EXPECT_FALSE(replayed);
  ASSERT_TRUE(write({1, 0}, data, tag).ok());
  EXPECT_TRUE(replayed);
  EXPECT_EQ(t.store->stats().committed_writes, 1u);
}

TEST_F(WriteMemory, WhatADriveRefusesStaysReadableAndEveryFlushSaysSo) {
  t.options.drive_deadline_ns = 1 * kSecond;
  open_with_room(100'000);
  const std::string data = pattern(100'000, 9);
  hang();
  ASSERT_TRUE(write({1, 0}, data).ok());
  t.world.run_for_ns(3 * kSecond);  // the drive is set aside
  EXPECT_EQ(t.store->stats().drives_set_aside, 1u);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(flush().code(), StatusCode::io);
  EXPECT_EQ(t.store->stats().slab_stranded_bytes, 2 * kBlockBytes);
  t.store->evict(UINT64_MAX);
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  EXPECT_FALSE(write({1, 0}, data).ok());
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  resume();
}

TEST_F(WriteMemory, AWriteThatHasItsTurnOnADriveThatIsSetAsideIsNotAcknowledged) {
  t.options.drive_deadline_ns = 1 * kSecond;
  open_with_room(2 * kBlockBytes);
  ASSERT_TRUE(write({8, 1}, pattern(2 * kBlockBytes, 98)).ok());
  ASSERT_TRUE(write({1, 0}, pattern(2 * kBlockBytes, 97)).ok());
  ASSERT_TRUE(flush().ok());
  const std::string data = pattern(2 * kBlockBytes, 9);
  hang();
  ASSERT_TRUE(write({1, 0}, data).ok());
  StoreWrite behind;
  ASSERT_NO_FATAL_FAILURE(start_commit_of_sevens(behind, {1, 0}, 2 * kBlockBytes));
  t.world.run_for_ns(100 * kMs);
  ASSERT_TRUE(behind.done.pending());  // it waits for the first one's end
  t.world.run_for_ns(3 * kSecond);
  EXPECT_EQ(t.finish(behind.done).code(), StatusCode::unavailable);
  EXPECT_EQ(t.store->stats().slab_stranded_bytes, 2 * kBlockBytes);
  EXPECT_EQ(t.read({1, 0}, 0, data.size()), data);
  resume();
}

// One of two drives fails with bytes that only memory has now; the other one records fences.
struct WriteMemoryStranded : testing::Test {
  static constexpr uint32_t kChunks = 8;
  WriteMemoryStranded() : t(22, 2) {
    t.options.drive_deadline_ns = 1 * kSecond;
    EXPECT_TRUE(t.open().ok());
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {  // room on both
      EXPECT_TRUE(write({8, chunk}, pattern(kBytes, 99)).ok());
    }
    Completion done;
    t.arm(done);
    t.store->flush(done);
    EXPECT_TRUE(t.finish(done).ok());
    t.drives[0]->hang();
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      const Status status = write({1, chunk}, pattern(kBytes, chunk));
      EXPECT_TRUE(status.ok()) << status.to_string();
    }
    t.world.run_for_ns(3 * kSecond);
    EXPECT_EQ(t.store->stats().drives_set_aside, 1u);
    EXPECT_GT(t.store->stats().slab_stranded_bytes, 0u);
  }
  ~WriteMemoryStranded() override { t.drives[0]->resume(); }
  Status write(ChunkKey key, const std::string& data) {
    StoreWrite w;
    w.key = key;
    w.ack_from_memory = true;
    return t.write(w, as_bytes(data.data(), data.size()));
  }
  // Zeros, or nobody knows while the drive that may have more of the chunk is away.
  bool is_gone(ChunkKey key, uint64_t offset_bytes, uint64_t length_bytes) {
    const std::string seen = t.read(key, offset_bytes, length_bytes, kChunks);
    return seen == std::string(length_bytes, '\0') || seen.starts_with("unavailable");
  }
  static constexpr uint64_t kBytes = 200'000;
  TestStore t;
};

TEST_F(WriteMemoryStranded, ATruncateCutsWhatOnlyMemoryHas) {
  const uint64_t chunk_bytes = uint64_t{1} << StoreWrite().chunk_log2;
  // Each cut in the middle of another chunk, whichever of them are the stranded ones.
  for (uint32_t chunk = kChunks; chunk-- > 0;) {
    const uint64_t keep = 100'000 + chunk;
    const Status status = t.fence(
        {.inode = 1, .generation = kChunks - chunk, .keep_bytes = chunk * chunk_bytes + keep});
    ASSERT_TRUE(status.ok()) << status.to_string();
    const uint64_t cut_end = 2 * kBlockBytes;  // of the block that is cut in the middle
    const std::string expected =
        pattern(kBytes, chunk).substr(0, keep) + std::string(cut_end - keep, '\0');
    EXPECT_TRUE(t.read({1, chunk}, 0, cut_end, kChunks) == expected) << chunk;
    EXPECT_TRUE(is_gone({1, chunk}, cut_end, kBytes - cut_end)) << chunk;
    if (chunk + 1 < kChunks) {
      EXPECT_TRUE(is_gone({1, chunk + 1}, 0, kBytes)) << chunk;
    }
    for (uint32_t below = 0; below < chunk; ++below) {
      EXPECT_TRUE(t.read({1, below}, 0, kBytes, kChunks) == pattern(kBytes, below)) << below;
    }
  }
}

TEST_F(WriteMemoryStranded, AnUnlinkGivesTheMemoryBack) {
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 1, .keep_bytes = 0, .unlinked = true}).ok());
  t.drives[0]->resume();  // which ends the transfers that held the pages
  t.world.run_for_ns(1 * kSecond);
  EXPECT_EQ(t.store->stats().slab_stranded_bytes, 0u);
}

}  // namespace
}  // namespace gd2fs
