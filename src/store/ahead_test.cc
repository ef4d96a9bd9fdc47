// Where fills go and what they bring along: read-ahead over chunk ends, neighbours side by side,
// runs cut short where there is no room.
#include <gtest/gtest.h>

#include "store/test_store.h"

namespace gd2fs {
namespace {

constexpr uint8_t kChunkLog2 = 20;  // 1 MiB
constexpr uint32_t kChunkBytes = 1u << kChunkLog2;

struct Fills : testing::Test {
  Fills() : t(31) {
    t.options.slab_bytes = 64 * kMiB;
    t.options.arena_bytes = 64 * kMiB;
    EXPECT_TRUE(t.open().ok());
  }
  void write_chunks(uint64_t inode, uint32_t count) {
    std::string data(kChunkBytes, static_cast<char>('a' + inode));
    for (uint32_t chunk = 0; chunk < count; ++chunk) {
      StoreWrite w;
      w.key = {inode, chunk};
      w.chunk_log2 = kChunkLog2;
      ASSERT_TRUE(t.write(w, as_bytes(data.data(), data.size())).ok());
    }
    t.store->evict(UINT64_MAX);
  }
  StoreRead& read(uint64_t inode, uint32_t chunk, uint32_t offset_bytes, uint32_t length_bytes,
                  uint64_t ahead_bytes) {
    reads.push_back(std::make_unique<StoreRead>());
    StoreRead& r = *reads.back();
    r.key = {inode, chunk};
    r.chunk_log2 = kChunkLog2;
    r.offset_bytes = offset_bytes;
    r.length_bytes = length_bytes;
    r.sequential = true;
    r.ahead_bytes = ahead_bytes;
    EXPECT_TRUE(t.read(r).ok());
    return r;
  }
  const std::byte* place_of(uint64_t inode, uint32_t chunk) {
    return read(inode, chunk, 0, kChunkBytes, 0).slices.front().bytes.data();
  }
  TestStore t;
  std::vector<std::unique_ptr<StoreRead>> reads;
};

TEST_F(Fills, AStreamOfSmallReadsWaitsForItsFirstChunkOnly) {
  write_chunks(1, 12);
  uint32_t misses = 0;
  for (uint32_t at = 0; at < 12 * kChunkBytes; at += 64 * kKiB) {
    const StoreRead& r = read(1, at / kChunkBytes, at % kChunkBytes, 64 * kKiB, 8 * kMiB);
    if (!r.hit) ++misses;
    t.world.run_for_ns(5 * kMs);  // its reader does something with it
  }
  EXPECT_EQ(misses, 1u);
  EXPECT_LE(t.store->stats().disk_read_bytes, 12 * uint64_t{kChunkBytes + 4096});
}

TEST_F(Fills, NothingIsReadBehindAReadThatIsNoStreamNorBehindTheEnd) {
  write_chunks(1, 12);
  read(1, 0, 0, kChunkBytes, 0);
  t.world.run_for_ns(1 * kSecond);
  EXPECT_EQ(t.store->stats().disk_read_bytes, kChunkBytes + 4096u);
  read(1, 11, 0, 4096, 8 * kMiB);
  t.world.run_for_ns(1 * kSecond);
  EXPECT_EQ(t.store->stats().disk_read_bytes, 2 * (kChunkBytes + 4096u));
}

TEST_F(Fills, AStreamOfBigReadsIsFilledAheadByAsMuchAsItSays) {
  write_chunks(1, 12);
  read(1, 0, 0, kChunkBytes, 3 * kMiB);
  t.world.run_for_ns(1 * kSecond);
  EXPECT_EQ(t.store->stats().disk_read_bytes, 4 * (kChunkBytes + 4096u));
  EXPECT_TRUE(read(1, 3, 0, kChunkBytes, 0).hit);
  EXPECT_FALSE(read(1, 4, 0, kChunkBytes, 0).hit);
}

TEST_F(Fills, ASequentialColdReadIntoAnEmptySlabLiesInOneRun) {
  write_chunks(1, 32);
  const std::byte* const begin = place_of(1, 0);
  for (uint32_t chunk = 1; chunk < 32; ++chunk) {
    EXPECT_EQ(place_of(1, chunk), begin + uint64_t{chunk} * kChunkBytes) << chunk;
  }
}

TEST_F(Fills, FilesThatAreReadSideBySideEachLieInARunOfTheirOwn) {
  ASSERT_TRUE(t.close().ok());
  t.options.slab_bytes = 256 * kMiB;
  t.options.arena_bytes = 256 * kMiB;
  ASSERT_TRUE(t.open().ok());
  write_chunks(1, 8);
  write_chunks(2, 8);
  const std::byte* const first = place_of(1, 0);
  const std::byte* const second = place_of(2, 0);
  for (uint32_t chunk = 1; chunk < 8; ++chunk) {
    EXPECT_EQ(place_of(1, chunk), first + uint64_t{chunk} * kChunkBytes) << chunk;
    EXPECT_EQ(place_of(2, chunk), second + uint64_t{chunk} * kChunkBytes) << chunk;
  }
}

TEST_F(Fills, WhereNoLongRunIsLeftAFillIsCutShorter) {
  write_chunks(1, 2);
  // Every second 64 KiB of the slab is in use.
  std::vector<std::unique_ptr<StoreWrite>> held;
  for (uint32_t i = 0; i < 1024; ++i) {
    held.push_back(std::make_unique<StoreWrite>());
    StoreWrite& w = *held.back();
    w.key = {9, i};
    w.chunk_log2 = kChunkLog2;
    w.length_bytes = 4096;
    t.arm(w.done);
    t.store->reserve(w);
    ASSERT_TRUE(t.finish(w.done).ok()) << i;
  }
  for (uint32_t i = 0; i < 1024; i += 2) t.store->abort(*held[i]);
  const StoreRead& r = read(1, 1, 0, kChunkBytes, 0);
  EXPECT_EQ(TestStore::bytes_of(r), std::string(kChunkBytes, 'b'));
  for (uint32_t i = 1; i < 1024; i += 2) t.store->abort(*held[i]);
}

}  // namespace
}  // namespace gd2fs
