// A database on a disk without room.
#include "meta/sqlite_vfs/database_fixture.h"

namespace gd2fs {
namespace {

// How many of a few rows are there, or none if even the table is not.
Result<size_t> rows_shown(Database& db) {
  GD2FS_ASSIGN(Statement table, db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'kv'"));
  GD2FS_ASSIGN(const bool there, table.step());
  if (!there) return size_t{0};
  GD2FS_ASSIGN(const Rows rows, read_rows(db));
  return rows.size() + 1;
}

// A process is killed in the middle of things; the next one finds the disk full, so that nothing
// can be brought from the log to the main file; what it shows must stay when the power fails.
void run_on_a_full_disk(uint64_t seed, uint64_t changes, bool lie, size_t* shown, size_t* kept) {
  SimDrive drive("d", seed);
  {
    Process first(drive);
    ASSERT_TRUE(first.disk.make_dir("dir").ok() && first.disk.sync_dir("").ok());
    drive.kill_after_changes(changes);
    auto db = Database::open(first.disk, "dir/m.db");
    for (int i = 0; db.has_value() && i < 4; ++i) {
      const std::string put = "INSERT INTO kv VALUES(" + std::to_string(i) + ", 'x')";
      if (!(*db)->exec(kSchema).ok() || !(*db)->exec(put).ok()) break;
    }
  }
  drive.kill();
  drive.set_capacity_bytes(drive.used_bytes());
  {
    Process second(drive);
    if (lie) drive.ignore_syncs([](const SimSync& sync) { return sync.name.ends_with("-wal"); });
    auto db = Database::open(second.disk, "dir/m.db", {.create = false});
    if (!db.has_value()) return;  // nothing is shown
    const auto rows = rows_shown(**db);
    if (!rows.has_value()) return;
    *shown = *kept = *rows;
    drive.crash();
  }
  drive.ignore_syncs("", 0, 0);
  drive.set_capacity_bytes(1024 * kGiB);
  Process third(drive);
  *kept = SIZE_MAX;  // damaged
  auto db = Database::open(third.disk, "dir/m.db");
  if (!db.has_value()) return;
  if (const auto rows = rows_shown(**db); rows.has_value()) *kept = *rows;
}

TEST(DatabaseCrash, what_is_shown_from_the_log_on_a_full_disk_stays) {
  size_t runs_that_show = 0;
  bool noticed_a_lie = false;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (uint64_t changes = 1; changes <= 40; ++changes) {
      size_t shown = 0;
      size_t kept = 0;
      run_on_a_full_disk(seed, changes, false, &shown, &kept);
      ASSERT_EQ(shown, kept) << "seed " << seed << ", killed at change " << changes;
      runs_that_show += shown > 0;
      run_on_a_full_disk(seed, changes, true, &shown, &kept);
      noticed_a_lie = noticed_a_lie || shown != kept;
    }
  }
  EXPECT_GT(runs_that_show, 50u);
  EXPECT_TRUE(noticed_a_lie);
}

}  // namespace
}  // namespace gd2fs
