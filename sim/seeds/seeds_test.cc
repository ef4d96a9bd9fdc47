// The simulation of whole deployments, by seeds: GD2FS_SIM_SEEDS=10000 runs that many,
// GD2FS_SIM_FIRST=5000 begins there, GD2FS_SIM_SEED=77 runs only that one, with the log on and
// the whole history of a failure.
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/log.h"
#include "sim/seeds/seed_run.h"

namespace gd2fs::sim {
namespace {

constexpr uint64_t kSeedsDefault = 100;

uint64_t number_from_env(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Seeds : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }

  // Calls `ended` with every run that was as it should be.
  template <class Ended>
  static void run_all(SeedWorld world, const Ended& ended) {
    const uint64_t only = number_from_env("GD2FS_SIM_SEED", 0);
    if (only != 0) set_log_level(LogLevel::info);
    const uint64_t first = only != 0 ? only : number_from_env("GD2FS_SIM_FIRST", 1);
    const uint64_t count = only != 0 ? 1 : number_from_env("GD2FS_SIM_SEEDS", kSeedsDefault);
    for (uint64_t seed = first; seed < first + count; ++seed) {
      SeedRun run(seed, {}, world);
      const std::string error = run.run();
      const std::string all =
          only == 0 ? "" : "\n" + run.history().last(SIZE_MAX, [](const Record&) { return true; });
      EXPECT_EQ(error, "") << "GD2FS_SIM_SEED=" << seed << " (" << run.profile() << ")" << all;
      if (error.empty()) ended(run);
    }
  }
  static uint64_t trace_of(uint64_t seed, SeedWorld world) {
    SeedRun run(seed, {}, world);
    EXPECT_EQ(run.run(), "") << "seed " << seed;
    return run.trace_hash();
  }
};

TEST_F(Seeds, nothing_acknowledged_is_lost_and_every_answer_makes_sense_under_any_seed) {
  run_all(SeedWorld::network, [](const SeedRun&) {});
}

TEST_F(Seeds, a_seed_does_the_same_every_time) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const uint64_t first = trace_of(seed, SeedWorld::network);
    EXPECT_EQ(first, trace_of(seed, SeedWorld::network)) << "seed " << seed;
  }
}

// The same by RDMA: clients' and server's NICs are those of tests/fake_verbs, carried out by the
// seed, held, cut from each other and broken by it.
class SeedsRdma : public Seeds {};

TEST_F(SeedsRdma, nothing_is_lost_and_no_byte_comes_late_under_any_seed) {
  uint64_t runs = 0;
  uint64_t runs_by_nic = 0;  // that is what it is about
  uint64_t runs_refused = 0;
  uint64_t runs_without_credit = 0;
  uint64_t runs_forged = 0;
  run_all(SeedWorld::nics, [&](const SeedRun& run) {
    const SimNicBytes moved = run.moved_by_nics();
    ++runs;
    runs_by_nic += moved.written > 0 && moved.read > 0;
    runs_refused += run.refused_buffers() > 0;
    runs_without_credit += run.rdma_counters().credit_waits > 0;
    runs_forged += run.refused_keys() > 0;
  });
  std::printf("%llu runs: %llu with refused memory, %llu without credit, %llu with forged keys\n",
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(runs_refused),
              static_cast<unsigned long long>(runs_without_credit),
              static_cast<unsigned long long>(runs_forged));
  EXPECT_GE(runs_by_nic, runs / 2);
  if (runs < kSeedsDefault) return;
  EXPECT_GT(runs_refused, 0u);
  EXPECT_GT(runs_without_credit, 0u);
  EXPECT_GT(runs_forged, 0u);
}

TEST_F(SeedsRdma, a_seed_does_the_same_every_time) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const uint64_t first = trace_of(seed, SeedWorld::nics);
    EXPECT_EQ(first, trace_of(seed, SeedWorld::nics)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace gd2fs::sim
