#include "store/index_db.h"

#include <optional>

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

TEST_F(IndexDbTest, WhatWasAppliedIsThereAfterTheProcessIsKilled) {
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

// What is left of five commits after a power failure: a beginning of them, whole, or nothing that
// is not known to be damaged (nullopt).
std::optional<uint32_t> commits_left(Loop& loop, DriveUuid uuid, uint64_t seed, bool lie) {
  SimDrive power("d", seed);
  {
    SimDisk on_it(loop, power);
    {
      IndexDb made(on_it, uuid);
      EXPECT_TRUE(made.create(7).ok() && made.finish().ok() && made.close().ok());
    }
    if (lie) power.ignore_syncs("index.db", 0, UINT64_MAX);
    IndexDb before(on_it, uuid);
    EXPECT_TRUE(before.open().ok() && before.set_epoch(8).ok());
    for (uint32_t slot = 0; slot < 5; ++slot) {
      IndexBatch batch;
      batch.add_rows.push_back(IndexDbTest::row(slot, 100 + slot));
      EXPECT_TRUE(before.apply(batch).ok());
    }
    power.crash();
  }
  SimDisk after(loop, power);
  IndexDb again(after, uuid);
  if (!again.open().ok()) return std::nullopt;
  uint32_t next_slot = 0;
  const auto loaded = again.load([&](const IndexRow& r) {
    EXPECT_EQ(r.slot(), next_slot) << "seed " << seed;
    ++next_slot;
    return Status();
  });
  EXPECT_TRUE(loaded.has_value()) << "seed " << seed << ": " << loaded.error().to_string();
  EXPECT_EQ(again.transactions(), next_slot) << "seed " << seed;
  return next_slot;
}

TEST_F(IndexDbTest, EveryCommitSurvivesAPowerFailure) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    EXPECT_EQ(commits_left(loop, uuid, seed, false), 5u) << "seed " << seed;
  }
}

TEST_F(IndexDbTest, OfCommitsThatADriveHasNotSyncedABeginningIsLeft) {
  int whole = 0;
  int shorter = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const std::optional<uint32_t> left = commits_left(loop, uuid, seed, true);
    whole += left.has_value();
    shorter += left.has_value() && *left < 5;
  }
  EXPECT_GT(whole, 5);
  EXPECT_GT(shorter, 3);
}

TEST_F(IndexDbTest, AClosedIndexIsThereAfterAPowerFailure) {
  ASSERT_TRUE(index->create(7).ok());
  ASSERT_TRUE(index->finish().ok());
  IndexBatch batch;
  batch.add_rows.push_back(row(1, 100));
  ASSERT_TRUE(index->apply(batch).ok());
  ASSERT_TRUE(index->close().ok());
  drive.crash();
  restart();
  ASSERT_TRUE(index->open().ok());
  EXPECT_EQ(index->transactions(), 1u);
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
    bool incomplete = false;
    Status status = index->open();
    if (status.ok()) {
      const Result<IndexDb::Loaded> loaded = load(&rows);
      if (!loaded) status = loaded.error();
      incomplete = loaded && loaded->incomplete;
    }
    ASSERT_TRUE(status.ok() || status.is(StatusCode::corrupt)) << at << status.to_string();
    if (status.ok()) {
      ASSERT_EQ(rows.size(), 40u) << at;
      ASSERT_EQ(index->transactions(), 1u) << at;
      ASSERT_EQ(index->epoch(), 1u) << at;
      ASSERT_FALSE(incomplete) << at;
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

TEST_F(IndexDbTest, AnIndexWhoseMakingACrashCutShortIsNeverTakenForOne) {
  bool made = false;
  for (uint64_t changes = 1; !made; ++changes) {
    restart();
    drive.crash_after_changes(changes);
    const bool created = index->create(1).ok();
    made = created && index->finish().ok();
    drive.crash_after_changes(0);
    restart();
    const Status status = index->open();
    const bool refused = status.is(StatusCode::corrupt) || status.is(StatusCode::not_found);
    // What finish() writes is one transaction; it may be on the drive before finish() answers.
    ASSERT_TRUE(made ? status.ok() : refused || (created && status.ok()))
        << changes << status.to_string();
    ASSERT_LT(changes, 1000u);
  }
}

TEST_F(IndexDbTest, ALostWriteAheadLogIsNoticedUnlessTheIndexWasClosed) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  IndexBatch batch;
  batch.add_rows.push_back(row(1, 100));
  ASSERT_TRUE(index->apply(batch).ok());
  restart();
  ASSERT_TRUE(index->open().ok());
  ASSERT_TRUE(index->close().ok());
  restart();
  ASSERT_TRUE(disk->remove("index.db-wal").ok());
  ASSERT_TRUE(index->open().ok());
  ASSERT_TRUE(index->set_epoch(2).ok());
  IndexBatch second;
  second.add_rows.push_back(row(2, 100));
  ASSERT_TRUE(index->apply(second).ok());
  restart();  // opens, and moves what is in the log to the main file
  ASSERT_TRUE(index->open().ok());
  restart();
  ASSERT_TRUE(disk->remove("index.db-wal").ok());
  EXPECT_TRUE(index->open().is(StatusCode::corrupt));
}

TEST_F(IndexDbTest, AFlippedByteOfTheWriteAheadLogTakesNoMoreThanTheLastTransactionBack) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  for (uint32_t slot = 0; slot < 4; ++slot) {
    IndexBatch batch;
    batch.add_rows.push_back(row(slot, 100));
    ASSERT_TRUE(index->apply(batch).ok());
  }
  restart();
  const auto copy_of = [&](const char* name) {
    auto file = *disk->open(name, OpenMode::existing, OpenKind::cached);
    std::vector<std::byte> bytes(*file->size_bytes());
    EXPECT_EQ(*file->read_at(0, bytes), bytes.size());
    return bytes;
  };
  const auto put_back = [&](const char* name, ConstBytes bytes) {
    auto file = *disk->open(name, OpenMode::existing, OpenKind::cached);
    ASSERT_TRUE(file->truncate(0).ok());
    ASSERT_TRUE(file->write_at(0, bytes).ok());
  };
  const std::vector<std::byte> main_file = copy_of("index.db");
  const std::vector<std::byte> log = copy_of("index.db-wal");
  ASSERT_GT(log.size(), 8 * 4096u);
  int noticed = 0;
  for (uint64_t at = 0; at < log.size(); at += at < 64 ? 1 : 509) {
    ASSERT_TRUE(drive.flip("index.db-wal", at, std::byte{4}).ok());
    const Status status = index->open();
    ASSERT_TRUE(status.ok() || status.is(StatusCode::corrupt)) << at << status.to_string();
    if (status.ok()) {
      ASSERT_GE(index->transactions(), 3u) << at;
    } else {
      ++noticed;
    }
    restart();
    put_back("index.db", main_file);
    put_back("index.db-wal", log);
  }
  EXPECT_GT(noticed, 60);
}

