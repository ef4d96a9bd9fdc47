// What the tests of this layer share: running a task to its end on a loop that waits for nothing,
// and the engines that a contract test runs over.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "loop/loop.h"
#include "meta/memory_engine.h"
#include "meta/meta_store.h"
#include "meta/sqlite_engine.h"
#include "sim/sim_disk.h"
#include "sim/sim_drive.h"

namespace gd2fs {

class StillClock final : public Clock {
 public:
  uint64_t now_ns() override { return ns; }
  uint64_t wall_us() override { return 1'750'000'000'000'000 + ns / 1000; }
  uint64_t ns = kSecond;
};

template <class T>
Task<void> keep_result(Task<T> task, std::optional<T>* out) {
  out->emplace(co_await task);
}

// Turns the loop until the task has ended. One that waits for what never comes is a broken test.
template <class T>
T finish(Loop& loop, Task<T> task) {
  std::optional<T> out;
  loop.spawn(keep_result(std::move(task), &out));
  while (!out && loop.run_ready() > 0) {
  }
  CHECK(out.has_value());
  return std::move(*out);
}

// A store with all that it stands on.
class TestStore {
 public:
  virtual ~TestStore() = default;
  virtual MetaStore& store() = 0;
  Loop& loop() { return loop_; }
  StillClock& clock() { return clock_; }

 protected:
  StillClock clock_;
  Loop loop_{clock_, Loop::Waits::never};
};

class MemoryTestStore final : public TestStore {
 public:
  explicit MemoryTestStore(MemoryMetaStore::Reads reads) : store_(loop_, reads) {}
  MetaStore& store() override { return store_; }

 private:
  MemoryMetaStore store_;
};

// A worker that runs its jobs when it is told to, so that a test sees what is done before.
class HeldWorker final : public Worker {
 public:
  void submit(Loop& loop, Job& job) override {
    if (held_) {
      jobs_.emplace_back(&loop, &job);
    } else {
      inline_.submit(loop, job);
    }
  }
  void hold() { held_ = true; }
  void release() {
    held_ = false;
    for (auto [loop, job] : std::exchange(jobs_, {})) inline_.submit(*loop, *job);
  }
  // The oldest; those that it makes are held.
  void release_one() {
    CHECK(!jobs_.empty());
    auto [loop, job] = jobs_.front();
    jobs_.erase(jobs_.begin());
    inline_.submit(*loop, *job);
  }
  size_t jobs() const { return jobs_.size(); }

 private:
  InlineWorker inline_;
  bool held_ = false;
  std::vector<std::pair<Loop*, Job*>> jobs_;
};

// SQLite on a simulated drive; its worker is the one thread.
class SqliteTestStore final : public TestStore {
 public:
  static constexpr uint64_t kDeployment = 77;
  // A small cache makes most reads go to the database.
  SqliteTestStore(uint64_t seed, size_t cache_bytes)
      : drive_("meta-test", seed), disk_(std::make_unique<SimDisk>(loop_, drive_)) {
    SqliteMetaOptions options;
    options.file.new_deployment_id = kDeployment;
    options.cache_bytes = cache_bytes;
    store_ = finish(loop_, SqliteMetaStore::open(loop_, *disk_, worker_, options)).value();
  }
  MetaStore& store() override { return *store_; }

 private:
  SimDrive drive_;
  InlineWorker worker_;
  std::unique_ptr<SimDisk> disk_;
  std::unique_ptr<SqliteMetaStore> store_;
};

enum class TestEngine : uint8_t { memory_at_once, memory_later, sqlite, sqlite_tiny_cache };

inline std::vector<TestEngine> all_test_engines() {
  return {TestEngine::memory_at_once, TestEngine::memory_later, TestEngine::sqlite,
          TestEngine::sqlite_tiny_cache};
}

inline std::string test_engine_name(TestEngine engine) {
  switch (engine) {
    case TestEngine::memory_at_once:
      return "memory_at_once";
    case TestEngine::memory_later:
      return "memory_later";
    case TestEngine::sqlite:
      return "sqlite";
    case TestEngine::sqlite_tiny_cache:
      return "sqlite_tiny_cache";
  }
  return "unknown";
}

inline std::unique_ptr<TestStore> make_test_store(TestEngine engine, uint64_t seed) {
  switch (engine) {
    case TestEngine::memory_at_once:
      return std::make_unique<MemoryTestStore>(MemoryMetaStore::Reads::at_once);
    case TestEngine::memory_later:
      return std::make_unique<MemoryTestStore>(MemoryMetaStore::Reads::later);
    case TestEngine::sqlite:
      return std::make_unique<SqliteTestStore>(seed, 1 << 20);
    case TestEngine::sqlite_tiny_cache:
      return std::make_unique<SqliteTestStore>(seed, 1000);
  }
  return nullptr;
}

}  // namespace gd2fs
