// A drive is lost for good, and its store is told so.
#include <gtest/gtest.h>

#include "store/format.h"
#include "store/test_store.h"

namespace gd2fs {
namespace {

constexpr uint64_t kLength = 100'000;
constexpr uint32_t kChunks = 8;
constexpr uint64_t kOld = 10;   // an inode of before the loss
constexpr uint64_t kEnd = 100;  // above all of that time
constexpr uint64_t kNew = 100;  // made later

class ForgetDrives : public testing::Test {
 protected:
  // Two drives, with half of the old inode's chunks each; the second is lost.
  ForgetDrives() : t(3, 2) {
    EXPECT_TRUE(t.open().ok());
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      EXPECT_TRUE(t.write({kOld, chunk}, 0, pattern(kLength, chunk)).ok());
    }
    EXPECT_TRUE(t.close().ok());
    lost = std::move(t.drives[1]);
    uuid = superblock_of(*lost).uuid;
  }
  Superblock superblock_of(SimDrive& drive) {
    Loop loop(t.world.clock(), Loop::Waits::never);
    SimDisk disk(loop, drive);
    const auto file = *disk.open("drive.id", OpenMode::existing, OpenKind::cached);
    std::vector<std::byte> bytes(kHeaderBytes);
    EXPECT_EQ(file->read_at(0, bytes).value_or(0), kHeaderBytes);
    return parse_superblock(bytes).value_or(Superblock());
  }
  void open_and_forget() {
    t.options.forget_drives = {uuid};
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(t.store->has_drives_to_forget());
    ASSERT_TRUE(t.forget_drives({kEnd}).ok());
    EXPECT_FALSE(t.store->has_drives_to_forget());
    t.options.forget_drives = {};
  }
  Status write(uint64_t inode, uint32_t chunk, uint64_t offset_bytes = 0,
               uint64_t length_bytes = kLength) {
    return t.write({inode, chunk}, offset_bytes, pattern(length_bytes, chunk));
  }
  std::string read(uint64_t inode, uint32_t chunk) { return t.read({inode, chunk}, 0, kLength); }
  void expect(uint64_t inode, uint32_t whole, uint32_t lost_chunks) {
    uint32_t whole_seen = 0;
    uint32_t lost_seen = 0;
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      whole_seen += read(inode, chunk) == pattern(kLength, chunk);
      lost_seen += read(inode, chunk).starts_with("io");
    }
    EXPECT_EQ(whole_seen, whole);
    EXPECT_EQ(lost_seen, lost_chunks);
  }
  void write_all(uint64_t inode) {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      EXPECT_TRUE(write(inode, chunk).ok()) << chunk;
    }
  }

  TestStore t;
  std::unique_ptr<SimDrive> lost;
  DriveUuid uuid;
};

TEST_F(ForgetDrives, WithoutItNewChunksThatMayBeOnTheLostOneAreRefused) {
  ASSERT_TRUE(t.open().ok());
  EXPECT_FALSE(t.store->has_drives_to_forget());
  uint32_t refused = 0;
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    refused += write(kNew, chunk).is(StatusCode::unavailable);
  }
  EXPECT_EQ(refused, kChunks / 2);
}

TEST_F(ForgetDrives, WhatWasThereIsAnErrorAndWhatIsMadeLaterIsWhole) {
  open_and_forget();
  expect(kOld, kChunks / 2, kChunks / 2);
  EXPECT_EQ(read(kNew, 0), std::string(kLength, '\0'));  // a hole is a hole
  write_all(kNew);
  expect(kNew, kChunks, 0);
  for (const bool clean : {true, false}) {
    if (clean) {
      ASSERT_TRUE(t.close().ok());
    } else {
      t.crash();
    }
    ASSERT_TRUE(t.open().ok());
    expect(kOld, kChunks / 2, kChunks / 2);
    expect(kNew, kChunks, 0);
    EXPECT_EQ(read(kNew + 1, 0), std::string(kLength, '\0'));
  }
}

TEST_F(ForgetDrives, ALostChunkIsWrittenAnewButItsRestStaysUnknown) {
  open_and_forget();
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    if (!read(kOld, chunk).starts_with("io")) continue;
    EXPECT_TRUE(write(kOld, chunk, 0, 100).is(StatusCode::io));  // the block's rest is lost
    EXPECT_TRUE(write(kOld, chunk, 0, kBlockBytes).ok());
    EXPECT_EQ(t.read({kOld, chunk}, 0, kBlockBytes), pattern(kBlockBytes, chunk));
    EXPECT_TRUE(t.read({kOld, chunk}, kBlockBytes, 1).starts_with("io"));
  }
  // The other chunks have all that they ever had.
  uint32_t holes = 0;
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    holes += t.read({kOld, chunk}, 4 * kBlockBytes, 2) == std::string(2, '\0');
  }
  EXPECT_EQ(holes, kChunks / 2);
}

