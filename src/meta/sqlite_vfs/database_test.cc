#include "meta/sqlite_vfs/database.h"

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "meta/sqlite_vfs/database_fixture.h"

namespace gd2fs {
namespace {

struct DatabaseTest : ::testing::Test {
  SimDrive drive{"d", 1};
  std::unique_ptr<Process> process = std::make_unique<Process>(drive);
  std::unique_ptr<Database> db;

  void SetUp() override { open(); }
  void open() {
    auto opened = Database::open(process->disk, "index.db");
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    db = std::move(*opened);
  }
  void reopen() {
    db.reset();
    open();
  }
  Status exec(std::string_view sql) { return db->exec(sql); }
  int64_t ask(std::string_view sql) {
    auto statement = db->prepare(sql);
    EXPECT_TRUE(statement.has_value()) << statement.error().to_string();
    auto row = statement->step();
    EXPECT_TRUE(row.has_value() && *row);
    return statement->column_int(0);
  }
};

TEST_F(DatabaseTest, values_of_every_type_come_back_as_they_were_bound) {
  ASSERT_TRUE(exec("CREATE TABLE t(i, u, s, b, e, n); -- a comment\n ;").ok());
  auto put = *db->prepare("INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
  const std::byte bytes[] = {std::byte{0}, std::byte{255}, std::byte{7}};
  put.bind_int(1, INT64_MIN);
  put.bind_u64(2, UINT64_MAX);
  put.bind_text(3, std::string_view("a\0b", 3));
  put.bind_bytes(4, bytes);
  put.bind_bytes(5, {});
  put.bind_null(6);
  ASSERT_TRUE(put.run().ok());
  EXPECT_EQ(db->changed_rows(), 1u);
  EXPECT_EQ(db->last_rowid(), 1u);
  auto get = *db->prepare("SELECT * FROM t");
  ASSERT_TRUE(*get.step());
  EXPECT_EQ(get.column_int(0), INT64_MIN);
  EXPECT_EQ(get.column_u64(1), UINT64_MAX);
  EXPECT_EQ(get.column_text(2), std::string_view("a\0b", 3));
  ASSERT_EQ(get.column_bytes(3).size(), 3u);
  EXPECT_EQ(get.column_bytes(3)[1], std::byte{255});
  EXPECT_FALSE(get.column_is_null(4));
  EXPECT_EQ(get.column_bytes(4).size(), 0u);
  EXPECT_TRUE(get.column_is_null(5));
  EXPECT_FALSE(*get.step());
}

TEST_F(DatabaseTest, failures_are_named_by_what_the_caller_can_do) {
  ASSERT_TRUE(exec(kSchema).ok());
  ASSERT_TRUE(exec("INSERT INTO kv VALUES(1, 'x')").ok());
  EXPECT_TRUE(exec("INSERT INTO kv VALUES(1, 'y')").is(StatusCode::exists));
  EXPECT_TRUE(exec("SELECT FROM").is(StatusCode::invalid));
  EXPECT_TRUE(db->prepare("SELECT * FROM nowhere").error().is(StatusCode::invalid));
  EXPECT_TRUE(db->prepare(" ").error().is(StatusCode::invalid));
  EXPECT_TRUE(Database::open(process->disk, "absent.db", {.create = false})
                  .error()
                  .is(StatusCode::not_found));
  EXPECT_TRUE(Database::open(process->disk, "../x.db").error().is(StatusCode::invalid));
  // The same file by another connection.
  EXPECT_TRUE(Database::open(process->disk, "index.db").error().is(StatusCode::busy));
}

TEST_F(DatabaseTest, a_full_disk_answers_no_space_and_the_database_goes_on_when_there_is_room) {
  ASSERT_TRUE(exec(kSchema).ok());
  ASSERT_TRUE(exec("INSERT INTO kv VALUES(1, 'kept')").ok());
  drive.set_capacity_bytes(drive.used_bytes() + 64 * kKiB);
  ASSERT_TRUE(exec("BEGIN").ok());
  const Status status = exec("INSERT INTO kv VALUES(2, zeroblob(30000000))");
  EXPECT_TRUE(status.is(StatusCode::no_space)) << status.to_string();
  if (db->in_transaction()) {
    ASSERT_TRUE(exec("ROLLBACK").ok());
  }
  drive.set_capacity_bytes(1 * kGiB);
  EXPECT_TRUE(exec("INSERT INTO kv VALUES(3, 'later')").ok());
  EXPECT_EQ(ask("SELECT count(*) FROM kv"), 2);
  EXPECT_TRUE(db->check(false).ok());
}

TEST_F(DatabaseTest, a_full_disk_opens_and_reads_what_is_in_the_log_and_keeps_it) {
  ASSERT_TRUE(exec(kSchema).ok());
  ASSERT_TRUE(exec("INSERT INTO kv VALUES(1, zeroblob(50000))").ok());
  drive.kill();  // the log is not moved to the main file
  db.reset();
  process = std::make_unique<Process>(drive);
  drive.set_capacity_bytes(drive.used_bytes());
  open();
  EXPECT_EQ(ask("SELECT length(v) FROM kv WHERE k = 1"), 50000);
  // More than the room that the log has made for itself.
  EXPECT_TRUE(exec("INSERT INTO kv VALUES(2, zeroblob(2000000))").is(StatusCode::no_space));
  drive.crash();
  db.reset();
  process = std::make_unique<Process>(drive);
  drive.set_capacity_bytes(uint64_t{1} << 40);
  open();
  EXPECT_EQ(ask("SELECT count(*) FROM kv"), 1);
  EXPECT_TRUE(exec("INSERT INTO kv VALUES(2, zeroblob(50000))").ok());
}

TEST_F(DatabaseTest, an_io_error_of_the_disk_comes_out_as_io_with_the_disks_own_words) {
  ASSERT_TRUE(exec(kSchema).ok());
  drive.set_faults({.name_prefix = "index.db", .write_error_ppm = 1'000'000});
  const Status status = exec("INSERT INTO kv VALUES(1, 'x')");
  EXPECT_TRUE(status.is(StatusCode::io)) << status.to_string();
  EXPECT_NE(status.text().find("simulated write error"), std::string_view::npos);
  drive.set_faults({});
  reopen();
  EXPECT_TRUE(db->check(false).ok());
}

TEST_F(DatabaseTest, a_flipped_byte_in_a_page_is_found_by_check_or_by_reading) {
  ASSERT_TRUE(exec(kSchema).ok());
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(exec("INSERT INTO kv VALUES(NULL, randomblob(500))").ok());
  }
  ASSERT_TRUE(db->checkpoint().ok());
  EXPECT_TRUE(db->check().ok());
  db.reset();
  ASSERT_TRUE(drive.flip("index.db", 5 * 4096, std::byte{0xff}).ok());  // a page's type
  open();
  EXPECT_TRUE(db->check().is(StatusCode::corrupt));
}

TEST_F(DatabaseTest, a_file_that_is_no_database_is_corrupt) {
  auto file = *process->disk.open("junk.db", OpenMode::create, OpenKind::cached);
  const std::vector<std::byte> junk(8192, std::byte{0x5a});
  ASSERT_TRUE(file->write_at(0, junk).ok());
  file.reset();
  EXPECT_TRUE(Database::open(process->disk, "junk.db").error().is(StatusCode::corrupt));
}

TEST_F(DatabaseTest, the_log_grows_by_steps_which_commits_then_fill_and_not_beyond_its_limit) {
  db.reset();
  db = *Database::open(process->disk, "index.db", {.checkpoint_pages = 400});
  const auto log_bytes = [&] {
    auto log = *process->disk.open("index.db-wal", OpenMode::read_only, OpenKind::cached);
    return *log->size_bytes();
  };
  ASSERT_TRUE(exec(kSchema).ok());
  const uint64_t first = log_bytes();
  EXPECT_GE(first, 1 * kMiB);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(exec("INSERT INTO kv VALUES(NULL, 'x')").ok());
  EXPECT_EQ(log_bytes(), first);
  ASSERT_TRUE(exec("INSERT INTO kv VALUES(NULL, zeroblob(1000000))").ok());
  EXPECT_EQ(log_bytes(), 400u * Database::kPageBytes);
  // What a crash leaves is taken up to where the zeros begin.
  drive.crash();
  db.reset();
  process = std::make_unique<Process>(drive);
  open();
  EXPECT_EQ(ask("SELECT count(*) FROM kv"), 51);
  EXPECT_TRUE(db->check(false).ok());
}

TEST_F(DatabaseTest, a_commit_costs_one_sync) {
  ASSERT_TRUE(exec(kSchema).ok());
  ASSERT_TRUE(exec("INSERT INTO kv VALUES(1, 'x')").ok());
  const uint64_t before = drive.counters().syncs;
  ASSERT_TRUE(
      exec("BEGIN; INSERT INTO kv VALUES(2, 'x'); INSERT INTO kv VALUES(3, 'x'); COMMIT").ok());
  EXPECT_EQ(drive.counters().syncs, before + 1);
}

TEST(DatabaseOnRealDisk, it_keeps_what_was_committed_and_locks_its_file) {
  std::string path = std::filesystem::temp_directory_path() / "gd2fs-sqlite-test-XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  {
    RealClock clock;
    Loop loop(clock, Loop::Waits::epoll);
    auto disk = *open_disk(loop, path, DiskEngine::automatic);
    auto first = *Database::open(*disk, "m.db");
    ASSERT_TRUE(first->exec(kSchema).ok());
    ASSERT_TRUE(first->exec("INSERT INTO kv VALUES(5, 'five')").ok());
    EXPECT_TRUE(Database::open(*disk, "m.db").error().is(StatusCode::busy));
    first.reset();
    auto second = *Database::open(*disk, "m.db", {.create = false});
    EXPECT_EQ(*read_rows(*second), (Rows{{5, "five"}}));
    EXPECT_TRUE(second->check(false).ok());
  }
  std::filesystem::remove_all(path);
}

// One seed of the life of a database: transactions, with the power failing or the process dying at
// a drawn change, and now and then an error of the disk. The answer is what went wrong.
struct History {
  Random random;
  SimDrive drive;
  std::unique_ptr<Process> process;
  std::unique_ptr<Database> db;
  Rows rows;                     // as of the last commit that answered ok
  std::optional<Rows> in_doubt;  // the commit that answered an error
  int committed = 0;
  int crashes = 0;

