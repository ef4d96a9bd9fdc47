// Every place at which the store asks a drive for a sync, of a file or of a folder, and what a sync
// there is for: a simulated drive lies about exactly that one, and some seed must notice that
// something is lost (docs/on_disk.md, "Syncs", has the whole list, this store's and the others).
#include <algorithm>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "base/log.h"
#include "store/fences.h"
#include "store/format.h"
#include "store/sim_run.h"

namespace gd2fs {
namespace {

bool is_data(const SimSync& sync) {
  return !sync.of_folder && sync.name.starts_with("data/");
}
bool is_wiped(uint64_t first_bytes) {
  static const uint64_t begin = [] {
    std::vector<std::byte> wiped(kHeaderBytes);
    encode_wiped(wiped);
    return load_le<uint64_t>(wiped.data());
  }();
  return first_bytes == begin;
}
// Only wipes were written since the last one.
bool of_a_wipe(const SimSync& sync) {
  return is_data(sync) && sync.submitted && !sync.after_writes.empty() &&
         std::ranges::all_of(sync.after_writes, is_wiped);
}
bool of_folder(const SimSync& sync, std::string_view folder, std::string_view after) {
  return sync.of_folder && sync.name == folder && sync.after.starts_with(after);
}

struct SyncPoint {
  const char* name;
  bool (*is)(const SimSync& sync, bool opening);
};

// --- by seeds --------------------------------------------------------------------------------

class SyncPoints : public testing::TestWithParam<SyncPoint> {
 protected:
  static constexpr uint64_t kSeedsMax = 300;
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }
};

constexpr SyncPoint kPoints[] = {
    // drive_log.cc: what is appended.
    {"log_append",
     [](const SimSync& sync, bool) { return !sync.of_folder && sync.name == "drive.log"; }},
    // drive_files.cc: a new file, its name, and that of a removed one.
    {"new_file", [](const SimSync& sync,
                    bool opening) { return !opening && is_data(sync) && !sync.submitted; }},
    {"name_of_a_new_file",
     [](const SimSync& sync, bool) { return of_folder(sync, "data", "create"); }},
    // commit_group.cc: the data of a write.
    {"data",
     [](const SimSync& sync, bool opening) {
       return !opening && is_data(sync) && sync.submitted && !of_a_wipe(sync);
     }},
};

TEST_P(SyncPoints, some_seed_notices_that_it_is_left_out) {
  const SyncPoint& point = GetParam();
  for (uint64_t seed = 1; seed <= kSeedsMax; ++seed) {
    SimRun mutated(seed, {.lose_syncs = point.is});
    const std::string finding = mutated.run();
    if (finding.empty()) continue;
    SimRun control(seed, {.lose_syncs = [](const SimSync&, bool) { return false; }});
    ASSERT_EQ(control.run(), "") << "GD2FS_SIM_SEED=" << seed << " without the mutation";
    RecordProperty("seed", std::to_string(seed));
    RecordProperty("finding", finding);
    return;
  }
  FAIL() << "no seed up to " << kSeedsMax << " notices";
}

INSTANTIATE_TEST_SUITE_P(Store, SyncPoints, testing::ValuesIn(kPoints),
                         [](const auto& info) { return std::string(info.param.name); });

// --- by two deaths ---------------------------------------------------------------------------
// What a sync in a start is for shows only when a process is killed, and the power fails in or soon
// after the next start. Every pair of moments is tried, so no seed has to find it.

struct Deaths {
  uint64_t seed = 1;
  uint64_t killed_at =
      0;  // the change of the first life, counted from when it serves; 0: from its start
  uint64_t power_at = 0;  // the change of the second start
  bool rebuild = false;   // by the third one
};

class TwoDeaths {
 public:
  TwoDeaths(const Deaths& deaths, const SyncPoint* lie) : deaths_(deaths), t_(deaths.seed, 1, {}) {
    t_.options.data_file_bytes = 512 * kKiB;
    t_.options.drive_reserve_bytes = 512 * kKiB;
    if (lie == nullptr) return;
    drive().ignore_syncs([this, lie](const SimSync& sync) { return lie->is(sync, opening_); });
  }
  ~TwoDeaths() { t_.stop(); }

