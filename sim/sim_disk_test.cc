#include "sim/sim_disk.h"

#include <algorithm>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "sim/sim_world.h"

namespace gd2fs {
namespace {

constexpr size_t kSector = 4096;

// One transfer with its own buffer of whole sectors, each filled with one byte value.
struct Transfer {
  AlignedBuffer buffer;
  DiskOp op;
  bool finished = false;
  explicit Transfer(size_t sectors = 1) : buffer(sectors * kSector) {
    op.iov[0] = {.iov_base = buffer.data(), .iov_len = buffer.size()};
    op.iov_count = 1;
    op.done.bind<&Transfer::on_done>(this);
  }
  void on_done(Completion&) { finished = true; }
  void fill(uint8_t value) { std::ranges::fill(buffer.bytes(), std::byte{value}); }
  uint8_t sector_value(size_t sector) const {
    return static_cast<uint8_t>(buffer.data()[sector * kSector]);
  }
  // All bytes of a sector are the same: it is not torn.
  bool whole(size_t sector) const {
    const std::byte* data = buffer.data() + sector * kSector;
    return std::all_of(data, data + kSector, [&](std::byte b) { return b == data[0]; });
  }
};

struct Process {
  Loop loop;
  SimWorld::Member member;
  SimDisk disk;
  Process(SimWorld& world, SimDrive& drive)
      : loop(world.clock(), Loop::Waits::never), member(world, loop), disk(loop, drive) {}
};

struct SimDiskTest : ::testing::Test {
  SimWorld world{1};
  SimDrive drive{"d0", 1};
  std::unique_ptr<Process> process = std::make_unique<Process>(world, drive);
  SimDisk& disk() { return process->disk; }

  std::unique_ptr<DiskFile> open(std::string_view name, OpenKind kind = OpenKind::direct) {
    auto file = disk().open(name, OpenMode::create, kind);
    EXPECT_TRUE(file.has_value());
    return std::move(*file);
  }
  void submit(Transfer& t, DiskFile& file, DiskOp::Kind kind, uint64_t sector) {
    t.op.kind = kind;
    t.op.file = &file;
    t.op.offset_bytes = sector * kSector;
    disk().submit(t.op);
  }
  Status run(Transfer& t, DiskFile& file, DiskOp::Kind kind, uint64_t sector) {
    t.finished = false;
    submit(t, file, kind, sector);
    EXPECT_FALSE(t.finished);
    EXPECT_TRUE(world.run_until([&] { return t.finished; }));
    return t.op.done.status;
  }
  Status write(DiskFile& file, uint64_t sector, uint8_t value) {
    Transfer t;
    t.fill(value);
    return run(t, file, DiskOp::Kind::write, sector);
  }
  int read(DiskFile& file, uint64_t sector) {
    Transfer t;
    const Status status = run(t, file, DiskOp::Kind::read, sector);
    EXPECT_TRUE(status.ok()) << status.to_string();
    EXPECT_TRUE(t.whole(0));
    return t.op.done.value < kSector ? -1 : t.sector_value(0);
  }
  Status sync(DiskFile& file) {
    Transfer t;
    return run(t, file, DiskOp::Kind::sync, 0);
  }
  void restart_after_crash() {
    drive.crash();
    process = std::make_unique<Process>(world, drive);
  }
};

TEST_F(SimDiskTest, what_was_synced_before_a_crash_is_there_after_it_in_every_world) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("f", OpenMode::create, OpenKind::cached);
    std::vector<std::byte> data(10'000, std::byte{7});
    ASSERT_TRUE(file->write_at(3, data).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    ASSERT_TRUE(file->write_at(100, ConstBytes(data).first(1)).ok());
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = second.disk.open("f", OpenMode::existing, OpenKind::cached);
    ASSERT_TRUE(again.has_value());
    ASSERT_EQ(*(*again)->size_bytes(), 10'003u);
    std::vector<std::byte> got(10'003);
    ASSERT_EQ(*(*again)->read_at(0, got), got.size());
    EXPECT_EQ(got[2], std::byte{0});
    EXPECT_TRUE(std::equal(data.begin(), data.end(), got.begin() + 3));
  }
}

TEST_F(SimDiskTest, a_write_that_was_not_synced_is_kept_dropped_or_torn_by_whole_sectors) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SimDrive mine("d", seed);
    auto first = std::make_unique<Process>(world, mine);
    auto file = *first->disk.open("f", OpenMode::create, OpenKind::direct);
    Transfer old(3);
    old.fill('o');
    old.op.kind = DiskOp::Kind::write;
    old.op.file = file.get();
    first->disk.submit(old.op);
    ASSERT_TRUE(world.run_until([&] { return old.finished; }));
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first->disk.sync_dir("").ok());
    Transfer fresh(3);
    fresh.fill('n');
    fresh.op.kind = DiskOp::Kind::write;
    fresh.op.file = file.get();
    first->disk.submit(fresh.op);
    ASSERT_TRUE(world.run_until([&] { return fresh.finished; }));
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::direct);
    Transfer got(3);
    ASSERT_EQ(*again->read_at(0, got.buffer.bytes()), 3 * kSector);
    std::string outcome;
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(got.whole(i));
      outcome += static_cast<char>(got.sector_value(i));
    }
    outcomes.insert(outcome);
  }
  // All eight mixtures happen, so none is impossible by accident.
  EXPECT_EQ(outcomes.size(), 8u);
}

