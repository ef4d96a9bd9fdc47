// Life: one life of the process that serves the metadata, over SQLite on a simulated drive, with
// one rule taken out if asked. For tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/sqlite_engine.h"
#include "meta/test_engines.h"

namespace gd2fs::meta_sim {

// Which rule is taken out, to show that the checks notice.
enum class Mutation : uint8_t { none, log_syncs_ignored, tags_forgotten, reads_unchecked };

inline constexpr uint64_t kFirstClient = 100;  // its incarnation

// A transaction as faulty code would use it: it finds no tag records, or what it reads is not
// checked at the commit.
class MutantTransaction final : public MetaTransaction {
 public:
  MutantTransaction(MetaStore& store, Mutation mutation)
      : store_(store), mutation_(mutation), inner_(store.begin()) {}
  Task<Result<std::vector<std::optional<std::string>>>> get_many(
      std::vector<std::string> keys) override {
    const std::vector<std::string> asked = keys;
    if (mutation_ == Mutation::reads_unchecked) {
      auto aside = store_.begin();
      co_return co_await aside->get_many(std::move(keys));
    }
    auto values = co_await inner_->get_many(std::move(keys));
    if (!values) co_return values;
    for (size_t i = 0; i < asked.size(); ++i) {
      // Of the clients that the checks watch.
      auto tag = parse_tag_key(asked[i]);
      if (tag && tag->incarnation >= kFirstClient) (*values)[i] = std::nullopt;
    }
    co_return values;
  }
  Task<Result<std::vector<KeyValue>>> scan(std::string begin, std::string end,
                                           size_t limit) override {
    return inner_->scan(std::move(begin), std::move(end), limit);
  }
  void put(std::string_view key, std::string_view value) override { inner_->put(key, value); }
  void remove(std::string_view key) override { inner_->remove(key); }
  void drop_writes() override { inner_->drop_writes(); }
  void answer_when_decided() override { inner_->answer_when_decided(); }
  Task<Status> commit() override { return inner_->commit(); }
  bool conflicted() const override { return inner_->conflicted(); }

 private:
  MetaStore& store_;
  Mutation mutation_;
  std::unique_ptr<MetaTransaction> inner_;
};

class MutantStore final : public MetaStore {
 public:
  MutantStore(MetaStore& inner, Mutation mutation) : inner_(inner), mutation_(mutation) {}
  std::unique_ptr<MetaTransaction> begin() override {
    return std::make_unique<MutantTransaction>(inner_, mutation_);
  }
  uint64_t revision() const override { return inner_.revision(); }
  uint64_t watch(std::string prefix, std::function<void(uint64_t)> on_change) override {
    return inner_.watch(std::move(prefix), std::move(on_change));
  }
  void unwatch(uint64_t watch_id) override { inner_.unwatch(watch_id); }
  Task<Status> close() override { return inner_.close(); }

 private:
  MetaStore& inner_;
  Mutation mutation_;
};

// Its jobs run later than what was ready when they were given: an answer that waits for none of
// them comes first, and a crash may come between.
class LateWorker final : public Worker {
 public:
  void submit(Loop& loop, Job& job) override {
    loop.post([this, &loop, &job] { inline_.submit(loop, job); });
  }

 private:
  InlineWorker inline_;
};

// One life of the process that serves the metadata.
struct Life {
  StillClock clock;
  std::unique_ptr<Loop> loop = std::make_unique<Loop>(clock, Loop::Waits::never);
  LateWorker worker;
  std::unique_ptr<SimDisk> disk;
  std::unique_ptr<SqliteMetaStore> store;
  std::unique_ptr<MutantStore> mutant;
  std::unique_ptr<Namespace> names;

  Life(SimDrive& drive, uint64_t wall_ns) : disk(std::make_unique<SimDisk>(*loop, drive)) {
    clock.ns = wall_ns;
  }
  // What still runs goes before what it uses.
  ~Life() { loop.reset(); }
  MetaStore& meta() {
    return mutant ? static_cast<MetaStore&>(*mutant) : static_cast<MetaStore&>(*store);
  }
  // Until nothing runs and no timer is left.
  void run() {
    for (;;) {
      while (loop->run_ready() > 0) {
      }
      if (loop->next_timer_ns() == UINT64_MAX) return;
      clock.ns = std::max(clock.ns, loop->next_timer_ns());
    }
  }
  template <class T>
  T finish(Task<T> task) {
    std::optional<T> out;
    loop->spawn(keep_result(std::move(task), &out));
    run();
    CHECK(out.has_value());
    return std::move(*out);
  }
};

}  // namespace gd2fs::meta_sim
