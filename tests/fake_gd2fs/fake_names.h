// The fake's files: names, contents and the operations on them, without any asynchrony.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <xfer/gd2fs.h>

namespace fake {

struct File {
  uint64_t inode;
  uint64_t generation = 1;
  bool directory = false;
  uint64_t time_us;
  bool pinned = false;
  uint64_t resident_bytes = 0;  // after advice
  std::vector<unsigned char> bytes;
};

// What an operation ends with.
struct Outcome {
  uint64_t value = 0;
  uint16_t status = 0;
};
Outcome server_error(int error);

class Names {
 public:
  Names();

  // Slices in order, as in an SGE list.
  Outcome read(const std::string& path, uint64_t offset, const std::vector<xfer_gd2fs_sge>& sges);
  Outcome write(const std::string& path, uint64_t offset, const std::vector<xfer_gd2fs_sge>& sges);
  Outcome stat(const std::string& path, xfer_gd2fs_stat* stat) const;
  Outcome create(const std::string& path, uint64_t size);
  Outcome unlink(const std::string& path);
  Outcome rename(const std::string& path, const std::string& newpath);
  Outcome mkdir(const std::string& path);
  Outcome rmdir(const std::string& path);
  Outcome truncate(const std::string& path, uint64_t size);
  Outcome fsync(const std::string& path) const;
  Outcome set_pin(const std::string& path, bool pin);
  Outcome advise(const std::string& path, uint64_t offset, uint64_t length, uint16_t advice);
  Outcome readdir(const std::string& path, const std::string& after, xfer_gd2fs_dirent* entries,
                  uint32_t count) const;

 private:
  const File* find(const std::string& path) const;
  // 0, or why a new name cannot be made there.
  int parent_error(const std::string& path) const;
  bool has_children(const std::string& path) const;
  File make(bool directory);

  std::map<std::string, File> files_;  // by absolute path
  uint64_t last_inode_ = 0;
};

}  // namespace fake
