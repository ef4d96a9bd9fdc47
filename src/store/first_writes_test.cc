// Two first writes to one chunk at once, while its home is nearly full: the second one's slot is on
// the other drive. Whatever becomes of them, the chunk is on one drive.
#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

constexpr ChunkKey kChunk{1, 0};

struct Block : StoreWrite {
  TestStore* t = nullptr;
  bool ended = false;
  void reserve_in(TestStore& store, uint32_t block) {
    t = &store;
    key = kChunk;
    offset_bytes = block * kBlockBytes;
    length_bytes = kBlockBytes;
    ASSERT_TRUE(reserve_now().ok());
    const std::string data = pattern(kBlockBytes, block);
    std::ranges::copy(as_bytes(data.data(), data.size()), buffer.begin());
  }
  Status reserve_now() {
    t->arm(done);
    t->store->reserve(*this);
    return t->finish(done);
  }
  void start_commit() {
    done.bind(this, [](void* self, Completion&) { static_cast<Block*>(self)->ended = true; });
    t->store->commit(*this);
  }
  Status outcome() {
    EXPECT_TRUE(t->world.run_until([&] { return ended; }));
    return done.status;
  }
};

class FirstWrites : public testing::Test {
 protected:
  FirstWrites() : t(3, 2) {
    t.options.data_file_bytes = kBlockBytes;  // one slot in a file
    EXPECT_TRUE(t.open().ok());
    at_home.reserve_in(t, 0);
    home = has_data_file(0) ? 0 : 1;
    EXPECT_TRUE(has_data_file(home));
    fill_home();
    elsewhere.reserve_in(t, 1);
    EXPECT_TRUE(has_data_file(1 - home));
  }
  bool has_data_file(size_t drive) {
    SimDisk disk(*t.loop, *t.drives[drive]);
    return disk.exists("data/c00-0000").value_or(false);
  }
  // Only what is kept free for the index is left.
  void fill_home() {
    SimDisk disk(*t.loop, *t.drives[home]);
    const DiskSpace space = disk.space().value_or(DiskSpace());
    t.drives[home]->set_capacity_bytes(space.total_bytes - space.free_bytes +
                                       t.options.drive_reserve_bytes);
  }
  void give_home_space() { t.drives[home]->set_capacity_bytes(kGiB); }
  void restart_without(size_t drive) {
    t.crash();
    if (away != nullptr) t.drives[1 - drive] = std::move(away);
    away = std::move(t.drives[drive]);
    ASSERT_TRUE(t.open().ok());
  }
  std::string block(uint32_t index) { return t.read(kChunk, index * kBlockBytes, kBlockBytes); }
  void expect_whole() {
    for (const uint32_t index : {0u, 1u}) EXPECT_TRUE(block(index) == pattern(kBlockBytes, index));
  }
  void expect_unknown() {
    for (const uint32_t index : {0u, 1u}) EXPECT_TRUE(block(index).starts_with("io"));
  }
  void expect_slots(uint64_t count) {
    EXPECT_EQ(t.store->stats().extents, count);
    EXPECT_EQ(t.store->stats().slots_taken, count);
  }

  TestStore t;
  Block at_home;
  Block elsewhere;
  size_t home = 0;
  std::unique_ptr<SimDrive> away;
};

TEST_F(FirstWrites, BothGoToTheOtherDriveIfTheOneThereIsFirst) {
  elsewhere.start_commit();
  at_home.start_commit();
  EXPECT_TRUE(elsewhere.outcome().ok());
  EXPECT_TRUE(at_home.outcome().ok());
  expect_slots(2);
  ASSERT_NO_FATAL_FAILURE(restart_without(home));
  expect_whole();
  ASSERT_NO_FATAL_FAILURE(restart_without(1 - home));
  expect_unknown();
}

TEST_F(FirstWrites, BothGoHomeIfThereIsRoomAgain) {
  give_home_space();
  at_home.start_commit();
  elsewhere.start_commit();
  EXPECT_TRUE(at_home.outcome().ok());
  EXPECT_TRUE(elsewhere.outcome().ok());
  expect_slots(2);
  ASSERT_NO_FATAL_FAILURE(restart_without(1 - home));
  expect_whole();
}

TEST_F(FirstWrites, TheSecondFindsNoSpaceIfTheHomeIsFull) {
  at_home.start_commit();
  elsewhere.start_commit();
  EXPECT_TRUE(at_home.outcome().ok());
  EXPECT_TRUE(elsewhere.outcome().is(StatusCode::no_space));
  expect_slots(1);
  // As any later one does.
  EXPECT_TRUE(elsewhere.reserve_now().is(StatusCode::no_space));
  EXPECT_TRUE(block(0) == pattern(kBlockBytes, 0));
  EXPECT_TRUE(block(1) == std::string(kBlockBytes, '\0'));
}

// One that is not reserved before the first has its turn.
TEST_F(FirstWrites, OneThatComesWhileTheFirstIsBeingWrittenGoesToItsDrive) {
  t.store->abort(elsewhere);
  at_home.start_commit();
  t.world.run_for_ns(1);
  ASSERT_FALSE(at_home.ended);
  EXPECT_TRUE(elsewhere.reserve_now().is(StatusCode::no_space));
  EXPECT_TRUE(at_home.outcome().ok());
  expect_slots(1);
}

TEST_F(FirstWrites, AnAnswerFromMemoryDoesNotHideWhereTheFirstGoes) {
  at_home.ack_from_memory = elsewhere.ack_from_memory = true;
  elsewhere.start_commit();
  EXPECT_TRUE(elsewhere.outcome().ok());
  at_home.start_commit();
  EXPECT_TRUE(at_home.outcome().ok());
  Completion flushed;
  t.arm(flushed);
  t.store->flush(flushed);
  EXPECT_TRUE(t.finish(flushed).ok());
  expect_slots(2);
  ASSERT_NO_FATAL_FAILURE(restart_without(home));
  expect_whole();
}

// Blocks in common: the second waits for the first, and still has its turn next.
TEST_F(FirstWrites, OneThatTakesItsSlotAnewKeepsItsTurn) {
  Block third;
  third.reserve_in(t, 0);
  elsewhere.start_commit();
  at_home.start_commit();
  third.start_commit();
  EXPECT_TRUE(third.outcome().ok());
  EXPECT_TRUE(at_home.ended);
  EXPECT_TRUE(at_home.outcome().ok());
  EXPECT_LT(at_home.version, third.version);
}

// It may be at home, as the next start will find.
TEST_F(FirstWrites, TheSecondIsRefusedIfNobodyKnowsWhereTheFirstIs) {
  t.drives[home]->hang();
  at_home.start_commit();
  EXPECT_TRUE(at_home.outcome().is(StatusCode::unavailable));
  elsewhere.start_commit();
  EXPECT_TRUE(elsewhere.outcome().is(StatusCode::unavailable));
  t.drives[home]->resume();
  ASSERT_TRUE(t.crash_and_open().ok());
  EXPECT_TRUE(block(1) == std::string(kBlockBytes, '\0'));
}

}  // namespace
}  // namespace gd2fs