TEST_F(SimDiskTest, a_cached_write_may_be_torn_inside_a_sector) {
  bool torn = false;
  for (uint64_t seed = 0; seed < 200 && !torn; ++seed) {
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("f", OpenMode::create, OpenKind::cached);
    const std::vector<std::byte> old(kSector, std::byte{'o'});
    const std::vector<std::byte> fresh(kSector, std::byte{'n'});
    ASSERT_TRUE(file->write_at(0, old).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    ASSERT_TRUE(file->write_at(0, fresh).ok());
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::cached);
    std::vector<std::byte> got(kSector);
    ASSERT_EQ(*again->read_at(0, got), kSector);
    torn = std::ranges::count(got, std::byte{'o'}) % kSector != 0;
    for (std::byte b : got) ASSERT_TRUE(b == std::byte{'o'} || b == std::byte{'n'});
  }
  EXPECT_TRUE(torn);
}

TEST_F(SimDiskTest, a_write_that_completes_after_a_sync_started_is_not_made_durable_by_it) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 100 && !lost; ++seed) {
    SimDrive mine("d", seed,
                  {.write = {.min_ns = 10, .max_ns = 10},
                   .sync = {.min_ns = 50, .max_ns = 50},
                   .slow_one_in = 0});
    auto first = std::make_unique<Process>(world, mine);
    auto file = *first->disk.open("f", OpenMode::create, OpenKind::direct);
    ASSERT_TRUE(file->truncate(kSector).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first->disk.sync_dir("").ok());
    Transfer late;
    late.fill(9);
    Transfer flush;
    late.op.kind = DiskOp::Kind::write;
    flush.op.kind = DiskOp::Kind::sync;
    late.op.file = flush.op.file = file.get();
    first->disk.submit(flush.op);
    first->disk.submit(late.op);
    ASSERT_TRUE(world.run_until([&] { return flush.finished && late.finished; }));
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::direct);
    Transfer got;
    ASSERT_EQ(*again->read_at(0, got.buffer.bytes()), kSector);
    lost = got.sector_value(0) == 0;
  }
  EXPECT_TRUE(lost);
}

