// Drive: one directory of the store: its data files, its slots, its log and index, and the worker
// that blocks for them. It moves bytes and runs jobs with a deadline; what they mean is the
// operations' business.
//
// A transfer that errs on a write, or anything that takes longer than the deadline, sets the drive
// aside: all who wait get `unavailable` at once, later calls too, and the rest of the store goes
// on. The memory of a transfer that the kernel still has stays held until it truly ends.
//
// Thread rule: the store's loop; jobs run on the drive's worker and touch only what they own, and
// `log` and `index`, which nobody else touches while the store serves.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/drive_log.h"
#include "store/extents.h"
#include "store/index_db.h"
#include "store/slab.h"
#include "store/slot_map.h"

namespace gd2fs {

struct DriveLimits {
  uint64_t data_file_bytes = 0;
  uint64_t reserve_bytes = 0;
  uint64_t deadline_ns = 0;
  // Large transfers are given to the disk while fewer bytes of them than this are there. More would
  // keep the drive no busier and make the first bytes wait for the last ones: those of one large
  // file would all end at the same time, and nothing would overlap with the network. For the same
  // reason it is at most half of what is left, once a request comes to its end: a drive that ends
  // all that it has at the same time (virtual ones do) leaves little to do behind the last bytes.
  uint64_t window_bytes = UINT64_MAX;
  // Writes may have so many times that: nothing waits for their first bytes, and what ends together
  // leaves the drive idle until the file system and we have seen to it.
  static constexpr uint64_t kWriteWindows = 2;
};

// What to move. `page` and the buffers are kept alive until the transfer truly ends: the second
// owner of a buffer is the transfer, which may outlive an operation that was answered
// `unavailable`.
struct Transfer {
  DiskOp::Kind kind = DiskOp::Kind::read;
  uint16_t file = 0;
  uint64_t offset_bytes = 0;
  iovec iov[DiskOp::kIovMax] = {};
  int iov_count = 0;
  SlabPage* page = nullptr;
  std::shared_ptr<AlignedBuffer> buffer;
  std::shared_ptr<AlignedBuffer> descriptor;  // a slot's, if it is moved with the data behind it
  // What its request will move behind it; UINT64_MAX: not known, and the drive does not taper off.
  uint64_t left_bytes = UINT64_MAX;
  void add(void* data, size_t length_bytes) {
    iov[iov_count++] = {.iov_base = data, .iov_len = length_bytes};
  }
};

struct DriveCounters {
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
};

class Drive {
 public:
  static constexpr size_t kTransfersMax = 512;  // given to the disk at once; the rest queue
  static constexpr size_t kJobsMax = 1024;
  static constexpr uint64_t kLargeBytes = 256 * 1024;  // smaller ones do not wait

  Drive(Loop& loop, uint16_t index, StoreDrive parts, Slab& slab, DriveLimits limits);
  ~Drive();
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;

  uint16_t index() const { return index_; }
  const std::string& path() const { return disk_->path(); }
  Disk& disk() { return *disk_; }
  bool serving() const { return serving_; }
  void set_serving() { serving_ = true; }
  // Logged once. Everything in flight here is answered.
  void set_aside(const Status& why);
  void on_set_aside(std::function<void(const Status&)> job) { on_set_aside_ = std::move(job); }

  // Completes with the bytes moved. A short read is io.
  void transfer(const Transfer& transfer, Completion& then);
  // Runs on the worker. `work` owns all that it touches, but for `log` and `index`.
  void run(std::move_only_function<Status()> work, Completion& then);
  // Appends to the log, durably; batched with what others append meanwhile.
  void append_log(std::vector<LogRecord> records, Completion& then);
  // Replaces the log by `content`, asked for at a moment when nothing else is on its way to the
  // log; busy if that is not now.
  void rewrite_log(const std::function<std::vector<LogRecord>()>& content, Completion& then);
  bool idle() const { return transfers_in_flight_ == 0 && jobs_in_flight_ == 0; }

