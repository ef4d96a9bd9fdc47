// What the tests of this layer share: running a task to its end on a loop that waits for nothing,
// and the engines that a contract test runs over.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "loop/loop.h"
#include "meta/memory_engine.h"
#include "meta/meta_store.h"

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

enum class TestEngine : uint8_t { memory_at_once, memory_later };

inline std::vector<TestEngine> all_test_engines() {
  return {TestEngine::memory_at_once, TestEngine::memory_later};
}

inline std::string test_engine_name(TestEngine engine) {
  switch (engine) {
    case TestEngine::memory_at_once:
      return "memory_at_once";
    case TestEngine::memory_later:
      return "memory_later";
  }
  return "unknown";
}

inline std::unique_ptr<TestStore> make_test_store(TestEngine engine, uint64_t) {
  switch (engine) {
    case TestEngine::memory_at_once:
      return std::make_unique<MemoryTestStore>(MemoryMetaStore::Reads::at_once);
    case TestEngine::memory_later:
      return std::make_unique<MemoryTestStore>(MemoryMetaStore::Reads::later);
  }
  return nullptr;
}

}  // namespace gd2fs
