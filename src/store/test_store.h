// TestStore: a Store on simulated drives, for tests: open, crash, reopen, and calls that wait.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sim/sim_disk.h"
#include "sim/sim_world.h"
#include "store/store.h"

namespace gd2fs {

inline std::string pattern(size_t length_bytes, uint64_t seed) {
  std::string text(length_bytes, '\0');
  Random(seed).fill(as_writable_bytes(text.data(), text.size()));
  return text;
}

class TestStore {
 public:
  explicit TestStore(uint64_t seed, size_t drives = 1, SimDriveOptions drive_options = {})
      : world(seed) {
    for (size_t i = 0; i < drives; ++i) {
      this->drives.push_back(std::make_unique<SimDrive>("d" + std::to_string(i),
                                                        world.random().next(), drive_options));
    }
    options.deployment_id = 7;
    options.slab_bytes = 8 * kMiB;
    options.arena_bytes = 8 * kMiB;
    options.data_file_bytes = 4 * kMiB;
    options.drive_reserve_bytes = 1 * kMiB;
  }
  ~TestStore() { stop(); }

  // Another process's life begins: a loop and a store on the drives as they are. `died`: asked
  // between turns; then the answer is canceled, and stop() comes next.
  Status open(const std::function<bool()>& died = [] { return false; }) {
    loop = std::make_unique<Loop>(world.clock(), Loop::Waits::never);
    member = std::make_unique<SimWorld::Member>(world, *loop);
    std::vector<StoreDrive> parts;
    for (const auto& drive : drives) {
      if (drive == nullptr) continue;
      parts.push_back({std::make_unique<SimDisk>(*loop, *drive), std::make_unique<InlineWorker>()});
    }
    return finish_task(run_open(this, std::move(parts)), died);
  }
  Status close(const std::function<bool()>& died = [] { return false; }) {
    const Status status = finish_task(run_close(this), died);
    stop();
    return status;
  }
  void crash() {
    for (const auto& drive : drives) {
      if (drive != nullptr) drive->crash();
    }
    stop();
  }
  void kill() {
    for (const auto& drive : drives) {
      if (drive != nullptr) drive->kill();
    }
    stop();
  }
  void stop() {
    store.reset();
    member.reset();
    loop.reset();
  }
  Status crash_and_open() {
    crash();
    return open();
  }

  // --- calls that wait ---
  Status wait(Completion& done) {
    EXPECT_TRUE(world.run_until([&] { return !done.pending() || called_; }));
    return done.status;
  }
  void arm(Completion& done) {
    called_ = false;
    done.bind(this, [](void* self, Completion&) { static_cast<TestStore*>(self)->called_ = true; });
  }
  Status finish(Completion& done) {
    EXPECT_TRUE(world.run_until([&] { return called_; }));
    return done.status;
  }

  Status write(StoreWrite& w, ConstBytes data) {
    w.length_bytes = static_cast<uint32_t>(data.size());
    arm(w.done);
    store->reserve(w);
    const Status reserved = finish(w.done);
    if (!reserved.ok() || w.replayed) return reserved;
    EXPECT_EQ(w.buffer.size(), data.size());
    std::copy(data.begin(), data.end(), w.buffer.begin());
    arm(w.done);
    store->commit(w);
    return finish(w.done);
  }
  Status write(ChunkKey key, uint64_t offset_bytes, const std::string& data,
               uint64_t generation = 0) {
    StoreWrite w;
    w.key = key;
    w.offset_bytes = static_cast<uint32_t>(offset_bytes);
    w.generation = generation;
    return write(w, as_bytes(data.data(), data.size()));
  }
  Status read(StoreRead& r) {
    arm(r.done);
    store->read(r);
    return finish(r.done);
  }
  // The bytes, or the status in words.
  std::string read(ChunkKey key, uint64_t offset_bytes, uint64_t length_bytes,
                   uint64_t generation = 0) {
    StoreRead r;
    r.key = key;
    r.offset_bytes = static_cast<uint32_t>(offset_bytes);
    r.length_bytes = static_cast<uint32_t>(length_bytes);
    r.generation = generation;
    const Status status = read(r);
    if (!status.ok()) return status.to_string();
    return bytes_of(r);
  }
  static std::string bytes_of(const StoreRead& r) {
    std::string bytes;
    for (const StoreSlice& slice : r.slices) {
      if (slice.zeros) {
        bytes.append(slice.length_bytes, '\0');
      } else {
        bytes.append(reinterpret_cast<const char*>(slice.bytes.data()), slice.bytes.size());
      }
    }
    return bytes;
  }
  Status fence(const StoreFence& fence) {
    Completion done;
    arm(done);
    store->fence(fence, done);
    return finish(done);
  }
  Status forget_drives(std::vector<uint64_t> inode_ends) {
    return finish_task(run_forget(this, std::move(inode_ends)), [] { return false; });
  }
  ScrubReport scrub() {
    finished_ = false;
    loop->spawn(run_scrub(this));
    EXPECT_TRUE(world.run_until([&] { return finished_; }));
    return report_;
  }

  SimWorld world;
  std::vector<std::unique_ptr<SimDrive>> drives;  // nullptr: taken out
  StoreOptions options;
  std::unique_ptr<Loop> loop;
  std::unique_ptr<SimWorld::Member> member;
  std::unique_ptr<Store> store;

 private:
  Status finish_task(Task<void> task, const std::function<bool()>& died) {
    finished_ = false;
    status_ = Status(StatusCode::canceled, "the simulated process died");
    loop->spawn(std::move(task));
    EXPECT_TRUE(world.run_until([&] { return finished_ || died(); }));
    return status_;
  }
  static Task<void> run_open(TestStore* self, std::vector<StoreDrive> parts) {
    auto opened = co_await Store::open(*self->loop, std::move(parts), plain_arena_source(),
                                       self->options, Random(self->world.random().next()));
    self->status_ = opened ? Status() : opened.error();
    if (opened) self->store = std::move(*opened);
    self->finished_ = true;
  }
  static Task<void> run_close(TestStore* self) {
    self->status_ = co_await self->store->close();
    self->finished_ = true;
  }
  static Task<void> run_forget(TestStore* self, std::vector<uint64_t> inode_ends) {
    self->status_ = co_await self->store->forget_drives(std::move(inode_ends));
    self->finished_ = true;
  }
  static Task<void> run_scrub(TestStore* self) {
    self->report_ = co_await self->store->scrub(0);
    self->finished_ = true;
  }

  bool called_ = false;
  bool finished_ = false;
  Status status_;
  ScrubReport report_;
};

}  // namespace gd2fs
