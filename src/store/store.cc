#include "store/store.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "store/ahead.h"
#include "store/background.h"
#include "store/fence_op.h"
#include "store/forget_drives.h"
#include "store/read_op.h"
#include "store/recover.h"
#include "store/scrub.h"
#include "store/write_op.h"

namespace gd2fs {
namespace {

class StoreEngine final : public Store {
 public:
  StoreEngine(Loop& loop, std::unique_ptr<ArenaSource> arenas, StoreOptions options, Random random)
      : core_(loop, std::move(arenas), std::move(options), random),
        reads_("reads_max", StoreCore::kReadsMax),
        ahead_(core_, reads_) {}

  static Task<Result<std::unique_ptr<Store>>> open(std::unique_ptr<StoreEngine> engine,
                                                   std::vector<StoreDrive> drives) {
    Recovery recovery(engine->core_, std::move(drives));
    const Status status = co_await recovery.run();
    if (!status.ok()) co_return fail(status);
    engine->begin();
    co_return std::unique_ptr<Store>(std::move(engine));
  }

  Task<Status> close() override;

  bool read_now(StoreRead& read) override {
    read.in_read_now = true;
    this->read(read);
    return !std::exchange(read.in_read_now, false);
  }
  void read(StoreRead& read) override {
    read.release();
    read.done.start();
    StoreReadState* const op = reads_.get();
    if (op == nullptr) {
      core_.loop.complete(read.done, Status(StatusCode::busy, "reads_max reached"));
      return;
    }
    op->start(core_, reads_, read);
  }

  void reserve(StoreWrite& write) override {
    write.done.start();
    StoreWriteState* const op = writes_.pool.get();
    if (op == nullptr || core_.closing) {
      if (op != nullptr) writes_.pool.put(op);
      core_.loop.complete(write.done, Status(StatusCode::busy, "writes_max reached"));
      return;
    }
    StoreWriteState::of(write) = op;
    op->reserve(core_, writes_, write);
  }

  void commit(StoreWrite& write) override {
    write.done.start();
    StoreWriteState* const op = StoreWriteState::of(write);
    if (op == nullptr) {  // replayed, or never reserved
      core_.loop.complete(write.done, write.replayed
                                          ? Status()
                                          : Status(StatusCode::invalid, "nothing is reserved"));
      return;
    }
    op->commit();
  }

  void abort(StoreWrite& write) override {
    if (StoreWriteState* const op = StoreWriteState::of(write)) op->abort();
  }

  void fence(const StoreFence& fence, Completion& done) override {
    if (fence.unlinked) core_.pins.forget(fence.inode);
    FenceOp::start(core_, fence, done);
  }

  void flush(Completion& done) override { core_.write_back.flush(done); }

  void evict(uint64_t inode) override { core_.slab.evict(inode); }
  Status pin(const StorePin& pin) override { return core_.pins.pin(pin); }
  StoreResidency residency(const ChunkKey& key, uint32_t offset_bytes,
                           uint32_t length_bytes) const override;

  bool fences_unsure() const override { return core_.fences_unsure; }
  void reached(uint64_t inode, uint64_t generation) override {
    // Not all of the table: the fences themselves need room, and keep the server's lease.
    if (core_.fences.inodes() >= FenceTable::kInodesMax / 2) return;
    if (generation <= core_.fences.generation_of(inode)) return;
    core_.fences.raise(inode, generation, core_.loop.now_ns());
  }
  bool has_drives_to_forget() const override { return !core_.to_forget.empty(); }
  Task<Status> forget_drives(std::vector<uint64_t> inode_ends) override {
    return gd2fs::forget_drives(core_, std::move(inode_ends));
  }

  Task<ScrubReport> scrub(uint64_t rate_bytes_per_s) override {
    return scrub_store(core_, rate_bytes_per_s);
  }

  StoreStats stats() const override;
  std::vector<uint64_t> inodes() const override;

 private:
  void begin() {
    background_ = std::make_unique<Background>(core_);
    core_.want_rewrite = [this](const ChunkKey& key) { background_->want_rewrite(key); };
    core_.want_ahead = [this](const StoreRead& read) { ahead_.want(read); };
    background_->start();
  }
  Task<void> quiet();
  Task<Status> close_drive(DriveUnit& unit);

