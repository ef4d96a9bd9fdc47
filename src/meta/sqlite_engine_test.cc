// What only the SQLite engine has: identity, restarts, a failing drive, its worker.
#include "meta/sqlite_engine.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "meta/test_engines.h"

namespace gd2fs {
namespace {

using Opened = Result<std::unique_ptr<SqliteMetaStore>>;

class SqliteEngine : public testing::Test {
 protected:
  static SqliteMetaOptions with_ids(uint64_t expected, uint64_t for_a_new_one) {
    SqliteMetaOptions options;
    options.file.deployment_id = expected;
    options.file.new_deployment_id = for_a_new_one;
    options.file.checkpoint_pages = 64;
    return options;
  }
  Opened open(SqliteMetaOptions options = with_ids(0, 77)) {
    return finish(loop_, SqliteMetaStore::open(loop_, *disk_, worker_, options));
  }
  Status put(MetaStore& store, std::string_view key, std::string_view value) {
    auto tx = store.begin();
    tx->put(key, value);
    return finish(loop_, tx->commit());
  }
  Status put_early(MetaStore& store, std::string_view key, std::string_view value) {
    auto tx = store.begin();
    tx->answer_when_decided();
    tx->put(key, value);
    return finish(loop_, tx->commit());
  }
  void turn() {
    while (loop_.run_ready() > 0) {
    }
  }
  Result<std::optional<std::string>> get(MetaStore& store, std::string key) {
    auto tx = store.begin();
    return finish(loop_, tx->get(std::move(key)));
  }
  void power_failure() {
    drive_.crash();
    disk_ = std::make_unique<SimDisk>(loop_, drive_);
  }
  // Changes the closed file behind the store's back.
  void with_database(const std::string& sql) {
    auto database = Database::open(*disk_, "meta.db");
    ASSERT_TRUE(database.has_value());
    ASSERT_TRUE((*database)->exec(sql).ok());
  }

  StillClock clock_;
  Loop loop_{clock_, Loop::Waits::never};
  SimDrive drive_{"meta-test", 5};
  HeldWorker worker_;
  std::unique_ptr<SimDisk> disk_ = std::make_unique<SimDisk>(loop_, drive_);
};

TEST_F(SqliteEngine, what_was_committed_is_there_after_a_close_and_after_a_power_failure) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  ASSERT_TRUE(finish(loop_, store->close()).ok());
  store.reset();
  store = open().value();
  ASSERT_TRUE(put(*store, "b", "2").ok());
  drive_.crash();
  store.reset();
  disk_ = std::make_unique<SimDisk>(loop_, drive_);
  store = open().value();
  EXPECT_EQ(get(*store, "a").value(), "1");
  EXPECT_EQ(get(*store, "b").value(), "2");
}

TEST_F(SqliteEngine, revisions_grow_across_restarts) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  const uint64_t before = store->revision();
  store.reset();  // not closed in order
  store = open().value();
  EXPECT_GT(store->revision(), before);
}

TEST_F(SqliteEngine, a_store_keeps_its_deployment_and_is_refused_by_another) {
  EXPECT_EQ(open(with_ids(0, 0)).error().code(), StatusCode::not_found);
  auto store = open(with_ids(0, 77)).value();
  EXPECT_EQ(store->deployment_id(), 77u);
  EXPECT_EQ(open().error().code(), StatusCode::busy);  // one process at a time
  store.reset();
  EXPECT_EQ(open(with_ids(0, 99)).value()->deployment_id(), 77u);
  EXPECT_EQ(open(with_ids(77, 0)).value()->deployment_id(), 77u);
  EXPECT_EQ(open(with_ids(99, 99)).error().code(), StatusCode::invalid);
}

TEST_F(SqliteEngine, a_newer_schema_and_a_foreign_file_are_refused) {
  open().value().reset();
  with_database("UPDATE store SET schema = 2");
  EXPECT_EQ(open().error().code(), StatusCode::unsupported);
  with_database("UPDATE store SET schema = 1; PRAGMA application_id = 5");
  EXPECT_EQ(open().error().code(), StatusCode::invalid);

  auto file = disk_->open("other.db", OpenMode::create, OpenKind::cached).value();
  const std::string text(5000, 'x');
  ASSERT_TRUE(file->write_at(0, as_bytes(text.data(), text.size())).ok());
  file.reset();
  SqliteMetaOptions options = with_ids(0, 77);
  options.file.name = "other.db";
  EXPECT_EQ(open(options).error().code(), StatusCode::corrupt);
}