  // Empty, or what is wrong. Whether both deaths came is in `both`.
  std::string run(bool* both) {
    const uint64_t first = drive().lives();
    if (deaths_.killed_at != 0) {
      if (const Status status = open(); !status.ok()) return "first open: " + status.to_string();
      drive().kill_after_changes(deaths_.killed_at);
      work();
    }
    const bool killed = deaths_.killed_at == 0 || drive().lives() != first;
    drive().kill();
    t_.stop();
    const uint64_t second = drive().lives();
    drive().crash_after_changes(deaths_.power_at);
    const Status opened = open();
    *both = killed && drive().lives() != second;
    drive().crash();
    t_.stop();
    if (!*both && !opened.ok()) return "second open: " + opened.to_string();
    t_.options.rebuild = deaths_.rebuild;
    if (const Status status = open(); !status.ok()) return "third open: " + status.to_string();
    return check();
  }

 private:
  static constexpr uint32_t kChunks = 4;
  static constexpr uint64_t kInode = 7;
  static constexpr size_t kBytes = 128 * kKiB;

  SimDrive& drive() { return *t_.drives[0]; }
  Status open() {
    const uint64_t lives = drive().lives();
    opening_ = true;
    const Status status = t_.open([&] { return drive().lives() != lives; });
    opening_ = false;
    return drive().lives() == lives ? status : Status(StatusCode::unavailable, "died");
  }
  bool alive(uint64_t lives) { return drive().lives() == lives; }

  // Writes, one over another, and a cut; until the process is dead.
  void work() {
    const uint64_t lives = drive().lives();
    for (uint64_t round = 0; round < 3 && alive(lives); ++round) {
      for (uint32_t chunk = 0; chunk < kChunks && alive(lives); ++chunk) {
        write(chunk, std::string(kBytes, static_cast<char>('a' + round)), lives);
      }
    }
  }
  void write(uint32_t chunk, const std::string& data, uint64_t lives) {
    StoreWrite w;
    w.key = {.inode = kInode, .chunk = chunk};
    w.tag = {.incarnation = 1, .sequence = ++sequence_, .low = 1};
    w.length_bytes = static_cast<uint32_t>(data.size());
    maybe_[chunk] = data;
    if (!step(w, lives, [&] { t_.store->reserve(w); })) return;
    std::copy(data.begin(), data.end(), reinterpret_cast<char*>(w.buffer.data()));
    if (!step(w, lives, [&] { t_.store->commit(w); })) return;
    surely_[chunk] = data;
  }
  // One call and its end. False: it failed, or the process died meanwhile.
  template <class Call>
  bool step(StoreWrite& w, uint64_t lives, Call call) {
    bool ended = false;
    w.done.bind(&ended, [](void* flag, Completion&) { *static_cast<bool*>(flag) = true; });
    call();
    t_.world.run_until([&] { return ended || !alive(lives); });
    if (!ended) t_.stop();  // before the write goes
    return ended && alive(lives) && w.done.status.ok();
  }

  std::string check() {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      const std::string got = t_.read({.inode = kInode, .chunk = chunk}, 0, kBytes);
      const std::string before = surely_.contains(chunk) ? surely_[chunk] : std::string(kBytes, 0);
      if (got == before || (maybe_.contains(chunk) && got == maybe_[chunk])) continue;
      return "chunk " + std::to_string(chunk) + " reads " + got.substr(0, 60);
    }
    const ScrubReport report = t_.scrub();
    if (report.corrupt_blocks != 0) return "scrub: " + report.findings.front();
    return "";
  }

  Deaths deaths_;
  TestStore t_;
  bool opening_ = false;
  uint64_t sequence_ = 0;
  std::map<uint32_t, std::string> surely_;
  std::map<uint32_t, std::string> maybe_;
};

