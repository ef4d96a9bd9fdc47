// SimInode: the content of one simulated file, in 4 KiB sectors, with what is durable kept apart
// from what was only written.
//
// Every change goes into a log. sync(mark) makes the entries before the mark durable. crash() rolls
// the content back to what is durable and then decides the fate of each logged write on its own:
// kept, dropped, or torn. Changes of size and reservations are kept up to a random point, in
// order, as a file system's journal would. Sectors are held once however many versions (current,
// logged, durable) show the same bytes. One thread.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/status.h"

namespace gd2fs {

inline constexpr uint64_t kSimSectorBytes = 4096;

struct SimPage {
  uint32_t refs = 0;
  std::byte data[kSimSectorBytes];
};

// Where the sectors of one drive come from; freed ones are used again.
class SimPages {
 public:
  uint64_t charged_sectors = 0;  // disk space taken by all inodes

  SimPages() = default;
  ~SimPages();
  SimPages(const SimPages&) = delete;
  SimPages& operator=(const SimPages&) = delete;
  SimPage* get();  // one reference, bytes undefined
  void drop(SimPage* page);

 private:
  std::vector<SimPage*> free_;
};

// How much of what was not synced outlives a crash.
struct SimCrash {
  uint32_t keep_percent = 50;            // of logged writes
  uint32_t torn_percent = 25;            // of the rest: kept in part
  static SimCrash draw(Random& random);  // now and then all or nothing
};

class SimInode {
 public:
  // Shared, because an inode may outlive its drive in a file that is still open.
  explicit SimInode(std::shared_ptr<SimPages> pages) : pages_(std::move(pages)) {}
  ~SimInode();
  SimInode(const SimInode&) = delete;
  SimInode& operator=(const SimInode&) = delete;

  uint64_t size_bytes() const { return size_bytes_; }
  // How many sectors a write or reserve of this range would newly take.
  uint64_t charge_sectors(uint64_t offset_bytes, uint64_t length_bytes) const;

  // Bytes read: short at the end of the file. io if a damaged sector is touched.
  Result<size_t> read(uint64_t offset_bytes, Bytes out) const;
  // Writes with one id share their fate in a crash. tear_bytes: how finely the device may tear one
  // sector; 4096 keeps sectors whole.
  uint32_t new_write_id() { return next_id_++; }
  void write(uint32_t id, uint64_t offset_bytes, ConstBytes data, uint16_t tear_bytes);
  void truncate(uint64_t size_bytes);
  void reserve(uint64_t offset_bytes, uint64_t length_bytes);

  // How the writes begin that no sync has followed, the first kUnsyncedWritesMax; for those who
  // tell syncs apart.
  static constexpr size_t kUnsyncedWritesMax = 16;
  std::span<const uint64_t> unsynced_writes() const { return unsynced_writes_; }

  uint64_t mark() const { return log_begin_ + log_.size(); }
  void sync(uint64_t mark);
  // The device failed the sync: some of the writes before the mark will never be durable, although
  // a later sync succeeds, until they are written again.
  void sync_failed(uint64_t mark, Random& random);
  bool all_durable() const { return log_.empty(); }
  void crash(Random& random, const SimCrash& fate);

  // The advisory lock, held by an open file of a process of this generation; those before
  // alive_from are dead and hold nothing.
  bool try_lock(const void* holder, uint64_t generation, uint64_t alive_from) {
    if (lock_holder_ != nullptr && lock_holder_ != holder && lock_generation_ >= alive_from) {
      return false;
    }
    lock_holder_ = holder;
    lock_generation_ = generation;
    return true;
  }
  void unlock(const void* holder) {
    if (lock_holder_ == holder) lock_holder_ = nullptr;
  }

  // Damage to the medium, durable at once.
  void flip(uint64_t offset_bytes, std::byte mask);
  void set_unreadable(uint64_t offset_bytes);  // the sector, until it is written again

 private:
  enum class Change : uint8_t { data, cut, grow, truncate, reserve };
  struct Entry {
    uint64_t at = 0;          // data, cut: sector; grow, truncate: size; reserve: first sector
    uint64_t end = 0;         // reserve: one past the last sector
    SimPage* page = nullptr;  // data, cut: owned; nullptr = zeros
    uint32_t id = 0;
    uint16_t tear_bytes = kSimSectorBytes;
    Change change = Change::data;
    bool stuck = false;  // a failed sync left it behind
  };
  struct Slot {
    SimPage* current = nullptr;  // nullptr = zeros
    SimPage* durable = nullptr;  // only while logged > 0, else `current` is durable
    uint32_t logged = 0;         // entries of the log on this sector
    bool unreadable = false;
  };
  static constexpr uint64_t kGroupSectors = 64;
  struct Group {
    Slot slots[kGroupSectors];
  };
  struct Range {
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  Slot* find_slot(uint64_t sector) const;
  Slot& slot_at(uint64_t sector);
  // Sets a sector's content, keeping count of loose sectors. Takes over the reference.
  void set_current(uint64_t sector, Slot& slot, SimPage* page);
  void log_sector(uint64_t sector, Slot& slot, SimPage* page, Entry entry);
  void cut_sectors(uint64_t size_bytes, uint32_t id);
  bool is_reserved(uint64_t sector) const;
  void recount();
  static void add_range(std::vector<Range>& ranges, Range range);
  static void cut_ranges(std::vector<Range>& ranges, uint64_t end);
  template <class Visit>
  void visit_from(uint64_t sector, Visit visit);
  void make_durable(Entry& entry);
  void roll_back();
  void replay(Random& random, const SimCrash& fate);
  void replay_data(Entry& entry, Random& random, bool torn);
  void trim_beyond_size();
  SimPage* ref(SimPage* page) const {
    if (page != nullptr) ++page->refs;
    return page;
  }

  std::shared_ptr<SimPages> pages_;
  std::vector<std::unique_ptr<Group>> groups_;  // by sector / kGroupSectors; nullptr = zeros
  std::vector<Entry> log_;
  uint64_t log_begin_ = 0;
  uint32_t next_id_ = 1;
  uint64_t size_bytes_ = 0;
  uint64_t durable_size_bytes_ = 0;
  std::vector<Range> reserved_;  // sorted, apart
  std::vector<Range> durable_reserved_;
  uint64_t reserved_sectors_ = 0;
  std::vector<uint64_t> unsynced_writes_;  // each once
  uint64_t loose_sectors_ = 0;             // with bytes, outside reserved_
  const void* lock_holder_ = nullptr;
  uint64_t lock_generation_ = 0;
};

template <class Visit>
void SimInode::visit_from(uint64_t sector, Visit visit) {
  for (uint64_t g = sector / kGroupSectors; g < groups_.size(); ++g) {
    if (groups_[g] == nullptr) continue;
    const uint64_t base = g * kGroupSectors;
    for (uint64_t i = base < sector ? sector - base : 0; i < kGroupSectors; ++i) {
      visit(base + i, groups_[g]->slots[i]);
    }
  }
}

}  // namespace gd2fs