TEST_F(SimDiskTest,
       a_write_in_flight_at_a_crash_lands_in_whole_in_part_or_not_and_never_completes) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SimDrive mine("d", seed);
    auto first = std::make_unique<Process>(world, mine);
    auto file = *first->disk.open("f", OpenMode::create, OpenKind::direct);
    ASSERT_TRUE(file->truncate(2 * kSector).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first->disk.sync_dir("").ok());
    Transfer t(2);
    t.fill('n');
    t.op.kind = DiskOp::Kind::write;
    t.op.file = file.get();
    first->disk.submit(t.op);
    mine.crash();
    ASSERT_TRUE(world.run_until_idle());
    ASSERT_FALSE(t.finished);
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::direct);
    Transfer got(2);
    ASSERT_EQ(*again->read_at(0, got.buffer.bytes()), 2 * kSector);
    outcomes.insert({got.sector_value(0) != 0 ? 'n' : '-', got.sector_value(1) != 0 ? 'n' : '-'});
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"--", "-n", "n-", "nn"}));
}

TEST_F(SimDiskTest, names_not_made_durable_may_go_either_way_and_durable_ones_may_not) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SimDrive mine("d", seed);
    Process first(world, mine);
    ASSERT_TRUE(first.disk.make_dir("dir").ok());
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    {
      auto file = *first.disk.open("dir/kept", OpenMode::create, OpenKind::cached);
    }
    {
      auto file = *first.disk.open("dir/gone", OpenMode::create, OpenKind::cached);
    }
    ASSERT_TRUE(first.disk.sync_dir("dir").ok());
    {
      auto file = *first.disk.open("dir/new", OpenMode::create, OpenKind::cached);
    }
    ASSERT_TRUE(first.disk.rename("dir/new", "dir/newer").ok());
    ASSERT_TRUE(first.disk.remove("dir/gone").ok());
    mine.crash();
    Process second(world, mine);
    ASSERT_TRUE(*second.disk.exists("dir/kept"));
    std::string outcome;
    const auto names = second.disk.list("dir");
    for (const auto& name : *names) outcome += name + " ";
    outcomes.insert(outcome);
  }
  EXPECT_EQ(outcomes, (std::set<std::string>{"kept ", "gone kept ", "kept new ", "kept newer ",
                                             "gone kept new ", "gone kept newer "}));
}

TEST_F(SimDiskTest, a_truncated_tail_never_shows_its_old_bytes_after_growing_again) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("f", OpenMode::create, OpenKind::cached);
    const std::vector<std::byte> old(3 * kSector, std::byte{'o'});
    ASSERT_TRUE(file->write_at(0, old).ok());
    ASSERT_TRUE(file->truncate(5000).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    ASSERT_TRUE(file->truncate(12'000).ok());
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::cached);
    ASSERT_GE(*again->size_bytes(), 5000u);
    ASSERT_TRUE(again->truncate(12'000).ok());
    std::vector<std::byte> got(12'000);
    ASSERT_EQ(*again->read_at(0, got), got.size());
    ASSERT_EQ(std::ranges::count(got, std::byte{'o'}), 5000);
  }
}

TEST_F(SimDiskTest, a_killed_process_loses_nothing_it_wrote_but_a_later_power_failure_may) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("f", OpenMode::create, OpenKind::cached);
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    const std::vector<std::byte> data(100, std::byte{1});
    ASSERT_TRUE(file->write_at(0, data).ok());
    mine.kill();
    EXPECT_TRUE(file->write_at(0, data).is(StatusCode::unavailable));
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::cached);
    ASSERT_EQ(*again->size_bytes(), 100u);
    mine.crash();
    again.reset();
    Process third(world, mine);
    lost |= *(*third.disk.open("f", OpenMode::existing, OpenKind::cached))->size_bytes() == 0;
  }
  EXPECT_TRUE(lost);
}