TEST_F(SqliteEngine, after_an_unclean_end_every_page_is_checked_and_damage_is_said) {
  auto store = open().value();
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(put(*store, "key" + std::to_string(i), std::string(200, 'v')).ok());
  }
  ASSERT_TRUE(finish(loop_, store->close()).ok());
  store.reset();
  store = open().value();
  store.reset();           // unclean
  store = open().value();  // but whole
  EXPECT_EQ(get(*store, "key7").value(), std::string(200, 'v'));
  store.reset();
  // The number of cells of the last page: it cannot be true.
  auto file = disk_->open("meta.db", OpenMode::existing, OpenKind::cached).value();
  const uint64_t last_page = file->size_bytes().value() - Database::kPageBytes;
  file.reset();
  ASSERT_TRUE(drive_.flip("meta.db", last_page + 3, std::byte{0xff}).ok());
  EXPECT_EQ(open().error().code(), StatusCode::corrupt);
}

TEST_F(SqliteEngine, a_full_drive_is_no_space_and_all_goes_on_when_there_is_room_again) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  drive_.set_capacity_bytes(drive_.used_bytes());
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    const Status status = put(*store, "big" + std::to_string(i), std::string(20000, 'x'));
    if (status.ok()) continue;
    ++refused;
    EXPECT_EQ(status.errno_value(), ENOSPC) << status.to_string();
    EXPECT_EQ(get(*store, "big" + std::to_string(i)).value(), std::nullopt);
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(get(*store, "a").value(), "1");
  drive_.set_capacity_bytes(uint64_t{1} << 40);
  EXPECT_TRUE(put(*store, "big", std::string(20000, 'x')).ok());
  store.reset();
  power_failure();
  store = open().value();
  EXPECT_EQ(get(*store, "big").value(), std::string(20000, 'x'));
}

// Every sync, write and read may fail. Whatever the store answered ok is there, what it answered
// with a definite failure is not, and it serves again when the drive does.
TEST_F(SqliteEngine, a_drive_that_errs_never_makes_an_answer_wrong) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimDrive drive("faulty", seed);
    auto disk = std::make_unique<SimDisk>(loop_, drive);
    Random random(seed);
    SqliteMetaOptions options = with_ids(0, 77);
    options.cache_bytes = random.chance(1, 2) ? 0 : 1 << 20;
    auto store = finish(loop_, SqliteMetaStore::open(loop_, *disk, worker_, options)).value();
    std::map<std::string, std::string> expected;
    std::set<std::string> unknown;
    const auto faults = [&](uint32_t ppm) {
      drive.set_faults({.name_prefix = "meta",
                        .read_error_ppm = ppm / 4,
                        .write_error_ppm = ppm,
                        .sync_error_ppm = ppm * 2});
    };
    for (int i = 0; i < 150; ++i) {
      faults(random.chance(1, 3) ? 50000 : 0);
      const std::string key = "k" + std::to_string(random.below(20));
      const std::string value = std::to_string(i) + std::string(random.below(3000), 'v');
      const Status status = put(*store, key, value);
      if (status.ok()) {
        expected[key] = value;
        unknown.erase(key);
      } else if (status.is(StatusCode::unavailable)) {
        unknown.insert(key);
      }
      const std::string other = "k" + std::to_string(random.below(20));
      auto seen = get(*store, other);
      if (seen && !unknown.contains(other)) {
        const auto want = expected.find(other);
        ASSERT_EQ(*seen, want == expected.end() ? std::optional<std::string>() : want->second)
            << "seed " << seed << " step " << i << " " << other;
      }
    }
    faults(0);
    ASSERT_TRUE(put(*store, "last", "1").ok()) << "seed " << seed;
    for (const auto& [key, value] : expected) {
      if (unknown.contains(key)) continue;
      ASSERT_EQ(get(*store, key).value(), value) << "seed " << seed << " " << key;
    }
  }
}

