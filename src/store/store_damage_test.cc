// Damage on the drives: flipped bytes, lost writes, unreadable sectors, a missing log. It is
// noticed, is never handed out, and costs no more than what it hit.
#include <algorithm>

#include "base/crc32c.h"
#include "store/test_store.h"

namespace gd2fs {
namespace {

TEST(Store, AnIndexThatLostItsWriteAheadLogLosesNothing) {
  for (const bool flipped : {false, true}) {
    TestStore t(15);
    ASSERT_TRUE(t.open().ok());
    const std::string data = pattern(100'000, 9);
    for (uint32_t chunk = 0; chunk < 5; ++chunk) {
      ASSERT_TRUE(t.write({1, chunk}, 0, std::string(100'000, 'a')).ok());
      ASSERT_TRUE(t.write({1, chunk}, 0, data).ok());
    }
    t.crash();
    {
      Loop loop(t.world.clock(), Loop::Waits::never);
      SimDisk disk(loop, *t.drives[0]);
      if (flipped) {
        ASSERT_TRUE(t.drives[0]->flip("index.db-wal", 5000).ok());
      } else {
        ASSERT_TRUE(disk.remove("index.db-wal").ok());
      }
    }
    ASSERT_TRUE(t.open().ok());
    for (uint32_t chunk = 0; chunk < 5; ++chunk) {
      EXPECT_TRUE(t.read({1, chunk}, 0, data.size()) == data) << chunk;
    }
  }
}

TEST(Store, AFlippedByteOnTheDriveIsCorruptAndNeverHandedOut) {
  TestStore t(6);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(128 * kKiB, 3);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  ASSERT_TRUE(t.close().ok());
  // Class 1: header, descriptor, data. The second block.
  ASSERT_TRUE(t.drives[0]->flip("data/c01-0000", 4096 + 4096 + 70'000).ok());
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(t.read({1, 0}, 0, 65'536), data.substr(0, 65'536));
  EXPECT_EQ(t.read({1, 0}, 65'536, 10).substr(0, 7), "corrupt");
  EXPECT_TRUE(t.write({1, 0}, 65'536 + 10, "into the damaged block").is(StatusCode::corrupt));
  const ScrubReport report = t.scrub();
  EXPECT_EQ(report.corrupt_blocks, 1u);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_NE(report.findings[0].find("data/c01-0000 slot 0: inode 1 chunk 0 block 1: crc"),
            std::string::npos)
      << report.findings[0];
  // Overwriting the whole block heals it.
  ASSERT_TRUE(t.write({1, 0}, 65'536, std::string(65'536, 'z')).ok());
  EXPECT_EQ(t.read({1, 0}, 65'536, 10), std::string(10, 'z'));
}

TEST(Store, ABitThatFlipsOnTheWayIsReadAgainAndNeverHandedOut) {
  TestStore t(16);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(512 * kKiB, 3);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  t.drives[0]->set_faults({.name_prefix = "data/", .flip_read_ppm = 200'000});
  int right = 0;
  int corrupt = 0;
  for (int i = 0; i < 200; ++i) {
    t.store->evict(UINT64_MAX);
    const std::string answer = t.read({1, 0}, 0, data.size());
    right += answer == data;
    corrupt += answer.starts_with("corrupt");
  }
  EXPECT_EQ(right + corrupt, 200);
  EXPECT_GT(right, 150);
  EXPECT_GT(corrupt, 0);
}

TEST(Store, AWriteThatTheDriveLostIsCorruptAndNotWhatWasThereBefore) {
  TestStore t(17);
  t.options.data_file_bytes = 256 * kKiB;
  ASSERT_TRUE(t.open().ok());
  // Slots are taken from the lowest: what the chunk held before lies where this write goes.
  ASSERT_TRUE(t.write({1, 0}, 0, std::string(kBlockBytes, 'a')).ok());
  ASSERT_TRUE(t.write({1, 0}, 0, std::string(kBlockBytes, 'b')).ok());
  t.world.run_for_ns(50 * kMs);  // the dropped slot is free, and not wiped yet
  t.drives[0]->set_faults({.name_prefix = "data/", .lose_write_ppm = 1'000'000});
  ASSERT_TRUE(t.write({1, 0}, 0, std::string(kBlockBytes, 'c')).ok());
  t.drives[0]->set_faults({});
  t.store->evict(UINT64_MAX);
  EXPECT_EQ(t.read({1, 0}, 0, 10).substr(0, 7), "corrupt");
}

TEST(Store, OneUnreadableSectorCostsOneBlockWhenAChunkIsCut) {
  TestStore t(18);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(1 * kMiB, 3);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  t.store->evict(UINT64_MAX);
  // Class 4, slot 0: header, descriptor, data. In the third block.
  ASSERT_TRUE(t.drives[0]->set_unreadable("data/c04-0000", 4096 + 4096 + 150'000).ok());
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 2, .keep_bytes = 600'001}).ok());
  t.store->evict(UINT64_MAX);
  for (uint32_t block = 0; block < 10; ++block) {
    const std::string answer = t.read({1, 0}, block * kBlockBytes, kBlockBytes, 2);
    if (block == 2) {
      EXPECT_EQ(answer.substr(0, 7), "corrupt");
    } else {
      std::string expected = data.substr(block * kBlockBytes, kBlockBytes);
      if (block == 9) std::fill(expected.begin() + 600'001 % kBlockBytes, expected.end(), '\0');
      EXPECT_TRUE(answer == expected) << block;
    }
  }
}

TEST(Store, AFlippedByteOfDriveIdOrDriveLogLosesNothingAndIsMended) {
  TestStore t(19);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(100'000, 3);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  ASSERT_TRUE(t.write({2, 0}, 0, data).ok());
  for (uint64_t round = 0; round < 40; ++round) {
    // A fence is the last thing in the log; without its frame the bytes would be back.
    ASSERT_TRUE(t.write({3, 0}, 0, data, round).ok());
    ASSERT_TRUE(t.fence({.inode = 3, .generation = round + 1, .keep_bytes = 0}).ok());
    t.crash();
    // Either copy in turn, again and again.
    ASSERT_TRUE(t.drives[0]->flip("drive.id", round * 1009 % 8192).ok());
    uint64_t log_bytes = 0;
    {
      Loop loop(t.world.clock(), Loop::Waits::never);
      SimDisk disk(loop, *t.drives[0]);
      auto log = *disk.open("drive.log", OpenMode::existing, OpenKind::cached);
      log_bytes = *log->size_bytes();
    }
    ASSERT_TRUE(t.drives[0]->flip("drive.log", log_bytes - 1 - round * 37 % 1024).ok());
    t.options.rebuild = round % 2 == 0;
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(t.read({1, 0}, 0, data.size()) == data) << round;
    ASSERT_EQ(t.read({3, 0}, 0, 10, round + 1), std::string(10, '\0')) << round;
  }
}

}  // namespace
}  // namespace gd2fs