  StoreCore core_;
  Pool<StoreReadState> reads_;
  Ahead ahead_;
  WriteShared writes_;
  std::unique_ptr<Background> background_;
};

// Until nothing is under way. Callers send nothing more.
Task<void> StoreEngine::quiet() {
  while (core_.operations != 0) {
    Await ended;
    ended.done().start();
    Completion* const done = &ended.done();
    core_.on_quiet = [this, done] {
      core_.on_quiet = nullptr;
      core_.loop.complete(*done, Status());
    };
    (void)co_await ended;  // ok, always
  }
}

Task<Status> StoreEngine::close() {
  core_.closing = true;
  background_->stop();
  co_await quiet();
  for (const auto& unit : core_.drives) {
    while (unit->drive.serving() && !unit->groups.idle()) {
      Await flushed;
      unit->groups.flush(flushed.done());
      const Status status = co_await flushed;
      if (!status.ok()) break;
    }
  }
  Await wiped;
  background_->wipe_all(wiped.done());
  (void)co_await wiped;  // ok, always: a drive that fails is set aside
  co_await quiet();
  Await written_back;
  core_.write_back.flush(written_back.done());
  Status first_error = co_await written_back;
  for (const auto& unit : core_.drives) {
    const Status status = co_await close_drive(*unit);
    if (first_error.ok()) first_error = status;
  }
  co_return first_error;
}

// The mark of a clean close is the last thing that is written.
Task<Status> StoreEngine::close_drive(DriveUnit& unit) {
  Drive& drive = unit.drive;
  if (!drive.serving()) co_return Status(StatusCode::unavailable, drive.path() + " was set aside");
  const bool clean = unit.groups.idle() && drive.slots.unsettled() == 0;
  const uint64_t settled = core_.versions.settled();
  Drive* const d = &drive;
  Await closing;
  drive.run(
      [d, clean, settled]() -> Status {
        const uint64_t transactions = d->index_db->transactions();
        const uint64_t digest = d->index_db->digest();
        GD2FS_TRY(d->index_db->close());
        std::vector<LogRecord> records;
        records.push_back(LogRecord::of(LogRecord::Kind::watermark, settled, transactions));
        if (clean) {
          records.push_back(LogRecord::of(LogRecord::Kind::clean_close, transactions, digest));
        }
        return d->log.append(records);
      },
      closing.done());
  const Status status = co_await closing;
  co_return status;
}

StoreResidency StoreEngine::residency(const ChunkKey& key, uint32_t offset_bytes,
                                      uint32_t length_bytes) const {
  StoreResidency residency{.pinned = core_.slab.is_pinned(key.inode)};
  if (length_bytes == 0) return residency;
  const uint32_t first_block = offset_bytes / kBlockBytes;
  const uint32_t blocks = (offset_bytes + length_bytes - 1) / kBlockBytes + 1 - first_block;
  const uint64_t bytes =
      uint64_t{core_.slab.resident_blocks(key, first_block, blocks)} * kBlockBytes;
  residency.bytes = std::min<uint64_t>(bytes, length_bytes);
  return residency;
}

StoreStats StoreEngine::stats() const {
  StoreStats stats;
  stats.chunks = core_.index.chunks();
  stats.extents = core_.index.extents();
  stats.slab_bytes = core_.slab.capacity_bytes();
  stats.slab_used_bytes = core_.slab.used_bytes();
  stats.slab_pinned_bytes = core_.slab.pinned_bytes();
  stats.slab_dirty_bytes = core_.write_back.dirty_bytes();
  stats.slab_stranded_bytes = core_.write_back.stranded_bytes();
  stats.pages_held = core_.slab.held_pages();
  stats.read_hits = core_.counters.read_hits;
  stats.read_misses = core_.counters.read_misses;
  stats.corrupt_blocks = core_.counters.corrupt_blocks;
  stats.drives = static_cast<uint32_t>(core_.drives.size());
  stats.drives_missing = static_cast<uint32_t>(core_.placement.missing());
  for (const auto& unit : core_.drives) {
    const Drive& drive = unit->drive;
    stats.used_bytes += drive.slots.taken_bytes();
    stats.total_bytes += drive.space.total_bytes;
    const uint64_t reserve_bytes = core_.options.drive_reserve_bytes;
    const uint64_t room_bytes =
        drive.space.free_bytes > reserve_bytes ? drive.space.free_bytes - reserve_bytes : 0;
    stats.free_bytes += drive.slots.free_bytes() + room_bytes;
    stats.disk_read_bytes += drive.counters.read_bytes;
    stats.disk_write_bytes += drive.counters.write_bytes;
    stats.commits += unit->groups.commits;
    stats.committed_writes += unit->groups.entries;
    stats.slots_taken += drive.slots.taken_slots();
    stats.slots_unwiped += drive.slots.unsettled();
    if (!drive.serving()) ++stats.drives_set_aside;
  }
  return stats;
}

std::vector<uint64_t> StoreEngine::inodes() const {
  std::vector<uint64_t> inodes;
  std::vector<ChunkKey> keys;
  for (uint32_t shard = 0; shard < ChunkIndex::kShards; ++shard) {
    keys.clear();
    core_.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) inodes.push_back(key.inode);
  }
  std::sort(inodes.begin(), inodes.end());
  inodes.erase(std::unique(inodes.begin(), inodes.end()), inodes.end());
  return inodes;
}

}  // namespace

void StoreRead::release() {
  for (SlabPage* page : pages_) page->slab().unhold(*page);
  pages_.clear();
  slices.clear();
}

Task<Result<std::unique_ptr<Store>>> Store::open(Loop& loop, std::vector<StoreDrive> drives,
                                                 std::unique_ptr<ArenaSource> arenas,
                                                 StoreOptions options, Random random) {
  return StoreEngine::open(
      std::make_unique<StoreEngine>(loop, std::move(arenas), std::move(options), random),
      std::move(drives));
}

}  // namespace gd2fs