constexpr SyncPoint kPointsOfStarts[] = {
    // open_drive.cc, write_id(): each copy, before the other is touched.
    {"drive_id", [](const SimSync& sync, bool) { return sync.name == "drive.id"; }},
    // open_drive.cc, identify(): the names of a new drive.
    {"names_of_a_new_drive",
     [](const SimSync& sync, bool opening) {
       return opening && of_folder(sync, "", "make_dir data");
     }},
    // open_drive.cc, finish_making(): a file that a killed process made and the log does not know.
    {"file_found",
     [](const SimSync& sync, bool opening) { return opening && is_data(sync) && !sync.submitted; }},
    // open_drive.cc, open_steps(): its name.
    {"name_of_a_file_found",
     [](const SimSync& sync, bool opening) { return opening && of_folder(sync, "data", ""); }},
    // drive_log.cc: the log made anew, and its name.
    {"log_made_anew",
     [](const SimSync& sync, bool) { return !sync.of_folder && sync.name == "drive.log.new"; }},
    {"name_of_the_log",
     [](const SimSync& sync, bool) { return of_folder(sync, "", "rename drive.log"); }},
    // recover.cc, rebuild.cc, free_scan.cc: what a killed process wrote, before it counts.
    {"data_found",
     [](const SimSync& sync, bool opening) {
       return opening && is_data(sync) && sync.submitted && !of_a_wipe(sync);
     }},
};

class SyncPointsOfStarts : public SyncPoints {
 protected:
  static constexpr uint64_t kSeedsOfFirstStarts = 40;
  static constexpr uint64_t kSeeds = 2;
  static constexpr uint64_t kKilledAtMax = 60;
  static constexpr uint64_t kPowerAtMax = 80;

  // The first pair of deaths that is noticed; nullopt: none is.
  static std::optional<Deaths> first_noticed(const SyncPoint* lie, std::string* finding) {
    // A first start that dies is soon over, and what the crash keeps of few names is much a matter
    // of luck.
    for (Deaths deaths; deaths.seed <= kSeedsOfFirstStarts; ++deaths.seed) {
      if (noticed_after_kill(deaths, lie, finding)) return deaths;
    }
    for (Deaths deaths; deaths.seed <= kSeeds; ++deaths.seed) {
      for (deaths.killed_at = 1; deaths.killed_at <= kKilledAtMax; ++deaths.killed_at) {
        if (noticed_after_kill(deaths, lie, finding)) return deaths;
      }
    }
    return std::nullopt;
  }

 private:
  // Tries every later moment for the power to fail.
  static bool noticed_after_kill(Deaths& deaths, const SyncPoint* lie, std::string* finding) {
    bool both = true;
    for (deaths.power_at = 1; both && deaths.power_at <= kPowerAtMax; ++deaths.power_at) {
      for (const bool rebuild : {false, true}) {
        deaths.rebuild = rebuild;
        TwoDeaths two(deaths, lie);
        *finding = two.run(&both);
        if (!finding->empty()) return true;
      }
    }
    return false;
  }
};

TEST_P(SyncPointsOfStarts, some_pair_of_deaths_notices_that_it_is_left_out) {
  std::string finding;
  const std::optional<Deaths> found = first_noticed(&GetParam(), &finding);
  ASSERT_TRUE(found.has_value());
  bool both = false;
  EXPECT_EQ(TwoDeaths(*found, nullptr).run(&both), "") << "without the mutation";
  RecordProperty("finding", finding);
}

TEST_F(SyncPointsOfStarts, no_pair_of_deaths_loses_anything) {
  std::string finding;
  const std::optional<Deaths> found = first_noticed(nullptr, &finding);
  ASSERT_FALSE(found.has_value()) << finding << ": seed " << found->seed << ", killed at "
                                  << found->killed_at << ", power at " << found->power_at
                                  << (found->rebuild ? ", rebuild" : "");
}