TEST_F(ForgetDrives, AnEmptyDriveTakesThePlaceOfTheLostOne) {
  t.drives[1] = std::make_unique<SimDrive>("new", 77);
  open_and_forget();
  write_all(kNew);
  const uint64_t bytes = t.drives[1]->used_bytes();
  EXPECT_GT(bytes, kLength);
  ASSERT_TRUE(t.close().ok());
  ASSERT_TRUE(t.open().ok());
  expect(kNew, kChunks, 0);
  expect(kOld, kChunks / 2, kChunks / 2);
  // The new one alone knows of the loss, too.
  ASSERT_TRUE(t.close().ok());
  const std::unique_ptr<SimDrive> first = std::move(t.drives[0]);
  ASSERT_TRUE(t.open().ok());
  expect(kOld, 0, kChunks);
}

TEST_F(ForgetDrives, OneThatWasForgottenDoesNotComeBack) {
  open_and_forget();
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    if (!read(kOld, chunk).starts_with("io")) continue;
    EXPECT_TRUE(t.write({kOld, chunk}, 0, pattern(2 * kBlockBytes, 55)).ok());
  }
  ASSERT_TRUE(t.close().ok());
  t.drives[1] = std::move(lost);
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(t.store->stats().drives_set_aside, 1u);
  for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
    const std::string now = t.read({kOld, chunk}, 0, 2 * kBlockBytes);
    EXPECT_TRUE(now == pattern(2 * kBlockBytes, 55) ||
                now.substr(0, kLength) == pattern(kLength, chunk));
  }
}

TEST_F(ForgetDrives, OnlyAMissingDriveOfTheStoreCanBeForgotten) {
  t.options.forget_drives = {DriveUuid()};
  EXPECT_TRUE(t.open().is(StatusCode::invalid));
  t.stop();
  t.options.forget_drives = {superblock_of(*t.drives[0]).uuid};
  EXPECT_TRUE(t.open().is(StatusCode::invalid));
  t.stop();
  open_and_forget();
  ASSERT_TRUE(t.close().ok());
  t.options.forget_drives = {uuid};  // said again
  ASSERT_TRUE(t.open().ok());
  EXPECT_FALSE(t.store->has_drives_to_forget());
}

// A version of GD2FS that does not know of it would take what is lost for zeros.
TEST_F(ForgetDrives, DriveIdSaysThatTheLogTellsOfIt) {
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(superblock_of(*t.drives[0]).version, kStoreFormatVersion);
  t.stop();
  open_and_forget();
  EXPECT_EQ(superblock_of(*t.drives[0]).version, kForgottenDrivesVersion);
  t.drives[1] = std::make_unique<SimDrive>("new", 77);
  t.crash();
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(superblock_of(*t.drives[1]).version, kForgottenDrivesVersion);
}

TEST_F(ForgetDrives, PowerMayFailAtAnyMomentOfIt) {
  for (uint64_t changes = 1; changes < 60; ++changes) {
    TestStore u(3, 3);
    ASSERT_TRUE(u.open().ok());
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      ASSERT_TRUE(u.write({kOld, chunk}, 0, pattern(kLength, chunk)).ok());
    }
    ASSERT_TRUE(u.close().ok());
    const std::unique_ptr<SimDrive> gone = std::move(u.drives[2]);
    u.options.forget_drives = {superblock_of(*gone).uuid};
    u.drives[changes % 2]->crash_after_changes(changes);
    if (u.open().ok()) (void)u.forget_drives({kEnd}).ok();
    u.crash();
    for (const auto index : {0, 1}) u.drives[index]->crash_after_changes(0);
    ASSERT_TRUE(u.open().ok());
    if (u.store->has_drives_to_forget()) {
      ASSERT_TRUE(u.forget_drives({kEnd}).ok());
    }
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      const std::string now = u.read({kOld, chunk}, 0, kLength);
      EXPECT_TRUE(now == pattern(kLength, chunk) || now.starts_with("io")) << now.substr(0, 50);
      EXPECT_TRUE(u.write({kNew, chunk}, 0, pattern(kLength, chunk)).ok());
    }
  }
}

}  // namespace
}  // namespace gd2fs