TEST_F(IndexDbTest, ANewerFormatIsRefusedAndADamagedVersionIsRebuilt) {
  const auto after = [&](std::string_view sql) {
    EXPECT_TRUE(index->create(1).ok());
    EXPECT_TRUE(index->finish().ok());
    restart();
    {
      auto database = Database::open(*disk, "index.db");
      EXPECT_TRUE((*database)->exec(sql).ok());
    }
    restart();
    return index->open();
  };
  const Status newer = after("PRAGMA user_version=2; UPDATE meta SET format = 2");
  EXPECT_TRUE(newer.is(StatusCode::unsupported)) << newer.to_string();
  EXPECT_NE(newer.to_string().find("newer version of GD2FS"), std::string::npos);
  EXPECT_TRUE(after("PRAGMA user_version=2").is(StatusCode::corrupt));
  EXPECT_TRUE(after("UPDATE meta SET format = 2").is(StatusCode::corrupt));
  EXPECT_TRUE(after("UPDATE meta SET epoch = 9").is(StatusCode::corrupt));
  EXPECT_TRUE(after("DROP TABLE meta").is(StatusCode::corrupt));
}

// What the tables are called, hold and are keyed by is part of the format: see kSchema.
TEST_F(IndexDbTest, TheSchemaIsThisForEver) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  restart();
  auto database = Database::open(*disk, "index.db");
  auto columns = (*database)->prepare(
      "SELECT m.name || ':' || group_concat(c.name || ' ' || c.type || c.\"notnull\" || c.pk) FROM "
      "(SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name) m, "
      "pragma_table_info(m.name) c GROUP BY m.name ORDER BY m.name");
  ASSERT_TRUE(columns.has_value()) << columns.error().to_string();
  std::string schema;
  while (*columns->step()) schema += std::string(columns->column_text(0)) + "\n";
  EXPECT_EQ(schema, R"(client:incarnation INTEGER11,low INTEGER10
extent:place INTEGER01,inode INTEGER10,chunk INTEGER10,shape INTEGER10,version INTEGER10,generation INTEGER10,grp INTEGER10,epoch INTEGER10,pending INTEGER10
fence:inode INTEGER11,floor INTEGER12,generation INTEGER10,keep INTEGER10,flags INTEGER10
meta:id INTEGER01,format INTEGER10,uuid BLOB10,epoch INTEGER10,transactions INTEGER10,digest INTEGER10,state INTEGER10,incomplete INTEGER10,hash INTEGER10
tag:incarnation INTEGER11,sequence INTEGER12,inode INTEGER13,chunk INTEGER14,version INTEGER10
)");
  auto version = (*database)->prepare("PRAGMA user_version");
  ASSERT_TRUE(*version->step());
  EXPECT_EQ(version->column_u64(0), 1u);
}

TEST_F(IndexDbTest, TheDigestIsSummedUpLikeThisForEver) {
  ASSERT_TRUE(index->create(1).ok());
  ASSERT_TRUE(index->finish().ok());
  const auto digest_with = [&](const std::function<void(IndexBatch&)>& add) {
    const uint64_t before = index->digest();
    IndexBatch batch;
    add(batch);
    EXPECT_TRUE(index->apply(batch).ok());
    return index->digest() - before;
  };
  EXPECT_EQ(digest_with([](IndexBatch& b) { b.add_rows.push_back(row(1, 100)); }),
            15059912172518198218u);
  EXPECT_EQ(digest_with([](IndexBatch& b) {
              b.add_tags.push_back({.tag = {1, 2, 2}, .key = {100, 5}, .version = 1000});
            }),
            6274667389224037667u);
  EXPECT_EQ(digest_with([](IndexBatch& b) {
              b.add_fences.push_back({.inode = 9,
                                      .generation = 8,
                                      .keep_bytes = 7,
                                      .floor_version = 6,
                                      .chunk_log2 = 22,
                                      .unlinked = true});
            }),
            14795078825485111257u);
  EXPECT_EQ(digest_with([](IndexBatch& b) { b.lows.push_back({.incarnation = 1, .low = 2}); }),
            7260087146878558807u);
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
