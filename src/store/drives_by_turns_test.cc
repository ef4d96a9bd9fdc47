// Two drives fail one after the other: what was cut, and which chunks were placed elsewhere, while
// the first was set aside is not in its log, and it comes back without the second.
#include <algorithm>

#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

class DrivesByTurns : public testing::Test {
 protected:
  static constexpr uint64_t kLength = 20'000;

  // Every drive has chunks of inode 1, and the first one is set aside.
  void begin(size_t drives) {
    t = std::make_unique<TestStore>(5, drives);
    ASSERT_TRUE(t->open().ok());
    for (uint32_t chunk = 0; chunk < 2 * drives; ++chunk) {
      ASSERT_TRUE(t->write({1, chunk}, 0, pattern(kLength, chunk), 1).ok());
    }
    t->drives[0]->hang();
    uint32_t refused = 0;
    for (uint32_t chunk = 0; chunk < 2 * drives; ++chunk) {
      const Status status = t->write({1, chunk}, 0, pattern(kLength, chunk), 1);
      refused += status.is(StatusCode::unavailable);
    }
    ASSERT_EQ(refused, 2u);
    ASSERT_EQ(t->store->stats().drives_set_aside, 1u);
  }
  // The power goes and comes back; only these drives answer then.
  void restart_with(const std::vector<size_t>& present) {
    t->crash();
    for (auto& [index, drive] : away) t->drives[index] = std::move(drive);
    away.clear();
    for (size_t i = 0; i < t->drives.size(); ++i) {
      if (t->drives[i]->hung()) t->drives[i]->resume();
      if (std::ranges::count(present, i) == 0) away.emplace_back(i, std::move(t->drives[i]));
    }
    ASSERT_TRUE(t->open().ok());
  }
  std::unique_ptr<TestStore> t;
  std::vector<std::pair<size_t, std::unique_ptr<SimDrive>>> away;
};

// Of two drives. The first is set aside, and a chunk that belongs on it goes to the second.
class NewChunkElsewhere : public DrivesByTurns {
 protected:
  static constexpr uint32_t kNew = 100;

  void begin_with_new_chunks() {
    ASSERT_NO_FATAL_FAILURE(begin(2));
    for (uint32_t chunk = kNew; chunk < kNew + 4; ++chunk) {
      ASSERT_TRUE(t->write({1, chunk}, 0, pattern(kLength, chunk), 1).ok());
    }
  }
  std::string contents(uint32_t chunk) {
    return t->read({1, chunk}, 0, kLength, 1).substr(0, kLength);
  }
  // How many of the new chunks are the bytes that were written, and how many are an error.
  void expect(int whole, int unknown) {
    int whole_seen = 0;
    int unknown_seen = 0;
    for (uint32_t chunk = kNew; chunk < kNew + 4; ++chunk) {
      const std::string read = contents(chunk);
      whole_seen += read == pattern(kLength, chunk);
      unknown_seen += read.starts_with("io");
    }
    EXPECT_EQ(whole_seen, whole);
    EXPECT_EQ(unknown_seen, unknown);
  }
};

TEST_F(NewChunkElsewhere, IsNeitherZerosNorWrittenAgainWhereItBelongs) {
  ASSERT_NO_FATAL_FAILURE(begin_with_new_chunks());
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  expect(0, 4);
  for (uint32_t chunk = kNew; chunk < kNew + 4; ++chunk) {
    EXPECT_TRUE(t->write({1, chunk}, 0, pattern(kLength, 9), 1).is(StatusCode::unavailable));
  }
  ASSERT_NO_FATAL_FAILURE(restart_with({0, 1}));
  expect(4, 0);
}

// The drive that does not know has been closed in order since.
TEST_F(NewChunkElsewhere, IsNotForgottenByACleanStop) {
  ASSERT_NO_FATAL_FAILURE(begin_with_new_chunks());
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  ASSERT_TRUE(t->close().ok());
  ASSERT_TRUE(t->open().ok());
  expect(0, 4);
}

// Once all drives were there it is known again which chunks cannot be on one that is missing.
TEST_F(NewChunkElsewhere, IsKnownToAllDrivesThatMeet) {
  ASSERT_NO_FATAL_FAILURE(begin(2));  // nothing goes elsewhere, but that is not known
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  expect(0, 4);
  ASSERT_NO_FATAL_FAILURE(restart_with({0, 1}));
  ASSERT_TRUE(t->close().ok());
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  expect(0, 2);  // those that belong on the other one
}

