// A reservation is answered before it is durable: when, what a crash takes back, and that the quota
// holds all the same.
#include <gtest/gtest.h>

#include "meta/check_metadata.h"
#include "meta/namespace.h"
#include "meta/test_engines.h"
#include "meta/usage.h"

namespace gd2fs {
namespace {

class Reservations : public testing::Test {
 protected:
  Reservations() {
    open();
    auto made = wait(names_->create_cluster("c", {.quota_bytes = 1000}, "secret", tag()));
    cluster_ = made.value().id;
    a_ = create("/a");
    b_ = create("/b");
  }

  template <class T>
  T wait(Task<T> task) {
    return finish(loop_, std::move(task));
  }
  void turn() {
    while (loop_.run_ready() > 0) {
    }
  }
  void open() {
    SqliteMetaOptions options;
    options.file.new_deployment_id = 1;
    store_ = wait(SqliteMetaStore::open(loop_, *disk_, worker_, options)).value();
    names_ = wait(Namespace::open(loop_, *store_)).value();
  }
  // Power fails, and the controller is started again.
  void crash() {
    drive_.crash();
    worker_.release();  // into a dead drive
    turn();
    names_.reset();
    store_.reset();
    disk_ = std::make_unique<SimDisk>(loop_, drive_);
    open();
  }
  MutationTag tag() {
    ++sequence_;
    return {.incarnation = 7, .sequence = sequence_, .low = sequence_};
  }
  InodeInfo create(std::string path) {
    return wait(names_->create(cluster_, std::move(path), {}, tag())).value().info;
  }
  // Answered, with its transaction still in the worker's hands if it is not waited for. Only what
  // it reads is let through.
  Result<InodeInfo> reserve_and_hold(const InodeInfo& file, uint64_t end) {
    worker_.hold();
    std::optional<Result<InodeInfo>> out;
    loop_.spawn(keep_result(names_->reserve(file.inode, file.generation, end), &out));
    turn();
    while (!out) {
      worker_.release_one();
      turn();
    }
    return *out;
  }
  Result<InodeInfo> set_size(const InodeInfo& file, uint64_t end) {
    return wait(names_->set_size(file.inode, file.generation, end));
  }
  uint64_t reserved_bytes() { return wait(names_->usage(cluster_)).value().reserved_bytes; }
  void expect_sound() {
    EXPECT_EQ(wait(check_metadata(*store_)).value().findings, std::vector<std::string>());
  }

  StillClock clock_;
  Loop loop_{clock_, Loop::Waits::never};
  SimDrive drive_{"reservations", 3};
  HeldWorker worker_;
  std::unique_ptr<SimDisk> disk_ = std::make_unique<SimDisk>(loop_, drive_);
  std::unique_ptr<SqliteMetaStore> store_;
  std::unique_ptr<Namespace> names_;
  uint64_t sequence_ = 0;
  uint16_t cluster_ = 0;
  InodeInfo a_;
  InodeInfo b_;
};

Task<void> keep_errno(Task<Result<InodeInfo>> task, std::optional<int>* out) {
  auto result = co_await task;
  out->emplace(result ? 0 : result.error().errno_value());
}

TEST_F(Reservations, one_is_answered_before_it_is_durable_and_a_size_is_not) {
  EXPECT_EQ(reserve_and_hold(a_, 1000)->reserved_bytes, 1000u);
  EXPECT_EQ(worker_.jobs(), 1u);  // its transaction, not begun
  std::optional<int> sized;
  loop_.spawn(keep_errno(names_->set_size(a_.inode, a_.generation, 600), &sized));
  turn();
  EXPECT_FALSE(sized.has_value());
  worker_.release();
  turn();
  EXPECT_EQ(sized, 0);
  EXPECT_EQ(reserved_bytes(), 1000u);
  crash();
  EXPECT_EQ(wait(names_->lookup(cluster_, "/a"))->size_bytes, 600u);
  EXPECT_EQ(reserved_bytes(), 1000u);
  expect_sound();
}

TEST_F(Reservations, one_that_a_crash_took_back_is_charged_again_by_the_size) {
  ASSERT_TRUE(reserve_and_hold(a_, 1000).has_value());
  crash();
  EXPECT_EQ(reserved_bytes(), 0u);
  EXPECT_EQ(set_size(a_, 1000)->size_bytes, 1000u);
  EXPECT_EQ(reserved_bytes(), 1000u);
  expect_sound();
}

TEST_F(Reservations, what_a_crash_took_back_another_may_have_and_then_the_size_is_refused) {
  ASSERT_TRUE(reserve_and_hold(a_, 1000).has_value());
  crash();
  ASSERT_TRUE(set_size(b_, 1).has_value());
  EXPECT_EQ(set_size(a_, 1000).error().errno_value(), EDQUOT);
  EXPECT_EQ(wait(names_->lookup(cluster_, "/a"))->size_bytes, 0u);
  EXPECT_EQ(set_size(a_, 999)->size_bytes, 999u);
  expect_sound();
}

TEST_F(Reservations, the_quota_counts_those_that_are_answered_and_not_durable) {
  ASSERT_TRUE(reserve_and_hold(a_, 900).has_value());
  std::optional<int> over;
  std::optional<int> rest;
  loop_.spawn(keep_errno(names_->reserve(b_.inode, b_.generation, 101), &over));
  turn();
  EXPECT_FALSE(over.has_value());  // there is room in what it reads, and somebody is ahead of it
  worker_.release();
  turn();
  EXPECT_EQ(over, EDQUOT);
  loop_.spawn(keep_errno(names_->reserve(b_.inode, b_.generation, 100), &rest));
  turn();
  EXPECT_EQ(rest, 0);
  EXPECT_EQ(reserved_bytes(), 1000u);
  expect_sound();
}

TEST_F(Reservations, changes_beside_one_that_is_not_durable_lose_no_race) {
  ASSERT_TRUE(wait(names_->set_policy("c", {.quota_bytes = 0}, tag())).has_value());
  const InodeInfo c = create("/c");
  for (int i = 0; i < kUsageShards; ++i) create("/f" + std::to_string(i));  // into the cache
  ASSERT_TRUE(reserve_and_hold(a_, 900).has_value());
  std::optional<int> first;
  std::optional<int> second;
  loop_.spawn(keep_errno(names_->set_size(b_.inode, b_.generation, 10), &first));
  loop_.spawn(keep_errno(names_->set_size(c.inode, c.generation, 10), &second));
  turn();
  worker_.release_one();  // the reservation
  turn();
  ASSERT_EQ(worker_.jobs(), 1u);
  worker_.release_one();  // and both in one group
  turn();
  EXPECT_EQ(first, 0);
  EXPECT_EQ(second, 0);
}

}  // namespace
}  // namespace gd2fs
