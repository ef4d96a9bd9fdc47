// When large writes are committed together, and when not.
#include <gtest/gtest.h>

#include "store/commit_group.h"
#include "store/test_store.h"

namespace gd2fs {
namespace {

struct Timed : StoreWrite {
  TestStore* t = nullptr;
  std::string data;
  uint64_t done_ns = 0;
  void start(TestStore& store, ChunkKey chunk, uint32_t bytes) {
    t = &store;
    key = chunk;
    length_bytes = bytes;
    data = pattern(bytes, chunk.chunk);
    done.bind<&Timed::on_reserved>(this);
    t->store->reserve(*this);
  }
  void on_reserved(Completion&) {
    ASSERT_TRUE(done.status.ok());
    const ConstBytes from = as_bytes(data.data(), data.size());
    std::copy(from.begin(), from.end(), buffer.begin());
    done.bind<&Timed::on_committed>(this);
    t->store->commit(*this);
  }
  void on_committed(Completion&) { done_ns = t->world.clock().now_ns(); }
};

// A drive that takes one large write after the other, each kWriteNs.
class CommitGather : public testing::Test {
 protected:
  static constexpr uint64_t kWriteNs = 1 * kMs;
  explicit CommitGather(uint64_t window_bytes = 1) : t(4, 1, steady()) {
    t.options.slab_bytes = t.options.arena_bytes = 64 * kMiB;
    t.options.data_file_bytes = 64 * kMiB;
    t.options.drive_window_bytes = window_bytes;
    EXPECT_TRUE(t.open().ok());
    // Its data files are there.
    EXPECT_TRUE(t.write({9, 0}, 0, pattern(1 * kMiB, 1)).ok());
    EXPECT_TRUE(t.write({9, 1}, 0, "small").ok());
    t.world.run_for_ns(kSecond);
    commits_before = t.store->stats().commits;
    from_ns = t.world.clock().now_ns();
  }
  static SimDriveOptions steady() {
    SimDriveOptions options;
    options.write = {.min_ns = kWriteNs, .max_ns = kWriteNs};
    options.sync = {.min_ns = 100 * kUs, .max_ns = 100 * kUs};
    options.slow_one_in = 0;
    return options;
  }
  uint64_t took_ns(Timed& write) {
    EXPECT_TRUE(t.world.run_until([&] { return write.done_ns != 0; }));
    EXPECT_TRUE(write.done.status.ok());
    return write.done_ns - from_ns;
  }
  uint64_t commits() { return t.store->stats().commits - commits_before; }
  TestStore t;
  uint64_t commits_before = 0;
  uint64_t from_ns = 0;
};

TEST_F(CommitGather, what_belongs_together_is_synced_and_committed_at_once) {
  std::vector<Timed> writes(6);
  for (uint32_t i = 0; i < 6; ++i) writes[i].start(t, {1, i}, 1 * kMiB);
  for (Timed& write : writes) EXPECT_GE(took_ns(write), 6 * kWriteNs);
  EXPECT_EQ(commits(), 1u);
}

TEST_F(CommitGather, a_small_write_waits_for_no_large_one) {
  std::vector<Timed> writes(6);
  for (uint32_t i = 0; i < 6; ++i) writes[i].start(t, {1, i}, 1 * kMiB);
  Timed small;
  small.start(t, {2, 0}, 4096);
  EXPECT_LT(took_ns(small), 3 * kWriteNs);
}

TEST_F(CommitGather, a_write_waits_for_none_of_another_file) {
  std::vector<Timed> writes(6);
  for (uint32_t i = 0; i < 6; ++i) writes[i].start(t, {1 + i / 2, i}, 1 * kMiB);
  // Two of each file; those of the first two files go while the next ones are written.
  for (uint32_t i = 0; i < 6; ++i) {
    EXPECT_GE(took_ns(writes[i]), (i / 2 + 1) * 2 * kWriteNs);
    EXPECT_LT(took_ns(writes[i]), ((i / 2 + 1) * 2 + 1) * kWriteNs);
  }
  EXPECT_EQ(commits(), 3u);
}

TEST_F(CommitGather, a_drive_that_fails_meanwhile_answers_who_waits) {
  std::vector<Timed> writes(6);
  for (uint32_t i = 0; i < 6; ++i) writes[i].start(t, {1, i}, 1 * kMiB);
  t.world.run_for_ns(3 * kWriteNs);
  t.drives[0]->hang();
  const auto answered = [&] {
    return std::ranges::all_of(writes, [](const Timed& write) { return write.done_ns != 0; });
  };
  EXPECT_TRUE(t.world.run_until(answered));
  for (const Timed& write : writes) EXPECT_FALSE(write.done.status.ok());
}

TEST_F(CommitGather, in_a_flow_without_end_nobody_waits_for_long) {
  std::vector<Timed> writes(30);
  for (uint32_t i = 0; i < 30; ++i) writes[i].start(t, {1, i}, 1 * kMiB);
  EXPECT_LE(took_ns(writes[0]), kWriteNs + CommitGroups::kGatherNs + kWriteNs);
  EXPECT_EQ(writes[29].done_ns, 0u);
  EXPECT_LE(took_ns(writes[29]), 32 * kWriteNs);
  EXPECT_LE(commits(), 5u);
}

struct WriteWindow : CommitGather {
  WriteWindow() : CommitGather(2 * kMiB) {}
};

TEST_F(WriteWindow, writes_are_given_to_the_drive_two_windows_at_a_time) {
  std::vector<Timed> writes(8);
  for (uint32_t i = 0; i < 8; ++i) writes[i].start(t, {1, i}, 1 * kMiB);
  for (Timed& write : writes) {
    EXPECT_GE(took_ns(write), 2 * kWriteNs);
    EXPECT_LT(took_ns(write), 3 * kWriteNs);
  }
}

}  // namespace
}  // namespace gd2fs