  explicit History(uint64_t seed) : random(seed), drive("d", random.next()) {}

  std::optional<std::string> open() {
    for (;;) {
      process = std::make_unique<Process>(drive);
      arm();
      auto opened = Database::open(process->disk, "dir/m.db", {.checkpoint_pages = 16});
      if (opened) {
        db = std::move(*opened);
        return std::nullopt;
      }
      if (!opened.error().is(StatusCode::unavailable)) return "open: " + opened.error().to_string();
      ++crashes;
      process.reset();
    }
  }
  void arm() {
    if (random.chance(1, 4)) {
      drive.kill_after_changes(random.between(1, 60));
    } else {
      drive.crash_after_changes(random.between(1, 60));
    }
  }
  std::optional<std::string> check() {
    if (Status status = db->exec(kSchema); !status.ok()) return on_error("schema", status);
    auto got = read_rows(*db);
    if (!got) return on_error("read", got.error());
    if (*got != rows && !(in_doubt && *got == *in_doubt)) return "rows differ";
    rows = std::move(*got);
    in_doubt.reset();
    if (Status status = db->check(false); !status.ok()) return on_error("check", status);
    return std::nullopt;
  }
  // Dead is fine, other errors are not.
  std::optional<std::string> on_error(std::string_view what, const Status& status) {
    if (status.is(StatusCode::unavailable)) return restart();
    return std::string(what) + ": " + status.to_string();
  }
  std::optional<std::string> restart() {
    ++crashes;
    db.reset();
    process.reset();
    if (auto failure = open()) return failure;
    return check();
  }
  Status transaction(Rows& next) {
    GD2FS_TRY(db->exec("BEGIN IMMEDIATE"));
    GD2FS_ASSIGN(Statement put, db->prepare("INSERT OR REPLACE INTO kv VALUES(?1, ?2)"));
    GD2FS_ASSIGN(Statement drop, db->prepare("DELETE FROM kv WHERE k = ?1"));
    for (uint64_t i = random.between(1, 6); i > 0; --i) {
      const auto key = static_cast<int64_t>(random.below(40));
      Statement& statement = random.chance(1, 4) ? drop : put;
      statement.bind_int(1, key);
      if (&statement == &drop) {
        next.erase(key);
      } else {
        std::string value(random.below(random.chance(1, 10) ? 20'000 : 200), 'x');
        random.fill(as_writable_bytes(value.data(), value.size()));
        put.bind_bytes(2, as_bytes(value.data(), value.size()));
        next[key] = std::move(value);
      }
      GD2FS_TRY(statement.run());
    }
    in_doubt = next;
    return db->exec("COMMIT");
  }
  std::optional<std::string> run(int steps) {
    {
      Process first(drive);
      if (!first.disk.make_dir("dir").ok() || !first.disk.sync_dir("").ok()) return "make_dir";
    }
    if (auto failure = restart()) return failure;
    for (int i = 0; i < steps; ++i) {
      Rows next = rows;
      const Status status = transaction(next);
      if (status.ok()) {
        rows = std::move(next);
        in_doubt.reset();
        ++committed;
      } else if (auto failure = on_error("transaction", status)) {
        return failure;
      }
    }
    db.reset();  // closing may still meet the armed end
    drive.crash();
    process.reset();
    return restart();
  }
};

TEST(DatabaseCrash, every_committed_transaction_survives_and_none_is_torn_over_1000_seeds) {
  int committed = 0;
  int crashes = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    History history(seed);
    const auto failure = history.run(12);
    ASSERT_FALSE(failure.has_value()) << "seed " << seed << ": " << *failure;
    committed += history.committed;
    crashes += history.crashes;
  }
  // The histories did something: about half of the transactions commit, each seed dies often.
  EXPECT_GT(committed, 5000);
  EXPECT_GT(crashes, 3000);
}

// The same test must notice a drive that lies.
bool noticed(void (*lie)(SimDrive&)) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    History history(seed);
    lie(history.drive);
    if (history.run(12)) return true;
  }
  return false;
}

