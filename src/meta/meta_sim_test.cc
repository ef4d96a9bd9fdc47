// The metadata through crashes, by seeds, and mutations that the simulation must notice.
//
// GD2FS_SIM_SEEDS sets how many seeds run, GD2FS_SIM_FIRST where they begin.
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include "base/log.h"
#include "meta/simulation.h"

namespace gd2fs::meta_sim {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class MetaSimulation : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }
};

TEST_F(MetaSimulation, every_acknowledged_change_survives_and_no_other_is_seen_in_part) {
  const uint64_t first = from_environment("GD2FS_SIM_FIRST", 1);
  const uint64_t seeds = from_environment("GD2FS_SIM_SEEDS", 300);
  History sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    Simulation simulation(seed, Mutation::none);
    const std::string trouble = simulation.run();
    ASSERT_EQ(trouble, "") << "seed " << seed;
    sum.answered += simulation.history().answered;
    sum.succeeded += simulation.history().succeeded;
    sum.retried += simulation.history().retried;
    sum.applied += simulation.history().applied;
  }
  std::printf(
      "%llu seeds: %llu operations answered, %llu of them ok; %llu lost their answer, of which"
      " %llu had happened\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(sum.answered),
      static_cast<unsigned long long>(sum.succeeded), static_cast<unsigned long long>(sum.retried),
      static_cast<unsigned long long>(sum.applied));
  EXPECT_GT(sum.answered, seeds * 20);
  EXPECT_GT(sum.applied, seeds / 20);
}

// Each of these breaks one rule; the simulation must notice within these seeds.
void expect_noticed(Mutation mutation) {
  constexpr uint64_t kSeeds = 200;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string trouble = Simulation(seed, mutation).run();
    if (!trouble.empty()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), trouble.c_str());
      return;
    }
  }
  FAIL() << "nothing was noticed in " << kSeeds << " seeds";
}

TEST_F(MetaSimulation, a_drive_that_ignores_syncs_of_the_log_is_noticed) {
  expect_noticed(Mutation::log_syncs_ignored);
}

TEST_F(MetaSimulation, looking_for_no_tag_record_is_noticed) {
  expect_noticed(Mutation::tags_forgotten);
}

TEST_F(MetaSimulation, not_checking_what_was_read_is_noticed) {
  expect_noticed(Mutation::reads_unchecked);
}

}  // namespace
}  // namespace gd2fs::meta_sim
