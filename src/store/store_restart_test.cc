// Retries, fences, cuts and starts that were cut short: each happens once and for good, through
// crashes, rebuilds and drives that were away.
#include <algorithm>

#include "store/test_store.h"

namespace gd2fs {
namespace {

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

}  // namespace
}  // namespace gd2fs