TEST_F(SimDiskTest, an_ignored_sync_loses_data_that_an_honest_one_keeps) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("log", OpenMode::create, OpenKind::cached);
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    mine.ignore_syncs("lo", 1, 1);
    const std::byte one{1};
    ASSERT_TRUE(file->write_at(0, {&one, 1}).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(file->write_at(1, {&one, 1}).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_EQ(mine.counters().ignored_syncs, 1u);
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("log", OpenMode::existing, OpenKind::cached);
    ASSERT_GE(*again->size_bytes(), 1u);
    lost |= *again->size_bytes() == 1;
  }
  EXPECT_TRUE(lost);
}

TEST_F(SimDiskTest, a_hanging_drive_completes_nothing_until_it_is_resumed) {
  auto file = open("f");
  drive.hang();
  Transfer t;
  submit(t, *file, DiskOp::Kind::write, 0);
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_FALSE(t.finished);
  EXPECT_TRUE(file->sync().is(StatusCode::io));
  drive.resume();
  EXPECT_TRUE(world.run_until([&] { return t.finished; }));
  EXPECT_TRUE(t.op.done.status.ok());
}

TEST_F(SimDiskTest, a_full_drive_answers_no_space_and_removing_a_file_makes_room) {
  auto file = open("f");
  drive.set_capacity_bytes(4 * kSector);
  EXPECT_TRUE(file->allocate(0, 3 * kSector).ok());
  EXPECT_EQ(disk().space()->free_bytes, kSector);
  EXPECT_TRUE(write(*file, 2, 1).ok());  // reserved: takes nothing more
  EXPECT_TRUE(write(*file, 3, 1).ok());
  EXPECT_TRUE(write(*file, 4, 1).is(StatusCode::no_space));
  EXPECT_TRUE(file->allocate(0, 5 * kSector).is(StatusCode::no_space));
  EXPECT_EQ(*file->size_bytes(), 4 * kSector);
  EXPECT_TRUE(disk().remove("f").ok());
  EXPECT_TRUE(disk().sync_dir("").ok());
  file.reset();
  EXPECT_EQ(drive.used_bytes(), 0u);
}

TEST_F(SimDiskTest, damage_and_faults_do_what_they_say) {
  auto file = open("f");
  ASSERT_TRUE(write(*file, 0, 4).ok());
  ASSERT_TRUE(write(*file, 1, 5).ok());
  ASSERT_TRUE(drive.flip("f", 10, std::byte{0x80}).ok());
  Transfer t;
  ASSERT_TRUE(run(t, *file, DiskOp::Kind::read, 0).ok());
  EXPECT_EQ(t.buffer.data()[10], std::byte{0x84});
  EXPECT_EQ(t.buffer.data()[9], std::byte{4});
  ASSERT_TRUE(drive.set_unreadable("f", kSector).ok());
  EXPECT_TRUE(run(t, *file, DiskOp::Kind::read, 1).is(StatusCode::io));
  ASSERT_TRUE(write(*file, 1, 6).ok());
  EXPECT_EQ(read(*file, 1), 6);
  drive.set_faults({.name_prefix = "f", .read_error_ppm = 1'000'000});
  EXPECT_TRUE(run(t, *file, DiskOp::Kind::read, 1).is(StatusCode::io));
  drive.set_faults({.name_prefix = "g", .read_error_ppm = 1'000'000});
  EXPECT_EQ(read(*file, 1), 6);
  drive.set_faults({.lose_write_ppm = 1'000'000});
  EXPECT_TRUE(write(*file, 1, 7).ok());
  drive.set_faults({});
  EXPECT_EQ(read(*file, 1), 6);
  drive.set_faults({.sync_error_ppm = 1'000'000});
  EXPECT_TRUE(sync(*file).is(StatusCode::io));
}

