// For tests: a Store in memory that answers when the test says so.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "base/crc32c.h"
#include "store/store.h"

namespace gd2fs::server {

class FakeStore final : public Store {
 public:
  explicit FakeStore(Loop& loop) : loop_(loop) {}

  Task<Status> close() override { co_return Status(); }

  void read(StoreRead& read) override {
    read.done.start();
    ++reads_seen;
    ahead_bytes_seen = read.ahead_bytes;
    steps_seen.push_back({read.length_bytes, read.left_bytes, read.fill_bytes_max});
    bytes_reading += read.length_bytes;
    bytes_reading_peak = std::max(bytes_reading_peak, bytes_reading);
    reads.push_back(&read);
    if (auto_read) finish_read();
  }
  bool read_now(StoreRead& read) override {
    this->read(read);
    if (!answers_now || !auto_read) return false;
    loop_.take_back(read.done);
    return true;
  }
  // The oldest read waiting is answered, with `why` if that is an error.
  void finish_read(const Status& why = Status()) {
    StoreRead& read = *reads.front();
    reads.pop_front();
    bytes_reading -= read.length_bytes;
    read.slices.clear();
    if (!why.ok()) return loop_.complete(read.done, why);
    if (read.generation < fences[read.key.inode].generation) {
      return loop_.complete(read.done, Status(StatusCode::stale));
    }
    auto& chunk = chunks[read.key];
    for (uint32_t at = 0; at < read.length_bytes;) {
      const uint32_t offset = read.offset_bytes + at;
      StoreSlice slice;
      slice.length_bytes = std::min(read.length_bytes - at, slice_bytes - offset % slice_bytes);
      slice.zeros = chunk.size() < offset + slice.length_bytes ||
                    (alternate_holes && offset / slice_bytes % 2 == 1);
      if (!slice.zeros) {
        slice.bytes = ConstBytes(chunk).subspan(offset, slice.length_bytes);
        slice.crc = crc32c(slice.bytes);
      }
      at += slice.length_bytes;
      read.slices.push_back(slice);
    }
    read.hit = hit;
    loop_.complete(read.done, Status());
  }

  void reserve(StoreWrite& write) override {
    write.done.start();
    write.replayed = false;
    write.buffer = {};
    ++reserves_seen;
    const auto known = results.find({write.tag.incarnation, write.tag.sequence});
    if (known != results.end()) {
      write.replayed = true;
      return loop_.complete(write.done, known->second);
    }
    if (!reserve_status.ok()) return loop_.complete(write.done, reserve_status);
    auto& buffer = reserved[&write];
    buffer.assign(write.length_bytes, std::byte{0xEE});
    write.buffer = buffer;
    loop_.complete(write.done, Status());
  }
  void commit(StoreWrite& write) override {
    write.done.start();
    commits.push_back(&write);
    if (auto_commit) finish_commit();
  }
  void finish_commit(const Status& why = Status()) {
    StoreWrite& write = *commits.front();
    commits.pop_front();
    Status status = why;
    if (status.ok() && write.generation < fences[write.key.inode].generation) {
      status = Status(StatusCode::stale);
    }
    if (status.ok()) {
      auto& chunk = chunks[write.key];
      chunk.resize(std::max<size_t>(chunk.size(), write.offset_bytes + write.length_bytes));
      std::copy(write.buffer.begin(), write.buffer.end(), chunk.begin() + write.offset_bytes);
      results[{write.tag.incarnation, write.tag.sequence}] = Status();
    }
    reserved.erase(&write);
    loop_.complete(write.done, status);
  }
  void abort(StoreWrite& write) override {
    ++aborts_seen;
    reserved.erase(&write);
  }

  void fence(const StoreFence& fence, Completion& done) override {
    done.start();
    StoreFence& known = fences[fence.inode];
    if (fence_status.ok() && fence.generation > known.generation) known = fence;
    fences_seen.push_back(fence);
    loop_.complete(done, fence_status);
  }
  void flush(Completion& done) override {
    done.start();
    ++flushes_seen;
    loop_.complete(done, Status());
  }
  void evict(uint64_t inode) override { evicted.push_back(inode); }
  Status pin(const StorePin& pin) override {
    pins.push_back(pin);
    return pin_status;
  }
  StoreResidency residency(const ChunkKey& key, uint32_t offset_bytes,
                           uint32_t length_bytes) const override {
    const auto chunk = chunks.find(key);
    if (chunk == chunks.end() || chunk->second.size() <= offset_bytes) return {};
    return {.bytes = std::min<uint64_t>(chunk->second.size() - offset_bytes, length_bytes)};
  }
  Task<ScrubReport> scrub(uint64_t rate_bytes_per_s) override {
    scrub_rate = rate_bytes_per_s;
    co_await Delay(loop_, kSecond);
    ScrubReport report;
    report.extents = 3;
    report.corrupt_blocks = 1;
    report.findings = {"drive d0: inode 7 chunk 1 block 5: crc"};
    report.finished = true;
    co_return report;
  }
  StoreStats stats() const override { return store_stats; }
  std::vector<uint64_t> inodes() const override { return {}; }
  bool fences_unsure() const override { return unsure; }
  void reached(uint64_t inode, uint64_t generation) override { reached_seen[inode] = generation; }
  bool has_drives_to_forget() const override { return to_forget; }
  Task<Status> forget_drives(std::vector<uint64_t> inode_ends) override {
    to_forget = false;
    inode_ends_seen = std::move(inode_ends);
    co_return Status();
  }
  bool unsure = false;
  std::map<uint64_t, uint64_t> reached_seen;
  bool to_forget = false;
  std::vector<uint64_t> inode_ends_seen;

  std::map<ChunkKey, std::vector<std::byte>> chunks;
  std::map<uint64_t, StoreFence> fences;
  std::map<std::pair<uint64_t, uint64_t>, Status> results;  // by tag
  std::map<StoreWrite*, std::vector<std::byte>> reserved;
  std::deque<StoreRead*> reads;     // not yet answered
  std::deque<StoreWrite*> commits;  // not yet answered
  std::vector<StoreFence> fences_seen;
  std::vector<uint64_t> evicted;
  std::vector<StorePin> pins;
  Status pin_status;
  uint64_t scrub_rate = UINT64_MAX;
  StoreStats store_stats;
  Status reserve_status;
  Status fence_status;
  uint32_t slice_bytes = 1 << 20;
  bool alternate_holes = false;  // every second slice is one
  bool auto_read = true;
  bool answers_now = false;  // within the call, as for hits
  bool auto_commit = true;
  bool hit = true;
  size_t reads_seen = 0;
  uint64_t ahead_bytes_seen = 0;  // of the last read
  struct SeenStep {
    uint32_t length_bytes;
    uint64_t left_bytes;
    uint32_t fill_bytes_max;
    friend bool operator==(const SeenStep&, const SeenStep&) = default;
  };
  std::vector<SeenStep> steps_seen;
  size_t reserves_seen = 0;
  size_t aborts_seen = 0;
  size_t flushes_seen = 0;
  uint64_t bytes_reading = 0;
  uint64_t bytes_reading_peak = 0;

 private:
  Loop& loop_;
};

}  // namespace gd2fs::server