TEST_F(SqliteEngine, a_commit_of_unknown_outcome_ends_what_was_read_before_it) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  auto reader = store->begin();
  ASSERT_EQ(finish(loop_, reader->get("a")).value(), "1");
  drive_.hang();  // blocking calls fail, also those that would look again
  EXPECT_TRUE(put(*store, "a", "2").is(StatusCode::unavailable));
  drive_.resume();
  reader->put("b", "from a=1");
  const Status status = finish(loop_, reader->commit());
  EXPECT_TRUE(status.is(StatusCode::stale) && reader->conflicted()) << status.to_string();
  const auto now = get(*store, "a").value();  // either, but for good
  EXPECT_TRUE(now == "1" || now == "2");
  ASSERT_TRUE(put(*store, "c", "3").ok());
  EXPECT_EQ(get(*store, "a").value(), now);
}

Task<void> commit_into(MetaTransaction* tx, std::optional<Status>* out) {
  out->emplace(co_await tx->commit());
}

TEST_F(SqliteEngine, what_is_answered_when_decided_does_not_wait_for_the_drive) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  worker_.hold();
  EXPECT_TRUE(put_early(*store, "a", "2").ok());
  EXPECT_EQ(worker_.jobs(), 1u);             // not written yet
  EXPECT_EQ(get(*store, "a").value(), "1");  // and nobody sees it
  worker_.release();
  turn();
  EXPECT_EQ(get(*store, "a").value(), "2");
  store.reset();
  power_failure();
  store = open().value();
  EXPECT_EQ(get(*store, "a").value(), "2");
}

TEST_F(SqliteEngine, what_others_of_its_group_write_is_answered_when_it_is_durable) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  worker_.hold();
  auto durable = store->begin();
  durable->put("b", "1");
  std::optional<Status> status;
  loop_.spawn(commit_into(durable.get(), &status));
  EXPECT_TRUE(put_early(*store, "a", "2").ok());
  turn();
  EXPECT_EQ(worker_.jobs(), 1u);
  EXPECT_FALSE(status.has_value());
  worker_.release();
  turn();
  EXPECT_TRUE(status.has_value() && status->ok());
}

// Two clients, each of which commits again when it is answered, get into one group and stay there;
// when one of them is gone, the other goes on.
TEST_F(SqliteEngine, who_is_ready_to_commit_waits_a_moment_for_who_was_just_answered) {
  auto store = open().value();
  worker_.hold();
  std::optional<Status> statuses[2];
  std::unique_ptr<MetaTransaction> clients[2];
  const auto commit = [&](int client) {
    clients[client] = store->begin();
    clients[client]->put(std::to_string(client), "value");
    loop_.spawn(commit_into(clients[client].get(), &statuses[client]));
    turn();
  };
  // How many clients are answered.
  const auto end_of_write = [&] {
    EXPECT_EQ(worker_.jobs(), 1u);
    clock_.ns += GroupPatience::kWaitMaxNs;
    worker_.release_one();
    turn();
    int answered = 0;
    for (int client : {0, 1}) {
      if (!statuses[client].has_value()) continue;
      EXPECT_TRUE(statuses[client]->ok());
      statuses[client].reset();
      clients[client].reset();
      turn();
      ++answered;
    }
    return answered;
  };
  commit(0);
  commit(1);
  EXPECT_EQ(end_of_write(), 1);
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    EXPECT_EQ(worker_.jobs(), 0u);  // one is ready
    commit(0);
    EXPECT_EQ(end_of_write(), 2);
    commit(1);
  }
  EXPECT_EQ(worker_.jobs(), 0u);
  clock_.ns += GroupPatience::kWaitMaxNs;
  turn();
  EXPECT_EQ(end_of_write(), 1);
  commit(1);
  EXPECT_EQ(end_of_write(), 1);
  worker_.release();
}

