// Reads that end within the call: read_now().
#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

struct Counted : StoreRead {
  int ended = 0;
  Counted(const ChunkKey& chunk, uint32_t bytes) {
    key = chunk;
    length_bytes = bytes;
    done.bind<&Counted::on_done>(this);
  }
  void on_done(Completion&) { ++ended; }
};

class ReadNow : public testing::Test {
 protected:
  ReadNow() : bytes(kBytes, '\0') {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / kBlockBytes);
    EXPECT_TRUE(t.open().ok());
    EXPECT_TRUE(t.write({1, 0}, 0, bytes).ok());
  }
  static constexpr uint32_t kBytes = 1 << 20;
  TestStore t{5};
  std::string bytes;
};

TEST_F(ReadNow, a_hit_has_ended_and_nothing_runs_later) {
  Counted read({1, 0}, kBytes);
  ASSERT_TRUE(t.store->read_now(read));
  EXPECT_TRUE(read.done.status.ok());
  EXPECT_EQ(read.done.value, kBytes);
  EXPECT_FALSE(read.done.pending());
  EXPECT_TRUE(read.hit);
  EXPECT_EQ(TestStore::bytes_of(read), bytes);
  t.world.run_for_ns(kSecond);
  EXPECT_EQ(read.ended, 0);
  // And once more with the same object, in either way.
  ASSERT_TRUE(t.store->read_now(read));
  t.store->read(read);
  t.world.run_for_ns(kSecond);
  EXPECT_EQ(read.ended, 1);
}

TEST_F(ReadNow, a_miss_ends_later) {
  t.store->evict(UINT64_MAX);
  Counted read({1, 0}, kBytes);
  ASSERT_FALSE(t.store->read_now(read));
  EXPECT_TRUE(read.done.pending());
  ASSERT_TRUE(t.world.run_until([&] { return read.ended == 1; }));
  EXPECT_FALSE(read.hit);
  EXPECT_EQ(TestStore::bytes_of(read), bytes);
}

TEST_F(ReadNow, an_error_that_is_known_at_once_is_told_at_once) {
  Counted read({1, 0}, kBytes);
  read.offset_bytes = UINT32_MAX - kBytes;
  ASSERT_TRUE(t.store->read_now(read));
  EXPECT_TRUE(read.done.status.is(StatusCode::invalid)) << read.done.status.to_string();
}

}  // namespace
}  // namespace gd2fs