INSTANTIATE_TEST_SUITE_P(Store, SyncPointsOfStarts, testing::ValuesIn(kPointsOfStarts),
                         [](const auto& info) { return std::string(info.param.name); });

// --- by what is long forgotten -----------------------------------------------------------------
// A fence's record goes when nothing that it cut can be found on the drive any more. What makes
// that true must be durable by then, or a later loss of power brings back what was unlinked.

class SyncPointsOfForgotten : public SyncPoints {
 protected:
  static constexpr uint64_t kSeeds = 30;
  static constexpr uint64_t kInode = 1;
  static constexpr uint32_t kChunks = 40;
  static constexpr uint64_t kFencesToGrow = 15'000;

  // What comes back; empty: nothing. `asked` counts the syncs of the kind.
  using History = std::string (*)(TestStore& t);
  static std::string run(uint64_t seed, bool lie, bool (*is)(const SimSync&), History history,
                         int* asked) {
    TestStore t(seed, 1, {.capacity_bytes = 16 * kMiB});
    t.drives[0]->ignore_syncs([=](const SimSync& sync) {
      if (!is(sync)) return false;
      ++*asked;
      return lie;
    });
    EXPECT_TRUE(t.open().ok());
    const std::string failed = history(t);
    if (!failed.empty()) return failed;
    t.world.run_for_ns(FenceTable::kRetentionNs + 120 * kSecond);
    // The drive log forgets when it is made anew, which is when it has grown.
    for (uint64_t generation = 1; generation <= kFencesToGrow; ++generation) {
      const Status status = t.fence({.inode = kInode + 2, .generation = generation});
      if (!status.ok()) return "fence: " + status.to_string();
    }
    t.world.run_for_ns(60 * kSecond);
    EXPECT_TRUE(t.crash_and_open().ok());
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      const std::string seen = t.read({kInode, chunk}, 0, kBlockBytes);
      if (seen != std::string(kBlockBytes, '\0')) {
        return "chunk " + std::to_string(chunk) + " reads " + seen.substr(0, 60);
      }
    }
    return "";
  }
  static std::string write_and_unlink(TestStore& t) {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      const Status status = t.write({kInode, chunk}, 0, std::string(kBlockBytes, 'x'));
      if (!status.ok()) return "write: " + status.to_string();
    }
    const Status status =
        t.fence({.inode = kInode, .generation = 1, .keep_bytes = 0, .unlinked = true});
    return status.ok() ? "" : "fence: " + status.to_string();
  }
  // The room of the small slots is wanted for large ones, before they are wiped in idle time.
  static std::string write_and_unlink_and_fill(TestStore& t) {
    std::string failed = write_and_unlink(t);
    for (uint32_t chunk = 0; failed.empty() && chunk < 16; ++chunk) {
      const Status status = t.write({kInode + 1, chunk}, 0, std::string(kMiB, 'y'));
      if (!status.ok() && !status.is(StatusCode::no_space)) failed = "fill: " + status.to_string();
    }
    t.drives[0]->set_capacity_bytes(kGiB);  // for the drive log, which is to grow
    return failed;
  }

  static void expect_noticed(bool (*is)(const SimSync&), History history) {
    int asked = 0;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      ASSERT_EQ(run(seed, false, is, history, &asked), "") << seed << ", without the mutation";
      ASSERT_GT(asked, 0) << "the history does not go there";
      if (!run(seed, true, is, history, &asked).empty()) return;
    }
    FAIL() << "no seed up to " << kSeeds << " notices";
  }
};

// wipe.cc: that a slot's content is gone.
TEST_F(SyncPointsOfForgotten, some_seed_notices_that_a_wipe_is_not_durable) {
  expect_noticed(of_a_wipe, write_and_unlink);
}

// drive_files.cc: that a data file is gone.
TEST_F(SyncPointsOfForgotten, some_seed_notices_that_a_removal_is_not_durable) {
  expect_noticed([](const SimSync& sync) { return of_folder(sync, "data", "remove"); },
                 write_and_unlink_and_fill);
}

}  // namespace
}  // namespace gd2fs
