#include "meta/sqlite_vfs/log_check.h"

#include <gtest/gtest.h>

#include "meta/sqlite_vfs/database.h"
#include "sim/sim_disk.h"
#include "sim/sim_world.h"

namespace gd2fs {
namespace {

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameBytes = 24 + 4096;

struct LogCheck : testing::Test {
  LogCheck() : loop(world.clock(), Loop::Waits::never), disk(loop, drive) {}
  // The log of `commits` transactions of two pages or more, without the zeros behind them.
  std::vector<std::byte> log_of(int commits) {
    DatabaseOptions options;
    options.keep_log_on_close = true;
    auto database = Database::open(disk, "a.db", options);
    EXPECT_TRUE((*database)->exec("CREATE TABLE IF NOT EXISTS t(v)").ok());
    for (int i = 0; i < commits; ++i) {
      EXPECT_TRUE((*database)->exec("INSERT INTO t VALUES(zeroblob(6000))").ok());
    }
    database->reset();
    auto file = *disk.open("a.db-wal", OpenMode::existing, OpenKind::cached);
    std::vector<std::byte> bytes(*file->size_bytes());
    EXPECT_EQ(*file->read_at(0, bytes), bytes.size());
    EXPECT_EQ(check_log_bytes(bytes), LogCondition::whole);
    size_t end = kHeaderBytes;
    while (load_le<uint32_t>(&bytes.at(end)) != 0) end += kFrameBytes;  // the number of its page
    EXPECT_LT(end, bytes.size());
    bytes.resize(end);
    return bytes;
  }
  SimWorld world{1};
  Loop loop;
  SimDrive drive{"d", 5};
  SimDisk disk;
};

TEST_F(LogCheck, AMissingAnEmptyAndAWholeLogAreTold) {
  EXPECT_EQ(*check_database_log(disk, "a.db"), LogCondition::missing);
  const std::vector<std::byte> log = log_of(3);
  EXPECT_EQ(*check_database_log(disk, "a.db"), LogCondition::whole);
  EXPECT_EQ(check_log_bytes({}), LogCondition::whole);
  EXPECT_EQ(check_log_bytes(log), LogCondition::whole);
}

TEST_F(LogCheck, ALogThatIsCutShortAnywhereIsWhole) {
  const std::vector<std::byte> log = log_of(3);
  for (size_t size = 32; size < log.size(); size += 1021) {
    ASSERT_EQ(check_log_bytes(ConstBytes(log).first(size)), LogCondition::whole) << size;
  }
}

TEST_F(LogCheck, ADamagedFrameWithOthersBehindItIsDamage) {
  std::vector<std::byte> log = log_of(3);
  for (size_t at = 0; at < log.size(); at += at < 32 ? 1 : 1021) {
    log[at] ^= std::byte{0x20};
    const bool last = at >= log.size() - kFrameBytes;
    ASSERT_EQ(check_log_bytes(log), last ? LogCondition::whole : LogCondition::damaged) << at;
    log[at] ^= std::byte{0x20};
  }
}

TEST_F(LogCheck, WhatALongerLogBeforeLeftBehindIsNoDamage) {
  const std::vector<std::byte> longer = log_of(6);
  std::vector<std::byte> log = log_of(1);
  ASSERT_LT(log.size(), longer.size());
  log.insert(log.end(), longer.begin() + static_cast<std::ptrdiff_t>(log.size()), longer.end());
  EXPECT_EQ(check_log_bytes(log), LogCondition::whole);
}

}  // namespace
}  // namespace gd2fs
