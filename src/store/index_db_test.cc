#include "store/index_db.h"

#include <gtest/gtest.h>

#include "sim/sim_disk.h"
#include "sim/sim_world.h"

namespace gd2fs {
namespace {

struct IndexDbTest : testing::Test {
  IndexDbTest() : loop(world.clock(), Loop::Waits::never), member(world, loop) { restart(); }
  void restart() {
    index.reset();
    disk.reset();
    disk = std::make_unique<SimDisk>(loop, drive);
    index = std::make_unique<IndexDb>(*disk, uuid);
  }
  static IndexRow row(uint32_t slot, uint64_t inode) {
    return {.place = make_place(6, 2, slot),
            .key = {inode, 5},
            .chunk_log2 = 22,
            .first_block = 1,
            .blocks = 63,
            .version = 1000 + slot,
            .generation = 3,
            .group = 4,
            .epoch = 5};
  }
  Result<IndexDb::Loaded> load(std::vector<IndexRow>* rows) {
    rows->clear();
    return index->load([&](const IndexRow& r) {
      rows->push_back(r);
      return Status();
    });
  }
  SimWorld world{1};
  Loop loop;
  SimWorld::Member member;
  SimDrive drive{"d", 5};
  DriveUuid uuid;
  std::unique_ptr<SimDisk> disk;
  std::unique_ptr<IndexDb> index;
};

TEST_F(IndexDbTest, WhatWasAppliedIsThereAfterACrash) {
  ASSERT_TRUE(index->create(7).ok());
  ASSERT_TRUE(index->finish().ok());
  IndexBatch batch;
  for (uint32_t slot = 0; slot < 10; ++slot) batch.add_rows.push_back(row(slot, 100 + slot));
  batch.add_tags.push_back({.tag = {1, 2, 2}, .key = {100, 5}, .version = 1000});
  batch.lows.push_back({.incarnation = 1, .low = 2});
  batch.add_fences.push_back(
      {.inode = 9, .generation = 8, .keep_bytes = 7, .floor_version = 6, .unlinked = true});
  ASSERT_TRUE(index->apply(batch).ok());
  IndexBatch second;
  second.remove_places.push_back(make_place(6, 2, 3));
  second.lows.push_back({.incarnation = 1, .low = 1});  // late: a low never goes back
  ASSERT_TRUE(index->apply(second).ok());
  drive.crash();
  restart();
  ASSERT_TRUE(index->open().ok());
  EXPECT_EQ(index->transactions(), 2u);
  std::vector<IndexRow> rows;
  const Result<IndexDb::Loaded> loaded = load(&rows);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().to_string();
  ASSERT_EQ(rows.size(), 9u);
  EXPECT_EQ(rows[0].slot_class(), 6);
  EXPECT_EQ(rows[0].file_number(), 2u);
  EXPECT_EQ(rows[0].epoch, 5u);
  EXPECT_EQ(rows[3].slot(), 4u);
  ASSERT_EQ(loaded->fences.size(), 1u);
  EXPECT_TRUE(loaded->fences[0].unlinked);
  ASSERT_EQ(loaded->tags.size(), 1u);
  EXPECT_EQ(loaded->tags[0].version, 1000u);
  ASSERT_EQ(loaded->lows.size(), 1u);
  EXPECT_EQ(loaded->lows[0].low, 2u);
  EXPECT_EQ(loaded->epoch, 7u);
}

TEST_F(IndexDbTest, AnUnfinishedOrForeignIndexIsCorrupt) {
  ASSERT_TRUE(index->create(1).ok());
  restart();
  EXPECT_TRUE(index->open().is(StatusCode::corrupt));
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  uuid.bytes[3] = std::byte{1};
  restart();
  EXPECT_TRUE(index->open().is(StatusCode::corrupt));
}

TEST_F(IndexDbTest, NoFlippedByteOfTheDatabaseIsEverTakenForAnotherRow) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  IndexBatch batch;
  for (uint32_t slot = 0; slot < 40; ++slot) batch.add_rows.push_back(row(slot, 100 + slot));
  ASSERT_TRUE(index->apply(batch).ok());
  ASSERT_TRUE(index->close().ok());
  restart();
  const uint64_t size_bytes =
      *(*disk->open("index.db", OpenMode::existing, OpenKind::cached))->size_bytes();
  Random random(3);
  int noticed = 0;
  for (int i = 0; i < 400; ++i) {
    const uint64_t at = random.below(size_bytes);
    const std::byte mask{static_cast<unsigned char>(1 + random.below(255))};
    ASSERT_TRUE(drive.flip("index.db", at, mask).ok());
    restart();
    std::vector<IndexRow> rows;
    Status status = index->open();
    if (status.ok()) {
      const Result<IndexDb::Loaded> loaded = load(&rows);
      if (!loaded) status = loaded.error();
    }
    if (status.ok()) {
      ASSERT_EQ(rows.size(), 40u) << at;
      for (uint32_t slot = 0; slot < 40; ++slot) {
        const IndexRow expected = row(slot, 100 + slot);
        ASSERT_EQ(rows[slot].key, expected.key) << at;
        ASSERT_EQ(rows[slot].version, expected.version) << at;
        ASSERT_EQ(rows[slot].place, expected.place) << at;
      }
    } else {
      ++noticed;
    }
    restart();
    ASSERT_TRUE(drive.flip("index.db", at, mask).ok());
  }
  EXPECT_GT(noticed, 20);
}

TEST_F(IndexDbTest, AFullDriveRefusesATransactionWholeAndTakesItLater) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  const uint64_t used_bytes = drive.used_bytes();
  drive.set_capacity_bytes(used_bytes + 64 * kKiB);
  Status status;
  uint32_t slot = 0;
  uint32_t applied = 0;
  for (; slot < 1000 && status.ok(); ++slot) {
    IndexBatch batch;
    batch.add_rows.push_back(row(slot, slot));
    status = index->apply(batch);
    if (status.ok()) ++applied;
  }
  ASSERT_TRUE(status.is(StatusCode::no_space)) << status.to_string();
  drive.set_capacity_bytes(kGiB);
  IndexBatch batch;
  batch.add_rows.push_back(row(slot, slot));
  const Status later = index->apply(batch);
  ASSERT_TRUE(later.ok()) << later.to_string();
  restart();
  ASSERT_TRUE(index->open().ok());
  std::vector<IndexRow> rows;
  ASSERT_TRUE(load(&rows).has_value());
  EXPECT_EQ(rows.size(), applied + 1);
}

}  // namespace
}  // namespace gd2fs
