// The drive baseline, O_DIRECT on the same file system: large writes and reads from several threads
// with 1 MiB transfers each (what the drive gives sequentially), and small durable writes.
//
// A large write goes into a new, preallocated file, and a large read reads a file that was written
// so and not read since: GD2FS writes new files and reads cold ones, and a drive (or the host of a
// virtual one) is faster on blocks that it has just seen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

class RawDrive {
 public:
  // Makes and preallocates `path` of `small_bytes` and fills it, for small_writes(); the large
  // files get names beginning with it.
  static Result<RawDrive> open(std::string path, uint64_t small_bytes);
  RawDrive(RawDrive&& other) noexcept;
  RawDrive& operator=(RawDrive&&) = delete;
  // Removes the files: not sooner, because a file system may tell the drive of free blocks while
  // something is being measured, and new files would get blocks that were just written.
  ~RawDrive();

  // Seconds for the whole of `buffer` (4 KiB aligned) to or from large file `number` of this
  // length; the write makes it and ends with fdatasync (allocating is not timed).
  Result<double> read(Bytes buffer, uint32_t number);
  Result<double> write(ConstBytes buffer, uint32_t number);
  // `count` writes of 4 KiB at random places, each durable by itself, from `depth` threads; the
  // times in microseconds, and the seconds for all.
  Result<std::vector<double>> small_writes(uint32_t depth, uint32_t count, double* seconds);

 private:
  RawDrive() = default;
  std::string large_path(uint64_t length_bytes, uint32_t number) const;
  // Before every second file: ext4 goes on at one of several places of the drive, by inode number,
  // and where GD2FS and this class make a file each in turns, one would always get the same places
  // and the other one the others. Places differ in speed, where a host has written to one of late.
  Status use_up_inode(const std::string& path);
  std::string path_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
  std::vector<std::string> large_paths_;
};

}  // namespace gd2fs
