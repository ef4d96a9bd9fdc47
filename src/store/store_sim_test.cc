// The simulation of the store, by seeds: GD2FS_SIM_SEEDS=10000 runs that many, GD2FS_SIM_SEED=77
// only that one (with the log on).
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/log.h"
#include "store/sim_run.h"

namespace gd2fs {
namespace {

constexpr uint64_t kSeedsDefault = 300;

uint64_t number_from_env(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// The first seed that fails with the mutation and holds without it, 0 if there is none.
uint64_t first_noticing_seed(const SimMutation& mutation) {
  constexpr uint64_t kSeedsMax = 300;
  for (uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
    SimRun mutated(seed, mutation);
    if (mutated.run().empty()) continue;
    SimRun control(seed, {.memory = mutation.memory, .control = true});
    const std::string error = control.run();
    EXPECT_EQ(error, "") << "GD2FS_SIM_SEED=" << seed << " without the mutation";
    testing::Test::RecordProperty("seed", static_cast<int>(seed));
    return error.empty() ? seed : 0;
  }
  return 0;
}

class StoreSim : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }
};

TEST_F(StoreSim, NothingIsLostAndNoByteIsWrongUnderAnySeed) {
  const uint64_t only = number_from_env("GD2FS_SIM_SEED", 0);
  if (only != 0) set_log_level(LogLevel::info);
  const uint64_t first = only != 0 ? only : number_from_env("GD2FS_SIM_FIRST", 1);
  const uint64_t count = only != 0 ? 1 : number_from_env("GD2FS_SIM_SEEDS", kSeedsDefault);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SimRun run(seed);
    const std::string profile = run.profile();
    const std::string error = run.run();
    EXPECT_EQ(error, "") << "GD2FS_SIM_SEED=" << seed << " (" << profile << ")";
  }
}

// A run in which everything is refused would hold as well.
TEST_F(StoreSim, TheRunsGoWhereTheChecksAre) {
  SimCounts sum;
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    SimRun run(seed);
    const bool no_trouble = run.profile().starts_with("trouble none");
    EXPECT_EQ(run.run(), "") << "GD2FS_SIM_SEED=" << seed;
    const SimCounts& c = run.counts();
    if (no_trouble) {
      EXPECT_LE(c.busy, c.writes / 4) << "GD2FS_SIM_SEED=" << seed;
      EXPECT_GE(c.writes_ok + c.stale + c.busy + 24, c.writes) << "GD2FS_SIM_SEED=" << seed;
    }
    sum.writes += c.writes;
    sum.writes_ok += c.writes_ok;
    sum.replayed += c.replayed;
    sum.duplicates_stale += c.duplicates_stale;
    sum.reads += c.reads;
    sum.hits += c.hits;
    sum.misses += c.misses;
    sum.stale += c.stale;
    sum.corrupt += c.corrupt;
    sum.busy += c.busy;
    sum.fences += c.fences;
    sum.scrubs += c.scrubs;
    sum.deaths_in_open += c.deaths_in_open;
    sum.flushes += c.flushes;
    sum.lost_acks += c.lost_acks;
  }
  EXPECT_GT(sum.writes_ok, 2000u);
  EXPECT_GT(sum.replayed, 50u);
  EXPECT_GT(sum.duplicates_stale, 20u);
  EXPECT_GT(sum.hits, 500u);
  EXPECT_GT(sum.misses, 500u);
  EXPECT_GT(sum.stale, 50u);
  EXPECT_GT(sum.corrupt, 4u);
  EXPECT_GT(sum.fences, 100u);
  EXPECT_GT(sum.scrubs, 10u);
  EXPECT_GT(sum.deaths_in_open, 10u);
  EXPECT_GT(sum.flushes, 50u);
  EXPECT_GT(sum.lost_acks, 0u);
}

TEST_F(StoreSim, SomeSeedNoticesALostSyncOfDataFiles) {
  EXPECT_NE(first_noticing_seed({.ignore_syncs_of = "data/"}), 0u);
}
// What was flushed may not be lost with durability memory either.
TEST_F(StoreSim, SomeSeedNoticesALostSyncOfDataFilesBehindAFlush) {
  EXPECT_NE(first_noticing_seed({.ignore_syncs_of = "data/", .memory = true}), 0u);
}
TEST_F(StoreSim, SomeSeedNoticesALostSyncOfTheFenceLog) {
  EXPECT_NE(first_noticing_seed({.ignore_syncs_of = "drive.log"}), 0u);
}
// The index is made from what the data files and the log hold: a start notices whatever end of it
// is missing. Its syncs keep a rebuild rare, which whole deployments need, where damage comes on
// top (decision 017).
TEST_F(StoreSim, NothingIsLostAlthoughNoSyncOfTheIndexWorks) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimRun run(seed, {.ignore_syncs_of = "index.db"});
    EXPECT_EQ(run.run(), "") << "GD2FS_SIM_SEED=" << seed;
  }
}
TEST_F(StoreSim, SomeSeedNoticesThatNamesAreNotDurable) {
  EXPECT_NE(first_noticing_seed({.ignore_dir_syncs = true}), 0u);
}
TEST_F(StoreSim, SomeSeedNoticesAMissingFenceLog) {
  EXPECT_NE(first_noticing_seed({.no_fence_log = true}), 0u);
}
TEST_F(StoreSim, SomeSeedNoticesThatNobodyComparesChecksums) {
  EXPECT_NE(first_noticing_seed({.forged_checksums = true}), 0u);
}
TEST_F(StoreSim, SomeSeedNoticesAMissingGenerationCheck) {
  EXPECT_NE(first_noticing_seed({.blind_to_generations = true}), 0u);
}
TEST_F(StoreSim, SomeSeedNoticesAMissingDedupWindow) {
  EXPECT_NE(first_noticing_seed({.no_tags = true}), 0u);
}

}  // namespace
}  // namespace gd2fs
