// The drive baseline: O_DIRECT on a preallocated file of the same file system, several threads with
// 1 MiB transfers each (what the drive gives sequentially), and small durable writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs {

class RawDrive {
 public:
  // Makes and preallocates `path` and fills it once, so that writes overwrite.
  static Result<RawDrive> open(std::string path, uint64_t size_bytes);
  RawDrive(RawDrive&& other) noexcept;
  RawDrive& operator=(RawDrive&&) = delete;
  ~RawDrive();  // removes the file

  // Seconds for the whole of `buffer` (4 KiB aligned, at most the file's size); a write ends with
  // fdatasync.
  Result<double> read(Bytes buffer);
  Result<double> write(ConstBytes buffer);
  // `count` writes of 4 KiB at random places, each durable by itself, from `depth` threads; the
  // times in microseconds, and the seconds for all.
  Result<std::vector<double>> small_writes(uint32_t depth, uint32_t count, double* seconds);

 private:
  RawDrive() = default;
  Result<double> transfer(std::byte* data, uint64_t length, bool write);
  std::string path_;
  int fd_ = -1;
  uint64_t size_bytes_ = 0;
};

}  // namespace gd2fs
