#include "store/store.h"

#include "base/crc32c.h"
#include "store/test_store.h"

namespace gd2fs {
namespace {

TEST(Store, ReadsBackWhatWasWrittenAndZerosElsewhere) {
  TestStore t(1);
  ASSERT_TRUE(t.open().ok());
  ASSERT_TRUE(t.write({9, 0}, 100, "hello").ok());
  ASSERT_TRUE(t.write({9, 0}, 70'000, "world").ok());
  ASSERT_TRUE(t.write({9, 0}, 103, "LO WORLD").ok());
  for (const bool evict : {false, true}) {
    if (evict) t.store->evict(UINT64_MAX);
    EXPECT_EQ(t.read({9, 0}, 98, 14), std::string("\0\0helLO WORLD\0", 14));
    EXPECT_EQ(t.read({9, 0}, 69'999, 7), std::string("\0world\0", 7));
    EXPECT_EQ(t.read({9, 1}, 0, 3), std::string(3, '\0'));
  }
  EXPECT_TRUE(t.close().ok());
}

TEST(Store, KeepsEverythingOverCleanCloseCrashKillAndRebuild) {
  TestStore t(2);
  ASSERT_TRUE(t.open().ok());
  const std::string big = pattern(3 * kMiB + 12'345, 5);
  ASSERT_TRUE(t.write({1, 2}, 54'321, big).ok());
  const std::string small = pattern(4096, 6);
  ASSERT_TRUE(t.write({1, 2}, 1'000'000, small).ok());
  std::string expected = big;
  expected.replace(1'000'000 - 54'321, small.size(), small);
  ASSERT_TRUE(t.close().ok());
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(t.read({1, 2}, 54'321, expected.size()), expected);
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_EQ(t.read({1, 2}, 54'321, expected.size()), expected);
  t.kill();
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(t.read({1, 2}, 54'321, expected.size()), expected);
  t.crash();
  t.options.rebuild = true;
  ASSERT_TRUE(t.open().ok());
  EXPECT_EQ(t.read({1, 2}, 54'321, expected.size()), expected);
  EXPECT_TRUE(t.scrub().finished);
  EXPECT_TRUE(t.close().ok());
}

TEST(Store, SlicesCarryTheChecksumOfTheirBytes) {
  TestStore t(3);
  ASSERT_TRUE(t.open().ok());
  ASSERT_TRUE(t.write({1, 0}, 10'000, pattern(300'000, 1)).ok());
  ASSERT_TRUE(t.write({1, 0}, 200'000, pattern(70'000, 2)).ok());
  for (const uint32_t offset : {0u, 10'000u, 65'536u, 199'999u, 250'001u}) {
    t.store->evict(UINT64_MAX);
    StoreRead r;
    r.key = {1, 0};
    r.offset_bytes = offset;
    r.length_bytes = 150'000;
    ASSERT_TRUE(t.read(r).ok());
    uint64_t sum = 0;
    for (const StoreSlice& slice : r.slices) {
      sum += slice.length_bytes;
      const uint32_t crc = slice.zeros ? crc32c_zeros(slice.length_bytes) : crc32c(slice.bytes);
      EXPECT_EQ(slice.crc, crc) << offset;
    }
    EXPECT_EQ(sum, 150'000u);
  }
}

TEST(Store, SlicesEndWhereStripesDo) {
  TestStore t(3);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(3 * kMiB, 4);
  const uint64_t stripe_bytes = uint64_t{kSliceBlocksMax} * kBlockBytes;
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  for (const uint32_t offset : {0u, 100'000u, 524'288u}) {
    StoreRead r;
    r.key = {1, 0};
    r.offset_bytes = offset;
    r.length_bytes = 2'000'000;
    ASSERT_TRUE(t.read(r).ok());
    EXPECT_EQ(t.bytes_of(r), data.substr(offset, 2'000'000));
    uint64_t at = offset;
    for (const StoreSlice& slice : r.slices) {
      EXPECT_LE(at % stripe_bytes + slice.length_bytes, stripe_bytes) << at;
      EXPECT_EQ(slice.crc, crc32c(slice.bytes));
      at += slice.length_bytes;
    }
    EXPECT_LE(r.slices.size(), 5u);
  }
}

TEST(Store, UncutSlicesReachToTheEndsOfTheirPages) {
  TestStore t(3);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(3 * kMiB, 4);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  StoreRead r;
  r.key = {1, 0};
  r.offset_bytes = 100'000;
  r.length_bytes = 2'500'000;
  r.uncut = true;
  ASSERT_TRUE(t.read(r).ok());
  EXPECT_EQ(t.bytes_of(r), data.substr(100'000, 2'500'000));
  EXPECT_EQ(r.slices.size(), 1u);
}

TEST(Store, ARetriedTagIsAnsweredAndNotExecutedAgainAlsoAfterACrashAndARebuild) {
  TestStore t(4);
  ASSERT_TRUE(t.open().ok());
  StoreWrite w;
  w.key = {1, 0};
  w.tag = {.incarnation = 77, .sequence = 5, .low = 3};
  const std::string first(100, 'a');
  ASSERT_TRUE(t.write(w, as_bytes(first.data(), first.size())).ok());
  const uint64_t version = w.version;
  ASSERT_TRUE(t.write({1, 0}, 0, std::string(100, 'b')).ok());
  for (int round = 0; round < 3; ++round) {
    StoreWrite retry;
    retry.key = {1, 0};
    retry.tag = w.tag;
    EXPECT_TRUE(t.write(retry, as_bytes(first.data(), first.size())).ok());
    EXPECT_TRUE(retry.replayed) << round;
    EXPECT_EQ(retry.version, version);
    EXPECT_EQ(t.read({1, 0}, 0, 100), std::string(100, 'b'));
    t.options.rebuild = round == 1;
    ASSERT_TRUE(t.crash_and_open().ok());
  }
  StoreWrite below;
  below.key = {1, 0};
  below.tag = {.incarnation = 77, .sequence = 2, .low = 1};
  EXPECT_TRUE(t.write(below, as_bytes(first.data(), first.size())).is(StatusCode::stale));
}

TEST(Store, ADataFileWhoseMakingWasCutShortIsNeverCountedAsLost) {
  for (uint64_t changes = 1; changes < 40; ++changes) {
    TestStore t(23);
    ASSERT_TRUE(t.open().ok());
    t.drives[0]->kill_after_changes(changes);
    StoreWrite w;
    w.key = {1, 0};
    w.length_bytes = kBlockBytes;
    t.arm(w.done);
    t.store->reserve(w);
    t.world.run_for_ns(10 * kMs);
    t.kill();
    ASSERT_TRUE(t.open().ok()) << changes;
    ASSERT_TRUE(t.crash_and_open().ok()) << changes;
    t.options.rebuild = true;
    ASSERT_TRUE(t.crash_and_open().ok()) << changes;
    EXPECT_EQ(t.read({1, 0}, 0, 3), std::string(3, '\0')) << changes;
  }
}

TEST(Store, ARetryIsKnownAfterTwoRebuildsAlthoughItsDescriptorIsOverwritten) {
  TestStore t(21);
  t.options.data_file_bytes = 64 * kKiB;  // one slot in a file
  t.options.rebuild = true;
  ASSERT_TRUE(t.open().ok());
  const std::string first(kBlockBytes, 'a');
  StoreWrite w;
  w.key = {1, 0};
  w.tag = {.incarnation = 77, .sequence = 5, .low = 3};
  ASSERT_TRUE(t.write(w, as_bytes(first.data(), first.size())).ok());
  ASSERT_TRUE(t.write({1, 0}, 0, std::string(kBlockBytes, 'b')).ok());
  ASSERT_TRUE(t.crash_and_open().ok());  // its extent is dropped by the rebuild itself
  ASSERT_TRUE(t.write({1, 1}, 0, std::string(kBlockBytes, 'c')).ok());
  ASSERT_TRUE(t.write({1, 2}, 0, std::string(kBlockBytes, 'c')).ok());
  ASSERT_TRUE(t.crash_and_open().ok());
  StoreWrite retry;
  retry.key = {1, 0};
  retry.tag = w.tag;
  EXPECT_TRUE(t.write(retry, as_bytes(first.data(), first.size())).ok());
  EXPECT_TRUE(retry.replayed);
  EXPECT_EQ(t.read({1, 0}, 0, 3), "bbb");
}

TEST(Store, AClientsWindowOutlivesRestartsOverwritesAndTheIndex) {
  TestStore t(22);
  t.options.data_file_bytes = 64 * kKiB;  // one slot in a file
  ASSERT_TRUE(t.open().ok());
  const auto send = [&](uint64_t sequence, uint64_t low) {
    StoreWrite w;
    w.key = {1, static_cast<uint32_t>(sequence)};
    w.tag = {.incarnation = 77, .sequence = sequence, .low = low};
    const std::string data(kBlockBytes, 'a');
    return t.write(w, as_bytes(data.data(), data.size()));
  };
  ASSERT_TRUE(send(1, 1).ok());
  ASSERT_TRUE(send(5, 5).ok());
  ASSERT_TRUE(t.close().ok());
  ASSERT_TRUE(t.open().ok());
  // Nothing is left of either but what the log keeps of the second.
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 1, .keep_bytes = 0}).ok());
  t.world.run_for_ns(5 * kSecond);
  t.options.rebuild = true;
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_TRUE(send(5, 5).ok());
  EXPECT_TRUE(send(1, 1).is(StatusCode::stale));
}

TEST(Store, AFenceMakesOlderRequestsStaleAndDropsBytesForGood) {
  TestStore t(5);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(1 * kMiB, 9);
  ASSERT_TRUE(t.write({1, 0}, 0, data, 1).ok());
  ASSERT_TRUE(t.write({1, 1}, 0, data, 1).ok());
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 2, .keep_bytes = 100'001}).ok());
  EXPECT_EQ(t.read({1, 0}, 0, 10, 1).substr(0, 5), "stale");
  EXPECT_TRUE(t.write({1, 0}, 0, "x", 1).is(StatusCode::stale));
  std::string expected = data;
  std::fill(expected.begin() + 100'001, expected.end(), '\0');
  for (int round = 0; round < 4; ++round) {
    EXPECT_EQ(t.read({1, 0}, 0, data.size(), 2), expected) << round;
    EXPECT_EQ(t.read({1, 1}, 0, data.size(), 2), std::string(data.size(), '\0')) << round;
    if (round == 0) t.store->evict(UINT64_MAX);
    t.options.rebuild = round == 2;
    if (round > 0) {
      ASSERT_TRUE(t.crash_and_open().ok());
    }
  }
  ASSERT_TRUE(t.write({1, 1}, 5, "new", 2).ok());
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 3, .keep_bytes = 0, .unlinked = true}).ok());
  t.options.rebuild = true;
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_EQ(t.read({1, 0}, 0, 10, 3), std::string(10, '\0'));
  EXPECT_EQ(t.read({1, 1}, 0, 10, 3), std::string(10, '\0'));
  EXPECT_TRUE(t.store->inodes().empty());
  // A late duplicate of the truncate changes nothing.
  EXPECT_TRUE(t.fence({.inode = 1, .generation = 2, .keep_bytes = 100'001}).ok());
}

TEST(Store, ARetryOfAWriteThatMayBeOnAFailedDriveIsNotToldThatItDidNotHappen) {
  TestStore t(15, 2);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(100'000, 3);
  StoreWrite first;
  first.key = {1, 0};
  first.generation = 1;
  first.tag = {.incarnation = 9, .sequence = 1, .low = 1};
  first.length_bytes = static_cast<uint32_t>(data.size());
  t.arm(first.done);
  t.store->reserve(first);
  ASSERT_TRUE(t.finish(first.done).ok());
  std::ranges::copy(as_bytes(data.data(), data.size()), first.buffer.begin());
  for (auto& drive : t.drives) drive->hang();
  t.arm(first.done);
  t.store->commit(first);
  EXPECT_EQ(t.finish(first.done).code(), StatusCode::unavailable);
  for (auto& drive : t.drives) drive->resume();
  // Meanwhile the file is renamed; the drive that is left has it durable.
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 2}).ok());
  StoreWrite retry;
  retry.key = first.key;
  retry.generation = first.generation;
  retry.tag = first.tag;
  EXPECT_EQ(t.write(retry, as_bytes(data.data(), data.size())).code(), StatusCode::unavailable);
  // At the next start it is known what became of it: it happened, or it never will.
  ASSERT_TRUE(t.crash_and_open().ok());
  const std::string seen = t.read({1, 0}, 0, data.size(), 2);
  StoreWrite again;
  again.key = first.key;
  again.generation = first.generation;
  again.tag = first.tag;
  const Status known = t.write(again, as_bytes(data.data(), data.size()));
  if (seen == data) {
    EXPECT_TRUE(known.ok() && again.replayed) << known.to_string();
  } else {
    EXPECT_EQ(seen, std::string(data.size(), '\0'));
  }
}

TEST(Store, AWipeThatAKilledStartLeftInTheCacheDoesNotCountBeforeItIsDurable) {
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6, 7, 8, 305, 826, 1186}) {
    TestStore t(seed, 1);
    ASSERT_TRUE(t.open().ok());
    ASSERT_TRUE(t.write({1, 0}, 0, pattern(1000, 1), 1).ok());
    // A write that loses its power on the way, torn perhaps.
    const std::string data = pattern(500'000, 2);
    StoreWrite torn;
    torn.key = {2, 0};
    torn.generation = 1;
    torn.length_bytes = static_cast<uint32_t>(data.size());
    t.arm(torn.done);
    t.store->reserve(torn);
    ASSERT_TRUE(t.finish(torn.done).ok());
    std::ranges::copy(as_bytes(data.data(), data.size()), torn.buffer.begin());
    t.arm(torn.done);
    t.store->commit(torn);
    t.world.run_for_ns(5 * kUs + seed % 8 * 6 * kUs);
    t.crash();
    // The next start is killed while it cleans up; the one after that sees a clean drive, which a
    // lost power makes unclean again.
    const uint64_t life = t.drives[0]->lives();
    t.drives[0]->kill_after_changes(1 + seed % 40);
    const Status killed = t.open([&] { return t.drives[0]->lives() != life; });
    if (killed.ok() && t.drives[0]->lives() == life) t.drives[0]->kill_after_changes(0);
    t.kill();
    ASSERT_TRUE(t.open().ok()) << seed;
    t.crash();
    t.options.rebuild = true;
    ASSERT_TRUE(t.open().ok()) << seed;
    const ScrubReport report = t.scrub();
    EXPECT_TRUE(report.findings.empty()) << seed << ": " << report.findings.front();
    EXPECT_EQ(t.read({1, 0}, 0, 1000, 1), pattern(1000, 1)) << seed;
  }
}

TEST(Store, CutsThatADriveMissedAreAllMadeWhenItIsBack) {
  TestStore t(14, 2);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(1 * kMiB, 9);
  for (uint32_t chunk = 0; chunk < 4; ++chunk) {
    ASSERT_TRUE(t.write({1, chunk}, 0, data, 1).ok());
    ASSERT_TRUE(t.write({2, chunk}, 0, data, 1).ok());
  }
  ASSERT_TRUE(t.close().ok());
  std::unique_ptr<SimDrive> away = std::move(t.drives[1]);
  ASSERT_TRUE(t.open().ok());
  // The first of them has something to write anew, above the floor of the second.
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 2, .keep_bytes = 100'001}).ok());
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 3, .keep_bytes = 0}).ok());
  ASSERT_TRUE(t.fence({.inode = 2, .generation = 2, .keep_bytes = 4 * kMiB + 70'000}).ok());
  ASSERT_TRUE(t.fence({.inode = 2, .generation = 3, .keep_bytes = 4 * kMiB + 500'000}).ok());
  t.crash();
  t.drives[1] = std::move(away);
  for (const bool rebuild : {false, true}) {
    t.options.rebuild = rebuild;
    ASSERT_TRUE(t.open().ok());
    const std::string zeros(data.size(), '\0');
    for (uint32_t chunk = 0; chunk < 4; ++chunk) {
      EXPECT_TRUE(t.read({1, chunk}, 0, data.size(), 3) == zeros) << chunk;
      EXPECT_TRUE(t.read({2, chunk}, 0, data.size(), 3) ==
                  (chunk == 0   ? data
                   : chunk == 1 ? data.substr(0, 70'000) + zeros.substr(70'000)
                                : zeros))
          << chunk;
    }
    t.crash();
  }
}

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

TEST(Store, ADriveOfANewerFormatIsRefusedInWords) {
  TestStore t(20);
  ASSERT_TRUE(t.open().ok());
  ASSERT_TRUE(t.close().ok());
  Loop loop(t.world.clock(), Loop::Waits::never);
  SimDisk disk(loop, *t.drives[0]);
  {
    auto file = *disk.open("drive.id", OpenMode::existing, OpenKind::cached);
    std::vector<std::byte> bytes(8192);
    ASSERT_TRUE(file->read_at(0, bytes).has_value());
    for (const size_t at : {size_t{0}, size_t{4096}}) {
      store_le(&bytes[at + 8], uint16_t{3});
      store_le(&bytes[at + 60], crc32c(ConstBytes(bytes).subspan(at, 60)));
    }
    ASSERT_TRUE(file->write_at(0, bytes).ok());
  }
  const Status refused = t.open();
  EXPECT_TRUE(refused.is(StatusCode::unsupported));
  EXPECT_NE(refused.to_string().find("written by a newer version of GD2FS"), std::string::npos);
}

TEST(Store, ManyReadersOfOneMissingRangeShareOneDiskRead) {
  TestStore t(7);
  ASSERT_TRUE(t.open().ok());
  ASSERT_TRUE(t.write({1, 0}, 0, pattern(1 * kMiB, 3)).ok());
  t.store->evict(UINT64_MAX);
  const uint64_t before = t.store->stats().disk_read_bytes;
  int done = 0;
  std::vector<std::unique_ptr<StoreRead>> reads;
  for (int i = 0; i < 50; ++i) {
    reads.push_back(std::make_unique<StoreRead>());
    StoreRead& r = *reads.back();
    r.key = {1, 0};
    r.length_bytes = 1 * kMiB;
    r.done.bind(&done, [](void* count, Completion&) { ++*static_cast<int*>(count); });
    t.store->read(r);
  }
  ASSERT_TRUE(t.world.run_until([&] { return done == 50; }));
  EXPECT_EQ(t.store->stats().disk_read_bytes - before, 1 * kMiB + 4096);
  for (const auto& r : reads) {
    EXPECT_TRUE(r->done.status.ok());
    EXPECT_FALSE(r->hit);
  }
}

TEST(Store, AReaderKeepsItsSnapshotWhileTheChunkIsOverwrittenAndDropped) {
  TestStore t(8);
  ASSERT_TRUE(t.open().ok());
  const std::string data = pattern(200'000, 3);
  ASSERT_TRUE(t.write({1, 0}, 0, data).ok());
  StoreRead r;
  r.key = {1, 0};
  r.length_bytes = 200'000;
  ASSERT_TRUE(t.read(r).ok());
  ASSERT_TRUE(t.write({1, 0}, 0, pattern(200'000, 4)).ok());
  ASSERT_TRUE(t.fence({.inode = 1, .generation = 1, .keep_bytes = 0, .unlinked = true}).ok());
  EXPECT_EQ(TestStore::bytes_of(r), data);
}

TEST(Store, RefusesADirectoryOfAnotherDeploymentAndOneInUse) {
  TestStore t(9);
  ASSERT_TRUE(t.open().ok());
  TestStore other(10);
  {
    // A second server on the same drive, while the first one runs.
    Loop loop(t.world.clock(), Loop::Waits::never);
    SimWorld::Member member(t.world, loop);
    bool finished = false;
    Status status;
    std::vector<StoreDrive> parts;
    parts.push_back(
        {std::make_unique<SimDisk>(loop, *t.drives[0]), std::make_unique<InlineWorker>()});
    loop.spawn([](Loop* l, std::vector<StoreDrive> drives, StoreOptions options, Status* answer,
                  bool* done) -> Task<void> {
      auto opened =
          co_await Store::open(*l, std::move(drives), plain_arena_source(), options, Random(1));
      *answer = opened ? Status() : opened.error();
      *done = true;
    }(&loop, std::move(parts), t.options, &status, &finished));
    ASSERT_TRUE(t.world.run_until([&] { return finished; }));
    EXPECT_TRUE(status.is(StatusCode::busy)) << status.to_string();
  }
  ASSERT_TRUE(t.close().ok());
  t.options.deployment_id = 8;
  const Status refused = t.open();
  EXPECT_TRUE(refused.is(StatusCode::invalid)) << refused.to_string();
  t.stop();
  t.options.deployment_id = 7;
  EXPECT_TRUE(t.open().ok());
}

TEST(Store, AChunkNeverHasMoreThanSixtyFourExtents) {
  TestStore t(11);
  t.options.data_file_bytes = 64 * kMiB;
  t.options.slab_bytes = t.options.arena_bytes = 64 * kMiB;
  ASSERT_TRUE(t.open().ok());
  std::string expected(16 * kMiB, '\0');
  for (int i = 0; i < 200; ++i) {
    StoreWrite w;
    w.key = {1, 0};
    w.chunk_log2 = 24;
    w.offset_bytes = static_cast<uint32_t>((i * 37 % 256) * kBlockBytes);
    const std::string data = pattern(kBlockBytes, static_cast<uint64_t>(i));
    ASSERT_TRUE(t.write(w, as_bytes(data.data(), data.size())).ok());
    expected.replace(w.offset_bytes, data.size(), data);
    ASSERT_LE(t.store->stats().extents, 64u);
  }
  StoreRead r;
  r.key = {1, 0};
  r.chunk_log2 = 24;
  r.length_bytes = 16 * kMiB;
  ASSERT_TRUE(t.read(r).ok());
  EXPECT_TRUE(TestStore::bytes_of(r) == expected);
}

TEST(Store, QuietMomentsRewriteAFragmentedChunkAsOneExtentAndFreeItsSlots) {
  TestStore t(12);
  ASSERT_TRUE(t.open().ok());
  std::string expected(4 * kMiB, '\0');
  for (uint32_t i = 0; i < 20; ++i) {
    const std::string data = pattern(5000, i);
    ASSERT_TRUE(t.write({1, 0}, i * 200'000, data).ok());
    expected.replace(i * 200'000, data.size(), data);
  }
  EXPECT_GT(t.store->stats().extents, 16u);
  t.world.run_for_ns(5 * kSecond);
  EXPECT_EQ(t.store->stats().extents, 1u);
  EXPECT_EQ(t.store->stats().slots_taken, 1u);
  EXPECT_EQ(t.store->stats().slots_unwiped, 0u);
  t.store->evict(UINT64_MAX);
  EXPECT_TRUE(t.read({1, 0}, 0, 4 * kMiB) == expected);
}

}  // namespace
}  // namespace gd2fs