  // Makes a data file of this class; completes no_space if there is no room. Callers of the same
  // class share one.
  void make_file(uint8_t slot_class, Completion& then);
  void make_file_ahead(uint8_t slot_class);  // nobody waits; full is no harm
  // Removes an empty file; not_found if there is none to spare, busy while one is on its way out.
  void remove_empty_file(bool any, Completion& then);

  // --- slots ---
  SlotMap slots;
  uint64_t offset_of(Slot slot) const {
    return slot_offset(slots.file(slot.file).slot_class, slot.slot);
  }
  int64_t place_of(Slot slot) const;
  std::string describe(Slot slot) const;  // "data/c06-0001 slot 3"
  // Readers keep a dropped slot from being freed.
  void hold(Slot slot) { ++readers_[slot]; }
  void unhold(Slot slot);
  void free_when_unread(Slot slot);

  // --- start-up and shutdown, on the worker ---
  DriveUuid uuid;
  DriveLog log;
  std::unique_ptr<IndexDb> index_db;
  uint16_t add_open_file(uint8_t slot_class, uint32_t number, uint32_t slots,
                         std::unique_ptr<DiskFile> file);
  DiskFile* file(uint16_t position) { return files_[position].get(); }
  std::unique_ptr<DiskFile> lock_file;
  std::vector<std::pair<uint8_t, uint32_t>> lost_files;  // created once, not there any more
  void forget_lost_files();
  bool incomplete = false;  // what no extent covers here is not known to be zeros

  DriveCounters counters;
  // Of the disk under it, as of the last look.
  DiskSpace space;
  uint64_t last_write_ns = 0;  // of a client; background work waits for idle time

 private:
  struct Moving;     // a transfer in the disk's hands
  struct Running;    // a job in the worker's hands
  struct Appending;  // a request for the log
  struct Making {    // callers who wait for a file of one class
    Drive* drive = nullptr;
    uint8_t slot_class = 0;
    std::vector<Completion*> waiting;
    Completion done;
    std::unique_ptr<DiskFile> file;  // what the job answers
    uint32_t number = 0;
    uint64_t slots_before = 0;  // of all files
    uint32_t slots = 0;
    void on_done(Completion&) { drive->on_file_made(slot_class); }
  };
  Status make_file_now(Making& making);  // on the worker
  Status remove_file_now(const LogRecord& record);

  void submit_next();
  Moving* next_to_submit();
  bool leaves_for_later(const Moving& moving) const;
  void on_moved(Moving& moving);
  void on_ran(Running& running);
  void on_log_appended(Completion& done);
  void start_append();
  void on_file_made(uint8_t slot_class);
  void on_file_removed(Completion& done);
  void watch_deadline();
  void on_deadline_timer(Completion&);
  Status refused() const;

  Loop& loop_;
  uint16_t index_;
  Slab& slab_;
  DriveLimits limits_;
  std::unique_ptr<Disk> disk_;
  bool serving_ = false;
  Status set_aside_;
  std::function<void(const Status&)> on_set_aside_;

  std::vector<std::unique_ptr<DiskFile>> files_;  // by SlotMap position; nullptr = lost
  List<Moving> moving_;                           // in the order given to the disk
  List<Moving> queued_;
  List<Moving> queued_large_;
  uint64_t queued_large_bytes_ = 0;
  uint64_t large_bytes_ = 0;     // in the disk's hands
  uint64_t tapering_bytes_ = 0;  // of them, of transfers that know what is left
  size_t transfers_in_flight_ = 0;
  List<Running> running_;
  size_t jobs_in_flight_ = 0;
  Timer deadline_timer_;

  std::vector<Appending> append_queue_;
  std::vector<Appending> appending_;
  Completion log_appended_;

  std::unique_ptr<Making> making_[kSlotClasses];
  uint16_t removing_ = 0;
  Completion* remove_then_ = nullptr;
  Completion removed_;
  std::map<Slot, uint32_t> readers_;
  std::set<Slot> free_later_;
  std::unique_ptr<Worker> worker_;  // first to go: its jobs touch the rest
};

}  // namespace gd2fs
