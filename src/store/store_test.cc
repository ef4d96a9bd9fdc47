// What a store reads and writes: in which slices, by many at once and over restarts; how a chunk's
// extents stay few; which drives it refuses.
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
