// The small pure parts: extents, chunk index, slots, fences, dedup window, placement.
#include <gtest/gtest.h>

#include "store/chunk_index.h"
#include "store/dedup.h"
#include "store/extents.h"
#include "store/fences.h"
#include "store/format.h"
#include "store/placement.h"
#include "store/slot_map.h"
#include "store/versions.h"

namespace gd2fs {
namespace {

Extent extent(uint64_t version, uint16_t first_block, uint16_t blocks, uint16_t slot = 0) {
  return {.version = version, .at = {0, 0, slot}, .first_block = first_block, .blocks = blocks};
}

TEST(Extents, EachBlockShowsTheHighestVersionThatCoversIt) {
  const std::vector<Extent> extents = {extent(5, 0, 8), extent(9, 2, 2), extent(7, 1, 4)};
  const std::vector<VisibleRun> expected = {{0, 1, 0}, {1, 1, 2}, {2, 2, 1},
                                            {4, 1, 2}, {5, 3, 0}, {8, 2, VisibleRun::kHole}};
  EXPECT_EQ(visible_runs(extents, 0, 10), expected);
  EXPECT_EQ(visible_runs(extents, 3, 2), (std::vector<VisibleRun>{{3, 1, 1}, {4, 1, 2}}));
  EXPECT_TRUE(shadowed_extents(extents).empty());
}

TEST(Extents, AnExtentIsShadowedOnceSeveralOthersCoverIt) {
  EXPECT_EQ(
      shadowed_extents(std::vector<Extent>{extent(1, 0, 4), extent(2, 0, 2), extent(3, 2, 2)}),
      std::vector<int>{0});
}

TEST(ChunkIndex, AgreesWithAMapUnderRandomChanges) {
  ChunkIndex index;
  std::map<ChunkKey, std::vector<Extent>> expected;
  Random random(1);
  uint64_t extents = 0;
  for (int i = 0; i < 200'000; ++i) {
    const ChunkKey key{random.below(200), static_cast<uint32_t>(random.below(20))};
    std::vector<Extent>& known = expected[key];
    extents -= known.size();
    known.clear();
    for (uint64_t n = random.below(4); n > 0; --n) {
      known.push_back({.version = random.next(),
                       .at = {static_cast<uint16_t>(random.below(64)),
                              static_cast<uint16_t>(random.below(65536)),
                              static_cast<uint16_t>(random.below(65536))},
                       .first_block = static_cast<uint16_t>(random.below(1024)),
                       .blocks = static_cast<uint16_t>(1 + random.below(1024))});
    }
    extents += known.size();
    index.set(key, 26, known);
    if (known.empty()) expected.erase(key);
  }
  EXPECT_EQ(index.chunks(), expected.size());
  EXPECT_EQ(index.extents(), extents);
  for (const auto& [key, known] : expected) {
    ChunkIndex::View view;
    ASSERT_TRUE(index.find(key, &view));
    EXPECT_EQ(view.chunk_log2, 26);
    ASSERT_EQ(std::vector<Extent>(view.extents.begin(), view.extents.end()), known);
  }
  for (uint64_t inode = 0; inode < 200; ++inode) {
    std::vector<ChunkKey> keys;
    index.chunks_of(inode, &keys);
    EXPECT_EQ(keys.size(), static_cast<size_t>(std::count_if(
                               expected.begin(), expected.end(),
                               [&](const auto& entry) { return entry.first.inode == inode; })));
  }
}

TEST(ChunkIndex, CostsAtMostFortyBytesForEachChunkOfOneExtent) {
  ChunkIndex index;
  const ChunkIndex empty;
  constexpr uint64_t kChunks = 2'000'000;
  for (uint64_t i = 0; i < kChunks; ++i) {
    const Extent one = extent(i + 1, 0, 64);
    index.set({i / 3, static_cast<uint32_t>(i % 3)}, 22, std::span(&one, 1));
  }
  EXPECT_LE((index.memory_bytes() - empty.memory_bytes()) / kChunks, 40u);
}

TEST(SlotMap, TakesFromTheLowestFileAndFallsBackToBiggerSlots) {
  SlotMap slots;
  ASSERT_TRUE(slots.add_file(0, 0, 2));
  ASSERT_TRUE(slots.add_file(0, 1, 2));
  ASSERT_TRUE(slots.add_file(3, 0, 1));
  std::vector<Slot> taken;
  for (int i = 0; i < 5; ++i) taken.push_back(*slots.take(0));
  EXPECT_EQ(taken[3], (Slot{1, 1}));
  EXPECT_EQ(taken[4], (Slot{2, 0}));
  EXPECT_FALSE(slots.take(0));
  slots.free({0, 1});
  EXPECT_EQ(*slots.take(0), (Slot{0, 1}));
  EXPECT_EQ(slots.taken_slots(), 5u);
}

TEST(SlotMap, DropsAreSettledOnlyWhenTheOldestDescriptorIsGone) {
  SlotMap slots;
  ASSERT_TRUE(slots.add_file(0, 0, 4));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(slots.take(0));
  slots.dropped({0, 0});
  slots.dropped({0, 1});
  EXPECT_EQ(slots.settled_drops(), 0u);
  EXPECT_TRUE(slots.take_unsettled(8).empty());  // still taken: their rows are not gone yet
  slots.free({0, 0});
  slots.free({0, 1});
  EXPECT_EQ(*slots.take(0), (Slot{0, 0}));  // about to be overwritten
  EXPECT_EQ(slots.take_unsettled(8), (std::vector<Slot>{{0, 1}}));
  slots.settled({0, 1});
  EXPECT_EQ(slots.settled_drops(), 0u);
  // The write into slot 0 failed: its old descriptor counts as before.
  slots.dropped({0, 0});
  EXPECT_EQ(slots.drops(), 3u);
  EXPECT_EQ(slots.settled_drops(), 0u);
  slots.settled({0, 0});
  EXPECT_EQ(slots.settled_drops(), 3u);
}

TEST(SlotMap, AnEmptyFileIsSparedWhileItsClassNeedsIt) {
  SlotMap slots;
  ASSERT_TRUE(slots.add_file(0, 0, 4));
  ASSERT_TRUE(slots.add_file(0, 1, 4));
  EXPECT_EQ(slots.empty_file(false), std::optional<uint16_t>(1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(slots.take(0));
  EXPECT_FALSE(slots.empty_file(false));
  EXPECT_EQ(slots.empty_file(true), std::optional<uint16_t>(1));
  slots.retire_file(1);
  EXPECT_EQ(slots.free_slots(0), 1u);
  slots.remove_file(1);
  EXPECT_EQ(slots.next_number(0), 2u);
}

TEST(Fences, CutsApplyToOlderVersionsAndGenerationsOutliveThem) {
  FenceTable fences;
  const FenceRecord cut{.inode = 1, .generation = 2, .keep_bytes = 100, .floor_version = 10};
  const FenceRecord rename{.inode = 1, .generation = 3, .floor_version = 20};
  fences.add(cut, 0);
  fences.add(cut, 0);  // the same from another drive
  fences.add(rename, 0);
  EXPECT_EQ(fences.generation_of(1), 3u);
  EXPECT_EQ(fences.recorded_generation(1), 3u);
  EXPECT_EQ(fences.keep_bytes_for(1, 9), 100u);
  EXPECT_EQ(fences.keep_bytes_for(1, 10), UINT64_MAX);
  EXPECT_NE(fences.unfinished(1, 2), nullptr);
  fences.carried_out(cut, {7});
  EXPECT_EQ(fences.unfinished(1, 2), nullptr);
  EXPECT_TRUE(fences.forget(1, {6}).empty());
  EXPECT_EQ(fences.forget(1, {7}), std::vector<FenceRecord>{cut});
  EXPECT_EQ(fences.keep_bytes_for(1, 9), UINT64_MAX);
  EXPECT_EQ(fences.generation_of(1), 3u);
  EXPECT_EQ(fences.forget(FenceTable::kRetentionNs, {7}), std::vector<FenceRecord>{rename});
  EXPECT_EQ(fences.generation_of(1), 0u);
}

TEST(Fences, ALaterAndLowerCutReplacesAnEarlierOne) {
  FenceTable fences;
  fences.add({.inode = 1, .generation = 2, .keep_bytes = 100, .floor_version = 10}, 0);
  fences.add({.inode = 1, .generation = 3, .keep_bytes = 50, .floor_version = 20}, 0);
  fences.add({.inode = 1, .generation = 4, .keep_bytes = 80, .floor_version = 30}, 0);
  EXPECT_EQ(fences.cuts(1).size(), 2u);
  EXPECT_EQ(fences.keep_bytes_for(1, 15), 50u);
  EXPECT_EQ(fences.keep_bytes_for(1, 25), 80u);
}

TEST(Dedup, RemembersFromTheClientsLowOnAndAnswersStaleBelow) {
  DedupWindow window;
  std::vector<DedupWindow::Forgotten> forgotten;
  uint64_t version = 0;
  const auto record = [&](uint64_t sequence, uint64_t low) {
    window.record({.tag = {.incarnation = 7, .sequence = sequence, .low = low},
                   .key = {1, 0},
                   .version = 100 + sequence},
                  0, 0, &forgotten);
  };
  record(1, 1);
  record(2, 1);
  EXPECT_EQ(window.check({7, 1, 1}, {1, 0}, &version), DedupWindow::Verdict::replayed);
  EXPECT_EQ(version, 101u);
  // Another piece of the same request, for another chunk.
  EXPECT_EQ(window.check({7, 1, 1}, {1, 1}, &version), DedupWindow::Verdict::fresh);
  record(3, 3);
  EXPECT_EQ(forgotten.size(), 2u);
  EXPECT_EQ(window.check({7, 1, 1}, {1, 0}, &version), DedupWindow::Verdict::stale);
  EXPECT_EQ(window.check({7, 3, 3}, {1, 0}, &version), DedupWindow::Verdict::replayed);
  EXPECT_FALSE(window.find_version(101));
  ASSERT_TRUE(window.find_version(103));
  EXPECT_EQ(window.find_version(103)->tag.low, 3u);
}

TEST(Dedup, OverTheLimitTheOldestBecomeStaleAndNeverFreshAgain) {
  DedupWindow window;
  std::vector<DedupWindow::Forgotten> forgotten;
  uint64_t version = 0;
  for (uint64_t i = 1; i <= DedupWindow::kEntriesPerClientMax + 5; ++i) {
    window.record({.tag = {7, i, 1}, .key = {1, 0}, .version = i}, 0, 0, &forgotten);
  }
  EXPECT_EQ(forgotten.size(), 5u);
  EXPECT_EQ(window.check({7, 5, 1}, {1, 0}, &version), DedupWindow::Verdict::stale);
  EXPECT_EQ(window.check({7, 6, 1}, {1, 0}, &version), DedupWindow::Verdict::replayed);
}

TEST(Dedup, IdleClientsExpireOnlyBeyondTheWantedNumber) {
  DedupWindow window;
  std::vector<DedupWindow::Forgotten> forgotten;
  for (uint64_t client = 1; client <= DedupWindow::kClientsWanted + 3; ++client) {
    window.record({.tag = {client, 1, 1}, .key = {1, 0}, .version = client}, 0, 0, &forgotten);
  }
  EXPECT_TRUE(window.expire(DedupWindow::kIdleNs - 1, &forgotten).empty());
  EXPECT_EQ(window.expire(DedupWindow::kIdleNs, &forgotten).size(), 3u);
  EXPECT_EQ(forgotten.size(), 3u);
}

TEST(Versions, SettledStaysBelowTheOldestUpdateUnderWay) {
  Versions versions;
  versions.begin_epoch(3);
  const uint64_t a = versions.start();
  const uint64_t b = versions.start();
  EXPECT_EQ(a, make_version(3, 1));
  versions.end(b);
  EXPECT_EQ(versions.settled(), a - 1);
  versions.end(a);
  EXPECT_EQ(versions.settled(), b);
  EXPECT_GT(versions.take_floor(), b);
}

Placement::Member member(uint8_t name, bool present, uint16_t drive = 0) {
  Placement::Member m;
  m.uuid.bytes[0] = std::byte{name};
  m.present = present;
  m.drive = drive;
  return m;
}

TEST(Placement, HomesNeverChangeForOneSetOfDrives) {
  Placement placement;
  placement.set_members({member(3, true, 1), member(1, true, 0), member(2, true, 2)});
  std::string homes;
  for (uint32_t chunk = 0; chunk < 12; ++chunk) {
    homes += std::to_string(placement.home({42, chunk}));
  }
  EXPECT_EQ(homes, "210210210210");
}

TEST(Placement, OnlyChunksThatMayBeOnAMissingDriveAreUnknown) {
  Placement placement;
  placement.set_members({member(1, true, 0), member(2, false)});
  ChunkKey here{1, 0};
  ChunkKey away{1, 0};
  while (placement.home(here) == Placement::kMissing) ++here.chunk;
  while (placement.home(away) != Placement::kMissing) ++away.chunk;
  EXPECT_FALSE(placement.may_be_missing(here));
  EXPECT_TRUE(placement.may_be_missing(away));
  EXPECT_FALSE(placement.hole_is_unknown(here, Placement::kMissing, UINT64_MAX));
  EXPECT_TRUE(placement.hole_is_unknown(away, Placement::kMissing, UINT64_MAX));
  EXPECT_FALSE(placement.hole_is_unknown(away, 0, 1));  // it is here after all: all of it
  placement.add_overflow(member(1, true).uuid.tag(), member(2, true).uuid.tag());
  EXPECT_TRUE(placement.may_be_missing(here));
}

TEST(Placement, AForgottenDriveHadNothingOfWhatWasMadeLaterOrWasElsewhere) {
  Placement placement;
  placement.set_members({member(1, true, 0), member(2, false)});
  EXPECT_FALSE(placement.forget(member(1, true).uuid, 50, {100}));  // it is here
  EXPECT_FALSE(placement.forget(member(3, false).uuid, 50, {100}));
  ASSERT_TRUE(placement.forget(member(2, false).uuid, 50, {100}));
  ChunkKey key{99, 0};
  while (placement.home(key) != Placement::kMissing) ++key.chunk;
  EXPECT_FALSE(placement.may_be_missing(key));
  EXPECT_TRUE(placement.hole_is_unknown(key, Placement::kMissing, UINT64_MAX));
  EXPECT_TRUE(placement.hole_is_unknown(key, 0, 50));   // written since
  EXPECT_FALSE(placement.hole_is_unknown(key, 0, 49));  // here before
  for (const uint64_t later : {uint64_t{100}, uint64_t{99} | uint64_t{1} << 48}) {
    ChunkKey other{later, 0};
    while (placement.home(other) != Placement::kMissing) ++other.chunk;
    EXPECT_FALSE(placement.hole_is_unknown(other, Placement::kMissing, UINT64_MAX));
  }
}

// What was seen replaces what was feared, but not for a drive that nobody can look at any more.
TEST(Placement, SeenOverflowsEndDoubts) {
  Placement placement;
  placement.set_members({member(1, true, 0), member(2, true, 1), member(3, false)});
  placement.forget(member(3, false).uuid, 50, {100});
  placement.set_scattered();
  placement.set_overflows({});
  std::vector<LogRecord> records;
  placement.records(&records);
  std::string kinds;
  for (const LogRecord& record : records)
    kinds += std::to_string(static_cast<int>(record.kind)) + " ";
  EXPECT_EQ(kinds, "9 9 9 13 13 11 11 11 ");
  for (uint32_t chunk = 0; chunk < 3; ++chunk) {
    EXPECT_TRUE(placement.hole_is_unknown({1, chunk}, Placement::kMissing, UINT64_MAX));
  }
}

}  // namespace
}  // namespace gd2fs
