// SimDrive: a simulated drive as it lies in the machine: content, names, what is durable, faults.
// It outlives the processes that use it; each attaches a SimDisk. A test holds the drive, injects
// faults, and pulls the plug:
//
//   SimDrive drive("node0/d0", seed);
//   auto process = start(loop, std::make_unique<SimDisk>(loop, drive));
//   ...
//   drive.crash();      // first: pending transfers and what was not synced meet their fate
//   process.reset();    // then the process's objects, whose calls only answer unavailable now
//
// Everything random is drawn from the seed. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/list.h"
#include "base/random.h"
#include "disk/disk.h"
#include "sim/sim_inode.h"
#include "sim/sim_names.h"

namespace gd2fs {

class SimDisk;

struct SimDelay {
  uint64_t min_ns = 0;
  uint64_t max_ns = 0;
};

struct SimDriveOptions {
  uint64_t capacity_bytes = 1024 * kGiB;
  SimDelay read{.min_ns = 40 * kUs, .max_ns = 200 * kUs};
  SimDelay write{.min_ns = 10 * kUs, .max_ns = 60 * kUs};
  SimDelay sync{.min_ns = 50 * kUs, .max_ns = 1 * kMs};
  // One in so many transfers takes slow_factor times as long (0: none).
  uint32_t slow_one_in = 200;
  uint32_t slow_factor = 50;
  // The finest tear of a sector by a crash: of direct writes (4096: sectors are whole) and of
  // blocking writes, which go through a page cache.
  uint16_t direct_tear_bytes = 4096;
  uint16_t cached_tear_bytes = 512;
};

// Faults by chance, in parts per million of calls on files whose names begin with name_prefix.
struct SimFaults {
  std::string name_prefix;
  uint32_t read_error_ppm = 0;   // io
  uint32_t write_error_ppm = 0;  // io; a random part of the write may have happened
  uint32_t sync_error_ppm = 0;   // io; some of the writes will never be durable
  // Of submitted transfers only: the drive says ok, but ...
  uint32_t flip_read_ppm = 0;   // one bit of what was read is wrong, the medium is not
  uint32_t lose_write_ppm = 0;  // the old data stays
};

// One sync that a process asks a drive for, with what tells its place in the process's code from
// the others: see SimDrive::ignore_syncs.
struct SimSync {
  std::string_view name;  // of the file, or of the folder
  bool of_folder = false;
  bool submitted = false;  // through Disk::submit, not as a blocking call
  // Of a folder: the last change in it by the living process, "create x", "remove x", "rename x"
  // (to x), "make_dir x"; empty if there was none.
  std::string_view after;
  // Of a file: how the writes begin (8 bytes, little-endian) that no sync has followed; each once.
  std::span<const uint64_t> after_writes;
};

struct SimDriveCounters {
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t writes = 0;
  uint64_t write_bytes = 0;
  uint64_t syncs = 0;
  uint64_t dir_syncs = 0;
  uint64_t ignored_syncs = 0;
};

class SimDrive {
 public:
  SimDrive(std::string name, uint64_t seed, SimDriveOptions options = {});
  ~SimDrive();
  SimDrive(const SimDrive&) = delete;
  SimDrive& operator=(const SimDrive&) = delete;

  // Power fails: pending transfers vanish (a write may have happened in part), what was not synced
  // is kept, dropped or torn. Attached disks and their open files answer unavailable for ever.
  void crash();
  // Only the process dies (SIGKILL): pending writes happen in whole, in part or not; what was
  // written stays visible, but is no more durable than before.
  void kill();

  void set_faults(SimFaults faults) { faults_ = std::move(faults); }
  void set_capacity_bytes(uint64_t bytes) { options_.capacity_bytes = bytes; }
  // No submitted transfer completes until resume(); blocking calls answer io.
  void hang() { hung_ = true; }
  void resume();
  // Damages the medium: xors one byte; makes one sector unreadable (io) until written again.
  Status flip(std::string_view name, uint64_t offset_bytes, std::byte mask = std::byte{1});
  Status set_unreadable(std::string_view name, uint64_t offset_bytes);
  // The drive lies: of the syncs on files whose names begin with the prefix, `honest` more are
  // done, then `ignored` are answered ok and not done. Shows that a test notices lost syncs.
  void ignore_syncs(std::string name_prefix, uint64_t honest, uint64_t ignored);
  // The same for those of which `which` is true, of folders too.
  void ignore_syncs(std::function<bool(const SimSync&)> which, uint64_t honest = 0,
                    uint64_t ignored = UINT64_MAX);
  // Blocking writes to exactly this file are answered ok and not done.
  void ignore_writes(std::string name) { ignore_writes_to_ = std::move(name); }
  void ignore_dir_syncs(bool ignore) { ignore_dir_syncs_ = ignore; }
  // Power fails in the middle of things: at the start of the change after `changes` more (a write,
  // sync, or change of size or name; blocking calls as well as transfers). 0 disarms.
  void crash_after_changes(uint64_t changes) { changes_to_crash_ = changes; }
  // The process dies there instead (see kill()).
  void kill_after_changes(uint64_t changes) { changes_to_kill_ = changes; }

  const std::string& name() const { return name_; }
  const SimDriveCounters& counters() const { return counters_; }
  bool hung() const { return hung_; }
  // Grows whenever the processes that use the drive die, by crash_after_changes() too.
  uint64_t lives() const { return generation_; }
  uint64_t used_bytes() const { return pages_->charged_sectors * kSimSectorBytes; }

 private:
  friend class SimDisk;
  friend class SimFile;

  uint64_t draw_delay_ns(DiskOp::Kind kind);
  bool fault(std::string_view name, uint32_t ppm);
  bool sync_is_ignored(const SimSync& sync);
  void folder_changed(std::string_view name, std::string_view how);
  bool has_room(const SimInode& inode, uint64_t offset_bytes, uint64_t length_bytes) const;
  void detach_all(bool power_fails);
  void before_change();  // may be the end of the process

  std::string name_;
  Random random_;
  SimDriveOptions options_;
  std::shared_ptr<SimPages> pages_;  // shared with inodes: see SimInode
  SimNames names_;
  SimFaults faults_;
  SimDriveCounters counters_;
  List<SimDisk> disks_;
  uint64_t generation_ =
      1;  // grows when the processes die; disks and files of a lower one are dead
  bool hung_ = false;
  bool ignore_dir_syncs_ = false;
  std::string ignore_writes_to_;
  std::function<bool(const SimSync&)> ignore_which_;
  uint64_t ignore_honest_ = 0;
  uint64_t ignore_left_ = 0;
  std::map<std::string, std::string, std::less<>> folder_changes_;  // the last one, by folder
  uint64_t changes_to_crash_ = 0;
  uint64_t changes_to_kill_ = 0;
};

}  // namespace gd2fs