TEST(DatabaseCrash, a_drive_that_ignores_syncs_of_the_log_is_noticed) {
  EXPECT_TRUE(noticed([](SimDrive& drive) { drive.ignore_syncs("dir/m.db-wal", 0, UINT64_MAX); }));
}

TEST(DatabaseCrash, a_drive_that_ignores_syncs_of_the_main_file_is_noticed) {
  EXPECT_TRUE(noticed([](SimDrive& drive) {
    drive.ignore_syncs([](const SimSync& sync) { return sync.name == "dir/m.db"; });
  }));
}

bool of_folder_after(const SimSync& sync, std::string_view change) {
  return sync.of_folder && sync.after.starts_with(change);
}

TEST(DatabaseCrash, a_drive_that_ignores_that_names_are_new_is_noticed) {
  EXPECT_TRUE(noticed([](SimDrive& drive) {
    drive.ignore_syncs([](const SimSync& sync) { return of_folder_after(sync, "create"); });
  }));
}

TEST(DatabaseCrash, a_drive_that_ignores_that_names_are_gone_is_noticed) {
  EXPECT_TRUE(noticed([](SimDrive& drive) {
    drive.ignore_syncs([](const SimSync& sync) { return of_folder_after(sync, "remove"); });
  }));
}

}  // namespace
}  // namespace gd2fs
