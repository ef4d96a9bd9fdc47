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
  ~RawDrive();  // removes the files

  // Seconds for the whole of `buffer` (4 KiB aligned) to or from large file `number` of this
  // length; the write makes it and ends with fdatasync (allocating is not timed).
  Result<double> read(Bytes buffer, uint32_t number);
  Result<double> write(ConstBytes buffer, uint32_t number);
  // Removes the large files, and gives the file system half a second to tell the drive of the free
  // blocks (if it does): nothing is to be measured meanwhile.
  void remove_large();
  // `count` writes of 4 KiB at random places, each durable by itself, from `depth` threads; the
  // times in microseconds, and the seconds for all.
  Result<std::vector<double>> small_writes(uint32_t depth, uint32_t count, double* seconds);

 private:
  RawDrive() = default;
  std::string large_path(uint64_t length_bytes, uint32_t number) const;
  std::string path_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
  std::vector<std::string> large_paths_;
};

}  // namespace gd2fs
