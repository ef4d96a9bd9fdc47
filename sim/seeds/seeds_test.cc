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
};

TEST_F(Seeds, nothing_acknowledged_is_lost_and_every_answer_makes_sense_under_any_seed) {
  const uint64_t only = number_from_env("GD2FS_SIM_SEED", 0);
  if (only != 0) set_log_level(LogLevel::info);
  const uint64_t first = only != 0 ? only : number_from_env("GD2FS_SIM_FIRST", 1);
  const uint64_t count = only != 0 ? 1 : number_from_env("GD2FS_SIM_SEEDS", kSeedsDefault);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SeedRun run(seed);
    const std::string error = run.run();
    const std::string all =
        only == 0 ? "" : "\n" + run.history().last(SIZE_MAX, [](const Record&) { return true; });
    EXPECT_EQ(error, "") << "GD2FS_SIM_SEED=" << seed << " (" << run.profile() << ")" << all;
  }
}

TEST_F(Seeds, a_seed_does_the_same_every_time) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SeedRun one(seed);
    EXPECT_EQ(one.run(), "");
    SeedRun other(seed);
    EXPECT_EQ(other.run(), "");
    EXPECT_EQ(one.trace_hash(), other.trace_hash()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace gd2fs::sim