TEST_F(DrivesByTurns, ARequestOfBeforeAFenceThatIsNotKnownIsStaleOnceItIsHeardOf) {
  ASSERT_NO_FATAL_FAILURE(begin(2));
  EXPECT_FALSE(t->store->fences_unsure());
  ASSERT_TRUE(t->fence({.inode = 1, .generation = 2, .keep_bytes = 0}).ok());
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  EXPECT_TRUE(t->store->fences_unsure());
  t->store->reached(1, 2);
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    EXPECT_TRUE(t->write({1, chunk}, 0, pattern(kLength, 9), 1).is(StatusCode::stale));
  }
  ASSERT_NO_FATAL_FAILURE(restart_with({0, 1}));
  EXPECT_FALSE(t->store->fences_unsure());
}

TEST_F(DrivesByTurns, AnUnlinkedInodeKeepsNothingThatAStartWithoutTheUnlinkLetIn) {
  ASSERT_NO_FATAL_FAILURE(begin(2));
  ASSERT_TRUE(t->fence({.inode = 1, .generation = 2, .keep_bytes = 0, .unlinked = true}).ok());
  ASSERT_NO_FATAL_FAILURE(restart_with({0}));
  uint32_t written = 0;
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    written += t->write({1, chunk}, 0, pattern(kLength, 9), 1).ok();
  }
  EXPECT_EQ(written, 2u);
  ASSERT_NO_FATAL_FAILURE(restart_with({0, 1}));
  EXPECT_TRUE(t->store->inodes().empty());
  EXPECT_TRUE(t->scrub().findings.empty());
  t->options.rebuild = true;
  ASSERT_NO_FATAL_FAILURE(restart_with({0, 1}));
  EXPECT_TRUE(t->store->inodes().empty());
}

// A full drive comes back after a cut: to write anew what is left of the chunk, the start looks for
// room and removes an empty data file.
class CutOnAFullDrive : public testing::Test {
 protected:
  static constexpr ChunkKey kCut{1, 0};
  static constexpr ChunkKey kGone{2, 0};
  static constexpr uint64_t kLength = 2 * kBlockBytes;
  static constexpr uint64_t kKept = 100'000;

  bool has(size_t drive, const char* file) {
    SimDisk disk(*t.loop, *t.drives[drive]);
    return disk.exists(file).value_or(false);
  }
  void begin() {
    t.options.data_file_bytes = kBlockBytes;  // one slot in a file
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(t.write(kCut, 0, pattern(kLength, 1), 1).ok());
    full = has(0, "data/c01-0000") ? 0 : 1;
    ASSERT_TRUE(t.write(kGone, 0, pattern(kBlockBytes, 2), 1).ok());
    if (!has(full, "data/c00-0000")) {
      ASSERT_TRUE(t.write({kGone.inode, 1}, 0, pattern(kBlockBytes, 2), 1).ok());
    }
    ASSERT_TRUE(has(full, "data/c00-0000"));
    ASSERT_TRUE(
        t.fence({.inode = kGone.inode, .generation = 2, .keep_bytes = 0, .unlinked = true}).ok());
    ASSERT_TRUE(t.close().ok());
    std::unique_ptr<SimDrive> away = std::move(t.drives[full]);
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(t.fence({.inode = kCut.inode, .generation = 2, .keep_bytes = kKept}).ok());
    t.crash();
    t.drives[full] = std::move(away);
  }
  // Only what is kept free for the index is left.
  void fill() {
    Loop loop(t.world.clock(), Loop::Waits::never);
    SimDisk disk(loop, *t.drives[full]);
    const DiskSpace space = disk.space().value_or(DiskSpace());
    t.drives[full]->set_capacity_bytes(space.total_bytes - space.free_bytes +
                                       t.options.drive_reserve_bytes);
  }
  TestStore t{5, 2};
  size_t full = 0;
};

TEST_F(CutOnAFullDrive, AFileThatTheStartItselfRemovesIsNotTakenForLostByALaterOne) {
  ASSERT_NO_FATAL_FAILURE(begin());
  fill();
  ASSERT_TRUE(t.open().ok());
  ASSERT_FALSE(has(full, "data/c00-0000"));
  t.drives[full]->set_capacity_bytes(kGiB);
  t.options.rebuild = true;
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_EQ(t.read(kCut, 0, kLength, 2),
            pattern(kLength, 1).substr(0, kKept) + std::string(kLength - kKept, '\0'));
  for (const uint32_t chunk : {1u, 2u}) {
    EXPECT_EQ(t.read({kCut.inode, chunk}, 0, 3, 2), std::string(3, '\0'));
  }
}

}  // namespace
}  // namespace gd2fs
