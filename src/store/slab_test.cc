#include "store/slab.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "sim/sim_world.h"
#include "store/page_map.h"
#include "store/pins.h"

namespace gd2fs {
namespace {

struct SlabTest : testing::Test {
  SlabTest() : loop(world.clock(), Loop::Waits::never), member(world, loop) {}
  std::unique_ptr<Slab> make(uint64_t slab_bytes, uint64_t arena_bytes) {
    return std::make_unique<Slab>(loop, plain_arena_source(), slab_bytes, arena_bytes);
  }
  // A published page that nobody holds.
  static SlabPage* put(Slab& slab, ChunkKey key, uint32_t blocks) {
    SlabPage* const page = slab.take(key, 0, blocks);
    if (page == nullptr) return nullptr;
    slab.show(*page, 0, blocks);
    slab.unhold(*page);
    return page;
  }
  SimWorld world{1};
  Loop loop;
  SimWorld::Member member;
};

TEST_F(SlabTest, PagesTakenOneAfterAnotherLieSideBySide) {
  auto slab = make(4 * kMiB, 4 * kMiB);
  SlabPage* const a = slab->take({1, 0}, 0, 16);
  SlabPage* const b = slab->take({1, 1}, 0, 16);
  EXPECT_EQ(a->data() + 1 * kMiB, b->data());
  EXPECT_EQ(slab->used_bytes(), 2 * kMiB);
  slab->unhold(*a);
  slab->unhold(*b);
  EXPECT_EQ(slab->used_bytes(), 0u);
}

TEST_F(SlabTest, HeldPagesAreNeverEvictedAndTakingFailsWhenAllAreHeld) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  SlabPage* const held = slab->take({1, 0}, 0, 8);
  ASSERT_NE(put(*slab, {1, 1}, 8), nullptr);
  EXPECT_EQ(slab->take({1, 2}, 0, 9), nullptr);  // only 8 blocks can be had
  SlabPage* const other = slab->take({1, 2}, 0, 8);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(slab->map().find({1, 1}), nullptr);  // it made room
  EXPECT_EQ(slab->take({1, 3}, 0, 1), nullptr);
  EXPECT_EQ(slab->held_pages(), 2u);
  slab->unhold(*held);
  slab->unhold(*other);
}

TEST_F(SlabTest, AWholeNeighbourhoodIsClearedForABigPage) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  std::vector<SlabPage*> pages;
  for (uint32_t i = 0; i < 16; ++i) pages.push_back(put(*slab, {1, i}, 1));
  slab->hold(*pages[3]);
  SlabPage* const big = slab->take({2, 0}, 0, 12);
  ASSERT_NE(big, nullptr);
  EXPECT_NE(slab->map().find({1, 3}), nullptr);
  slab->unhold(*pages[3]);
  slab->unhold(*big);
}

TEST_F(SlabTest, AScanDoesNotFlushWhatIsUsedAgainAndAgain) {
  auto slab = make(2 * kMiB, 2 * kMiB);
  SlabPage* const hot = put(*slab, {1, 0}, 1);
  for (int round = 0; round < 3; ++round) slab->used(*hot);
  for (uint32_t i = 0; i < 500; ++i) {
    ASSERT_NE(put(*slab, {2, i}, 1), nullptr);
    if (SlabPage* page = slab->map().page_of({1, 0}, 0)) slab->used(*page);
  }
  EXPECT_NE(slab->map().page_of({1, 0}, 0), nullptr);
}

TEST_F(SlabTest, NoScanTakesPinnedPagesHoweverTheyLie) {
  auto slab = make(8 * kMiB, 8 * kMiB);
  slab->set_pinned(1, true);
  // 40% of the slab, in single blocks all over it.
  for (uint32_t i = 0; i < 128; ++i) {
    ASSERT_NE(put(*slab, {2, i}, 1), nullptr);
    if (i % 5 < 2) {
      ASSERT_NE(put(*slab, {1, i}, 1), nullptr);
    }
  }
  const uint64_t pinned = slab->pinned_bytes();
  EXPECT_EQ(pinned, 52 * kBlockBytes);
  for (uint32_t i = 0; i < 500; ++i) {
    SlabPage* page = nullptr;
    for (uint32_t blocks = 16; page == nullptr && blocks >= 1; blocks /= 4) {
      page = slab->take({3, i}, 0, blocks, Slab::For::stream);
      if (page != nullptr) slab->show(*page, 0, blocks);
    }
    ASSERT_NE(page, nullptr);
    slab->unhold(*page);
  }
  EXPECT_EQ(slab->pinned_bytes(), pinned);
  EXPECT_NE(slab->map().page_of({1, 0}, 0), nullptr);
  slab->set_pinned(1, false);
  EXPECT_EQ(slab->pinned_bytes(), 0u);
  for (uint32_t i = 0; i < 500; ++i) ASSERT_NE(put(*slab, {4, i}, 1), nullptr);
  EXPECT_EQ(slab->map().page_of({1, 0}, 0), nullptr);
}

