// SimDisk: the Disk that one simulated process sees of a SimDrive. Transfers complete through the
// loop after a drawn delay, in drawn order, and touch the drive at the moment they complete.
// Blocking calls apply at once, in no simulated time. Destroy it before its drive and its loop.
#pragma once

#include <memory>
#include <vector>

#include "disk/disk.h"
#include "sim/sim_drive.h"

namespace gd2fs {

class SimFile;

class SimDisk final : public Disk, public ListNode<> {
 public:
  SimDisk(Loop& loop, SimDrive& drive);
  ~SimDisk() override;

  const std::string& path() const override { return drive_.name(); }
  std::string_view engine() const override { return "sim"; }
  void submit(DiskOp& op) override;
  size_t ops_pending() const { return ops_pending_; }

  Result<std::unique_ptr<DiskFile>> open(std::string_view name, OpenMode mode,
                                         OpenKind kind) override;
  Result<bool> exists(std::string_view name) override;
  Status remove(std::string_view name) override;
  Status rename(std::string_view from, std::string_view to) override;
  Status make_dir(std::string_view name) override;
  Status sync_dir(std::string_view name) override;
  Result<std::vector<std::string>> list(std::string_view dir) override;
  Result<DiskSpace> space() override;

 private:
  friend class SimDrive;
  // A transfer on its way; reused.
  struct Pending {
    SimDisk* disk = nullptr;
    DiskOp* op = nullptr;  // nullptr = free
    uint64_t sync_mark = 0;
    bool held = false;  // due, but the drive hangs
    Timer due;
    void on_due(Completion&) { disk->on_due(*this); }
  };

  Status usable() const;
  Status check(const DiskOp& op) const;
  Pending& take_pending();
  void on_due(Pending& pending);
  void finish(Pending& pending);
  Status do_read(const DiskOp& op, uint64_t* value);
  Status do_write(const DiskOp& op, uint64_t* value);
  // A write that ended with its process or in an error: all or some of its sectors land.
  void land_in_part(const DiskOp& op);
  void die(bool power_fails);
  void resume();

  Loop& loop_;
  SimDrive& drive_;
  uint64_t generation_;
  std::vector<std::unique_ptr<Pending>> pending_;  // at most kOpsMax, made as needed
  std::vector<Pending*> free_;
  size_t ops_pending_ = 0;
};

}  // namespace gd2fs
