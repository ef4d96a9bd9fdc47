// SimFile: an open file of a SimDisk. Private to the simulated disk.
#pragma once

#include "disk/rules.h"
#include "sim/sim_drive.h"

namespace gd2fs {

class SimFile final : public DiskFile {
 public:
  SimFile(std::string name, SimDrive& drive, uint64_t generation, SimNames::File inode,
          OpenKind kind, bool writable)
      : DiskFile(std::move(name)),
        drive_(drive),
        generation_(generation),
        inode_(std::move(inode)),
        kind_(kind),
        writable_(writable) {}
  ~SimFile() override;

  Result<size_t> read_at(uint64_t offset_bytes, Bytes out) override;
  Status write_at(uint64_t offset_bytes, ConstBytes data) override;
  Status sync() override;
  Result<uint64_t> size_bytes() override;
  Status truncate(uint64_t size_bytes) override;
  Status allocate(uint64_t offset_bytes, uint64_t length_bytes) override;
  Status try_lock() override;

  SimInode& inode() { return *inode_; }
  OpenKind kind() const { return kind_; }
  bool writable() const { return writable_; }
  uint64_t generation() const { return generation_; }

 private:
  Status usable() const;
  Status changeable();

  SimDrive& drive_;
  uint64_t generation_;
  SimNames::File inode_;  // shared with the names; see SimNames::File
  OpenKind kind_;
  bool writable_;
};

}  // namespace gd2fs
