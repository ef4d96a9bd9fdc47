// Each rule that is taken out makes some seed fail, which holds with it: else the simulation would
// not notice its loss. (A sync of the index is not here: whatever the index loses is found again in
// the data files, see decision 014; the store's own simulation watches it.)
#include "sim/seeds/mutations.h"

#include <gtest/gtest.h>

#include "base/log.h"

namespace gd2fs::sim {
namespace {

constexpr uint64_t kSeedsMax = 400;

class Mutations : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }

  static void expect_noticed(const SeedMutation& mutation) {
    for (uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
      const std::string error = SeedRun(seed, mutation).run();
      if (error.empty()) continue;
      SeedRun control(seed, {.profile = mutation.profile});
      ASSERT_EQ(control.run(), "") << "seed " << seed << " without the mutation";
      RecordProperty("seed", std::to_string(seed));
      RecordProperty("finding", error.substr(0, error.find('\n')));
      return;
    }
    FAIL() << "no seed up to " << kSeedsMax << " notices";
  }
};

TEST_F(Mutations, some_seed_notices_that_data_files_are_not_synced) {
  expect_noticed(ignore_server_syncs("data/"));
}
TEST_F(Mutations, some_seed_notices_that_the_log_of_fences_is_not_synced) {
  expect_noticed(ignore_server_syncs("drive.log"));
}
TEST_F(Mutations, some_seed_notices_that_the_servers_names_are_not_durable) {
  expect_noticed(ignore_server_dir_syncs());
}
TEST_F(Mutations, some_seed_notices_that_the_metadatas_log_is_not_synced) {
  expect_noticed(ignore_controller_syncs("meta.db-wal"));
}
TEST_F(Mutations, some_seed_notices_that_the_metadata_is_not_synced) {
  expect_noticed(ignore_controller_syncs("meta.db"));
}
TEST_F(Mutations, some_seed_notices_that_the_controllers_names_are_not_durable) {
  expect_noticed(ignore_controller_dir_syncs());
}
TEST_F(Mutations, some_seed_notices_that_fences_are_dropped) {
  expect_noticed(drop_fences());
}
TEST_F(Mutations, some_seed_notices_a_missing_generation_check) {
  expect_noticed(blind_to_generations());
}
TEST_F(Mutations, some_seed_notices_that_directory_renames_are_not_fenced) {
  expect_noticed(drop_namespace_fences());
}
TEST_F(Mutations, some_seed_notices_a_missing_dedup_window_of_writes) {
  expect_noticed(retag_writes());
}
TEST_F(Mutations, some_seed_notices_a_missing_dedup_window_of_names) {
  expect_noticed(retag_names());
}
TEST_F(Mutations, some_seed_notices_a_lease_that_never_ends) {
  expect_noticed(stretch_leases());
}
TEST_F(Mutations, some_seed_notices_late_bytes) {
  expect_noticed(write_late_bytes());
}
TEST_F(Mutations, some_seed_notices_that_clients_do_not_take_their_memory_back_from_nics) {
  expect_noticed(skip_recalls());
}
TEST_F(Mutations, some_seed_notices_that_nics_do_not_look_at_keys) {
  expect_noticed(open_all_memory());
}

}  // namespace
}  // namespace gd2fs::sim