TEST_F(SqliteEngine, nothing_is_built_on_what_was_answered_and_is_not_durable) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  worker_.hold();
  ASSERT_TRUE(put_early(*store, "a", "2").ok());
  auto later = store->begin();
  EXPECT_EQ(finish(loop_, later->get("a")).value(), "1");
  later->put("b", "from a=1");
  std::optional<Status> status;
  loop_.spawn(commit_into(later.get(), &status));
  turn();
  EXPECT_FALSE(status.has_value());  // it waits for its turn
  worker_.release();
  turn();
  ASSERT_TRUE(status.has_value());
  EXPECT_TRUE(status->is(StatusCode::stale) && later->conflicted()) << status->to_string();
  EXPECT_EQ(get(*store, "b").value(), std::nullopt);
}

TEST_F(SqliteEngine, what_was_answered_and_is_not_durable_is_gone_after_a_crash_in_one_piece) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  worker_.hold();
  ASSERT_TRUE(put_early(*store, "a", "2").ok());
  drive_.crash();
  worker_.release();  // into a dead drive
  turn();
  store.reset();
  disk_ = std::make_unique<SimDisk>(loop_, drive_);
  store = open().value();
  EXPECT_EQ(get(*store, "a").value(), "1");
}

TEST_F(SqliteEngine, what_was_answered_and_is_refused_by_the_drive_was_never_there) {
  auto store = open().value();
  ASSERT_TRUE(put(*store, "a", "1").ok());
  drive_.set_capacity_bytes(drive_.used_bytes());
  int lost = 0;
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string key = "big" + std::to_string(i);
    const bool answered_ok = put_early(*store, key, std::string(20000, 'x')).ok();
    turn();
    if (get(*store, key).value().has_value()) continue;
    lost += answered_ok ? 1 : 0;
    refused += answered_ok ? 0 : 1;
  }
  EXPECT_EQ(lost, 1);  // the first: from then on the answers wait
  EXPECT_GT(refused, 10);
  drive_.set_capacity_bytes(uint64_t{1} << 40);
  EXPECT_TRUE(put_early(*store, "a", "2").ok());
  EXPECT_EQ(get(*store, "a").value(), "2");  // it waited
  worker_.hold();
  EXPECT_TRUE(put_early(*store, "a", "3").ok());  // and this one need not
  worker_.release();
  turn();
  EXPECT_EQ(get(*store, "a").value(), "3");
}

Task<void> create_many(Loop* loop, MetaStore* store, int client, int* running, int* commits) {
  for (int i = 0; i < 50; ++i) {
    auto tx = store->begin();
    auto there = co_await tx->get("sum");
    if (!there) continue;
    const int sum = *there ? std::stoi(**there) : 0;
    tx->put("sum", std::to_string(sum + 1));
    tx->put("c" + std::to_string(client) + "/" + std::to_string(i), "1");
    Status status = co_await tx->commit();
    if (status.ok()) {
      ++*commits;
    } else {
      --i;
    }
  }
  if (--*running == 0) loop->stop();
}

TEST(SqliteEngineOnRealDisk, transactions_of_several_clients_race_through_a_thread) {
  std::string path = std::filesystem::temp_directory_path() / "gd2fs-meta-test-XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  {
    RealClock clock;
    Loop loop(clock, Loop::Waits::epoll);
    auto disk = *open_disk(loop, path, DiskEngine::threads);
    ThreadWorker worker("meta-test");
    SqliteMetaOptions options;
    options.file.new_deployment_id = 1;
    options.cache_bytes = 0;  // every read takes the trip
    std::optional<Opened> opened;
    loop.spawn(keep_result(SqliteMetaStore::open(loop, *disk, worker, options), &opened));
    while (!opened) loop.turn(UINT64_MAX);
    auto store = std::move(opened->value());
    int running = 4;
    int commits = 0;
    for (int i = 0; i < 4; ++i) {
      loop.spawn(create_many(&loop, store.get(), i, &running, &commits));
    }
    loop.run();
    EXPECT_EQ(commits, 200);
    std::optional<Result<std::optional<std::string>>> sum;
    auto tx = store->begin();
    loop.spawn(keep_result(tx->get("sum"), &sum));
    while (!sum) loop.turn(UINT64_MAX);
    EXPECT_EQ(sum->value(), "200");
    tx.reset();
    std::optional<Status> closed;
    loop.spawn(keep_result(store->close(), &closed));
    while (!closed) loop.turn(UINT64_MAX);
    EXPECT_TRUE(closed->ok());
  }
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace gd2fs