TEST_F(SimDiskTest, after_a_failed_sync_a_later_one_does_not_bring_everything_back) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SimDrive mine("d", seed);
    Process first(world, mine);
    auto file = *first.disk.open("f", OpenMode::create, OpenKind::cached);
    ASSERT_TRUE(first.disk.sync_dir("").ok());
    const std::byte one{1};
    ASSERT_TRUE(file->write_at(0, {&one, 1}).ok());
    mine.set_faults({.sync_error_ppm = 1'000'000});
    ASSERT_TRUE(file->sync().is(StatusCode::io));
    mine.set_faults({});
    ASSERT_TRUE(file->sync().ok());
    mine.crash();
    file.reset();
    Process second(world, mine);
    auto again = *second.disk.open("f", OpenMode::existing, OpenKind::cached);
    std::byte got{9};
    if (*again->read_at(0, {&got, 1}) == 0 || got == std::byte{0}) lost = true;
  }
  EXPECT_TRUE(lost);
}

TEST_F(SimDiskTest, the_same_seed_gives_the_same_world) {
  auto trace = [](uint64_t seed) {
    SimWorld world(seed);
    SimDrive drive("d", seed);
    Process process(world, drive);
    auto file = *process.disk.open("f", OpenMode::create, OpenKind::direct);
    std::vector<uint64_t> times;
    std::vector<std::unique_ptr<Transfer>> all;
    for (size_t i = 0; i < 50; ++i) {
      all.push_back(std::make_unique<Transfer>());
      all.back()->op.kind = i % 2 == 0 ? DiskOp::Kind::write : DiskOp::Kind::sync;
      all.back()->op.file = file.get();
      process.disk.submit(all.back()->op);
    }
    for (auto& t : all) {
      world.run_until([&] { return t->finished; });
      times.push_back(world.clock().now_ns());
    }
    return times;
  };
  EXPECT_EQ(trace(5), trace(5));
  EXPECT_NE(trace(5), trace(6));
}

// Random histories against a model: every sector is one of the values that may be durable.
TEST_F(SimDiskTest, after_any_history_a_sector_holds_its_synced_value_or_a_later_one) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    constexpr size_t kSectors = 8;
    Random random(seed);
    SimDrive mine("d", seed);
    auto now = std::make_unique<Process>(world, mine);
    std::unique_ptr<DiskFile> file = *now->disk.open("f", OpenMode::create, OpenKind::direct);
    ASSERT_TRUE(file->allocate(0, kSectors * kSector).ok());
    ASSERT_TRUE(file->sync().ok());
    ASSERT_TRUE(now->disk.sync_dir("").ok());
    std::vector<std::set<uint8_t>> may(kSectors, {0});
    uint8_t value = 0;
    for (int step = 0; step < 40; ++step) {
      Transfer t;
      const uint64_t sector = random.below(kSectors);
      t.op.file = file.get();
      t.op.offset_bytes = sector * kSector;
      switch (random.below(8)) {
        case 0: {
          t.op.kind = DiskOp::Kind::sync;
          now->disk.submit(t.op);
          ASSERT_TRUE(world.run_until([&] { return t.finished; }));
          for (size_t i = 0; i < kSectors; ++i) {
            AlignedBuffer current(kSector);
            ASSERT_TRUE(file->read_at(i * kSector, current.bytes()).has_value());
            may[i] = {static_cast<uint8_t>(current.data()[0])};
          }
          break;
        }
        case 1: {
          mine.crash();
          file.reset();
          now = std::make_unique<Process>(world, mine);
          file = *now->disk.open("f", OpenMode::existing, OpenKind::direct);
          for (size_t i = 0; i < kSectors; ++i) {
            AlignedBuffer current(kSector);
            ASSERT_EQ(*file->read_at(i * kSector, current.bytes()), kSector);
            const auto got = static_cast<uint8_t>(current.data()[0]);
            ASSERT_TRUE(may[i].contains(got)) << "sector " << i << " holds " << int{got};
            may[i] = {got};
          }
          break;
        }
        default:
          t.fill(++value);
          may[sector].insert(value);
          t.op.kind = DiskOp::Kind::write;
          now->disk.submit(t.op);
          ASSERT_TRUE(world.run_until([&] { return t.finished; }));
      }
    }
  }
}

}  // namespace
}  // namespace gd2fs