TEST_F(SlabTest, NoMoreThanAShareIsPinnedAndPinnedPagesGoWhenNothingElseIsLeft) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  ASSERT_NE(put(*slab, {1, 0}, 4), nullptr);  // here before it is pinned
  slab->set_pinned(1, true);
  EXPECT_EQ(slab->pinned_bytes(), 4 * kBlockBytes);
  for (uint32_t i = 1; i < 4; ++i) ASSERT_NE(put(*slab, {1, i}, 4), nullptr);
  EXPECT_EQ(slab->pinned_bytes(), slab->pinned_max_bytes());
  SlabPage* const first = slab->take({2, 0}, 0, 8);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(slab->pinned_bytes(), 8 * kBlockBytes);
  SlabPage* const second = slab->take({2, 1}, 0, 4);  // all else is held
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(slab->pinned_bytes(), 4 * kBlockBytes);
  slab->evict(1);
  EXPECT_EQ(slab->pinned_bytes(), 0u);
  slab->unhold(*first);
  slab->unhold(*second);
}

TEST_F(SlabTest, TheNewerWordOnAPinHoldsAndPinnedFilesTogetherHaveAShare) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  Pins pins(*slab);
  const auto say = [&](uint64_t inode, bool pinned, uint64_t stamp_us, uint64_t size_bytes) {
    return pins.pin({.inode = inode,
                     .pinned = pinned,
                     .stamp_us = stamp_us,
                     .told = size_bytes != 0,
                     .size_bytes = size_bytes});
  };
  ASSERT_TRUE(say(1, true, 100, 300'000).ok());
  const Status over = say(2, true, 100, 300'000);
  EXPECT_EQ(over.code(), StatusCode::no_space);
  EXPECT_NE(over.text().find("600000 of the 524288"), std::string::npos) << over.text();
  EXPECT_FALSE(slab->is_pinned(2));
  ASSERT_TRUE(say(1, false, 200, 300'000).ok());
  ASSERT_TRUE(say(1, true, 150, 0).ok());  // a capability from before
  EXPECT_FALSE(slab->is_pinned(1));
  ASSERT_TRUE(say(2, true, 100, 300'000).ok());
  ASSERT_TRUE(say(3, true, 300, 0).ok());  // after a restart only capabilities tell
  EXPECT_TRUE(slab->is_pinned(3));
  ASSERT_TRUE(say(3, false, 400, 0).ok());
  EXPECT_FALSE(slab->is_pinned(3));
  pins.forget(2);
  EXPECT_FALSE(slab->is_pinned(2));
  EXPECT_TRUE(say(4, true, 100, 500'000).ok());
}

TEST_F(SlabTest, DirtyPagesStayUntilTheyAreCleanOrShowNothing) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  SlabPage* const page = put(*slab, {1, 0}, 8);
  slab->set_dirty(*page, true);
  EXPECT_EQ(slab->take({2, 0}, 0, 9), nullptr);
  slab->evict(UINT64_MAX);
  EXPECT_EQ(slab->map().page_of({1, 0}, 0), page);
  EXPECT_EQ(slab->take({(uint64_t{1} << 48) + 1, 0}, 0, 1), nullptr);  // nor for another cluster
  slab->hide({1, 0}, 0, 8);
  EXPECT_EQ(slab->dirty_bytes(), 0u);
  SlabPage* const all = slab->take({2, 0}, 0, 16);
  ASSERT_NE(all, nullptr);
  slab->unhold(*all);
}

TEST_F(SlabTest, AnotherClusterGetsAFreshArenaAndNeverAPageOfThisOne) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  const ChunkKey first{1, 0};
  const ChunkKey second{(uint64_t{1} << 48) + 1, 0};
  SlabPage* const page = put(*slab, first, 4);
  std::fill_n(page->data(), 4 * kBlockBytes, std::byte{0x55});
  slab->hold(*page);
  EXPECT_EQ(slab->take(second, 0, 1), nullptr);  // the only arena is in use
  slab->unhold(*page);
  SlabPage* const other = slab->take(second, 0, 16);
  ASSERT_NE(other, nullptr);
  EXPECT_TRUE(std::all_of(other->data(), other->data() + 1 * kMiB,
                          [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(slab->map().find(first), nullptr);
  slab->unhold(*other);
}

TEST_F(SlabTest, AClusterThatComesLaterGetsAnEqualShareOfAFullSlabAndNoMore) {
  auto slab = make(4 * kMiB, 1 * kMiB);
  const uint64_t later = (uint64_t{1} << 48) + 1;
  for (uint32_t i = 0; i < 64; ++i) ASSERT_NE(put(*slab, {1, i}, 1), nullptr);
  const auto resident = [&](uint64_t inode) {
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < 1000; ++i) blocks += slab->resident_blocks({inode, i}, 0, 1);
    return blocks;
  };
  ASSERT_EQ(resident(1), 64u);
  const auto use = [&](uint64_t inode) {
    for (uint32_t i = 0; i < 1000; ++i) {
      SlabPage* const page = slab->map().page_of({inode, i}, 0);
      if (page != nullptr) return slab->used(*page);
    }
  };
  const auto write = [&](uint64_t inode, uint64_t used_meanwhile) {
    for (uint32_t i = 0; i < 1000; ++i) {
      ASSERT_NE(put(*slab, {inode, i}, 1), nullptr);
      use(used_meanwhile);
      if (i % 100 == 99) world.run_for_ns(Slab::kStealNs);
    }
  };
  write(later, 1);
  EXPECT_EQ(resident(later), 32u);
  EXPECT_EQ(resident(1), 32u);
  write(1, later);  // takes nothing back: it has its share
  EXPECT_EQ(resident(later), 32u);
  EXPECT_EQ(resident(1), 32u);
  write(1, 1);  // until the other has used nothing for as long as the slab takes to be filled
  EXPECT_EQ(resident(later), 16u);
  EXPECT_EQ(resident(1), 48u);
}

TEST_F(SlabTest, PinnedPagesKeepTheirArenasAndRoomBesideThem) {
  auto slab = make(4 * kMiB, 1 * kMiB);
  const uint64_t later = (uint64_t{1} << 48) + 1;
  slab->set_pinned(1, true);
  for (uint32_t i = 0; i < 32; ++i) ASSERT_NE(put(*slab, {1, i}, 1), nullptr);
  for (uint32_t i = 0; i < 32; ++i) ASSERT_NE(put(*slab, {2, i}, 1), nullptr);
  ASSERT_EQ(slab->pinned_bytes(), 2 * kMiB);
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_NE(put(*slab, {later, i}, 1), nullptr);
    ASSERT_NE(put(*slab, {2, i}, 1), nullptr);
    world.run_for_ns(Slab::kStealNs);
  }
  EXPECT_EQ(slab->pinned_bytes(), 2 * kMiB);
  uint32_t theirs = 0;
  for (uint32_t i = 0; i < 100; ++i) theirs += slab->resident_blocks({later, i}, 0, 1);
  EXPECT_EQ(theirs, 16u);
}

TEST_F(SlabTest, WaitersAreServedInTurnAndGiveUpInTime) {
  auto slab = make(1 * kMiB, 1 * kMiB);
  SlabPage* const all = slab->take({1, 0}, 0, 16);
  struct Waiter {
    Slab* slab;
    SlabWait wait;
    SlabPage* page = nullptr;
    Status status = Status(StatusCode::canceled);
    void on(Completion& done) {
      status = done.status;
      if (!status.ok()) return;
      page = slab->take({2, 0}, 0, 16);
      if (page == nullptr) {
        slab->wait(wait);
      } else {
        slab->served(wait);
      }
    }
  };
  Waiter waiters[3];
  for (Waiter& w : waiters) {
    w.slab = slab.get();
    w.wait.done.bind<&Waiter::on>(&w);
    slab->wait(w.wait);
  }
  slab->unhold(*all);
  world.run_ready();
  ASSERT_NE(waiters[0].page, nullptr);
  EXPECT_EQ(waiters[1].page, nullptr);
  slab->unhold(*waiters[0].page);
  world.run_ready();
  ASSERT_NE(waiters[1].page, nullptr);
  world.run_for_ns(3 * kSecond);
  EXPECT_TRUE(waiters[2].status.is(StatusCode::busy));
  EXPECT_FALSE(slab->anyone_waits());
  slab->unhold(*waiters[1].page);
}

TEST_F(SlabTest, TheMapShowsEachBlockOnceAndLetsGoOfPagesThatShowNothing) {
  auto slab = make(4 * kMiB, 4 * kMiB);
  SlabPage* const wide = put(*slab, {1, 0}, 10);
  SlabPage* const narrow = slab->take({1, 0}, 4, 2);
  slab->show(*narrow, 4, 2);
  slab->unhold(*narrow);
  EXPECT_EQ(slab->map().page_of({1, 0}, 3), wide);
  EXPECT_EQ(slab->map().page_of({1, 0}, 5), narrow);
  EXPECT_EQ(slab->map().page_of({1, 0}, 6), wide);
  EXPECT_EQ(slab->map().find({1, 0})->size(), 3u);
  slab->hide({1, 0}, 0, 4);
  EXPECT_EQ(slab->map().page_of({1, 0}, 3), nullptr);
  slab->hide({1, 0}, 6, 4);
  EXPECT_EQ(slab->used_bytes(), 2 * kBlockBytes);
  slab->evict(1);
  EXPECT_EQ(slab->used_bytes(), 0u);
}

TEST(MemfdArena, ASealedArenaCannotBeWrittenOrResizedThroughItsFile) {
  const auto source = memfd_arena_source();
  Result<ArenaSource::Arena> arena = source->make(4 * kMiB);
  ASSERT_TRUE(arena.has_value()) << arena.error().to_string();
  arena->data[0] = std::byte{1};
  EXPECT_NE(ftruncate(arena->fd, 0), 0);
  EXPECT_NE(ftruncate(arena->fd, 8 * kMiB), 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0), MAP_FAILED);
  void* const view = mmap(nullptr, 4 * kMiB, PROT_READ, MAP_SHARED, arena->fd, 0);
  ASSERT_NE(view, MAP_FAILED);
  EXPECT_EQ(static_cast<const char*>(view)[0], 1);
  munmap(view, 4 * kMiB);
  source->destroy(*arena);
  EXPECT_EQ(arena->fd, -1);
}

uint64_t shared_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssShmem:")) return std::strtoull(line.c_str() + 9, nullptr, 10) * 1024;
  }
  return 0;
}

TEST(MemfdArena, PreparedArenasHaveTheirMemoryBeforeAnybodyTouchesThem) {
  const uint64_t before_bytes = shared_memory_bytes();
  const auto source = memfd_arena_source();
  source->prepare(32 * kMiB, 3);
  const auto prepared_bytes = [&] { return shared_memory_bytes() - before_bytes; };
  for (int i = 0; i < 2000 && prepared_bytes() < 96 * kMiB; ++i) usleep(10'000);
  EXPECT_GE(prepared_bytes(), 96 * kMiB);
  for (int i = 0; i < 3; ++i) {
    Result<ArenaSource::Arena> arena = source->make(32 * kMiB);
    ASSERT_TRUE(arena.has_value()) << arena.error().to_string();
    EXPECT_EQ(arena->data[0], std::byte{0});
    EXPECT_LT(prepared_bytes(), 128 * kMiB);  // it is one of the three
    source->prepare(32 * kMiB, 0);
    source->destroy(*arena);
  }
  EXPECT_LT(prepared_bytes(), 32 * kMiB);
}

// Bytes of this process's mapping at `address` that are mapped in huge pages.
uint64_t huge_bytes_at(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("ShmemPmdMapped:")) {
      return std::strtoull(line.c_str() + 15, nullptr, 10) * 1024;
    }
  }
  return 0;
}

// Linux gives them whatever shmem_enabled says, from 6.1 on; a machine without any free 2 MiB is
// too full for this test.
TEST(MemfdArena, PreparedArenasAreInHugePages) {
  constexpr size_t kBytes = 32 * kMiB;
  const auto source = memfd_arena_source();
  source->prepare(kBytes, 2);
  Result<ArenaSource::Arena> first = source->make(kBytes);  // while it is being prepared
  ASSERT_TRUE(first.has_value());
  first->data[5 * kMiB] = std::byte{7};
  Result<ArenaSource::Arena> second = source->make(kBytes);
  ASSERT_TRUE(second.has_value());
  second->data[0] = std::byte{8};
  const auto huge = [&] { return huge_bytes_at(first->data) + huge_bytes_at(second->data); };
  for (int i = 0; i < 2000 && huge() < kBytes; ++i) usleep(10'000);
  EXPECT_GE(huge(), kBytes);
  EXPECT_EQ(first->data[5 * kMiB], std::byte{7});
  EXPECT_EQ(first->data[5 * kMiB + 1], std::byte{0});
  EXPECT_EQ(second->data[0], std::byte{8});
  source->destroy(*first);
  source->destroy(*second);
}

TEST(MemfdArena, AnArenaMayGoWhileItsMemoryIsBeingPrepared) {
  for (int round = 0; round < 20; ++round) {
    const auto source = memfd_arena_source();
    source->prepare(64 * kMiB, 2);
    for (int i = 0; i < 4; ++i) {
      Result<ArenaSource::Arena> arena = source->make(64 * kMiB);
      ASSERT_TRUE(arena.has_value()) << arena.error().to_string();
      arena->data[arena->length_bytes - 1] = std::byte{1};
      source->destroy(*arena);
      EXPECT_EQ(arena->data, nullptr);
    }
  }
}

}  // namespace
}  // namespace gd2fs
