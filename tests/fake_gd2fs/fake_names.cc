#include "fake_names.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace fake {
namespace {

constexpr uint64_t kFileBytesMax = uint64_t{1} << 32;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A folder may be named with a slash at its end.
std::string folder_name(const std::string& path) {
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

// What every name below a directory begins with.
std::string prefix_of(const std::string& path) {
  return path == "/" ? path : path + "/";
}

uint64_t sum(const std::vector<xfer_gd2fs_sge>& sges) {
  uint64_t total = 0;
  for (const auto& sge : sges) total += sge.len;
  return total;
}

}  // namespace

Outcome server_error(int error) {
  return {0, static_cast<uint16_t>(error | XFER_GD2FS_STATUS_CLASS_SERVER << 8 |
                                   XFER_GD2FS_STATUS_DETAIL_CONTROLLER << 11 | 1u << 15)};
}

Names::Names() {
  files_["/"] = make(true);
}

File Names::make(bool directory) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  File file;
  file.inode = ++last_inode_;
  file.directory = directory;
  file.time_us =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  return file;
}

const File* Names::find(const std::string& path) const {
  const auto found = files_.find(path);
  return found == files_.end() ? nullptr : &found->second;
}

int Names::parent_error(const std::string& path) const {
  const File* parent = find(parent_of(path));
  if (parent == nullptr) return ENOENT;
  return parent->directory ? 0 : ENOTDIR;
}

bool Names::has_children(const std::string& path) const {
  const std::string prefix = prefix_of(path);
  const auto next = files_.upper_bound(prefix);
  return next != files_.end() && next->first.starts_with(prefix);
}

Outcome Names::read(const std::string& path, uint64_t offset,
                    const std::vector<xfer_gd2fs_sge>& sges) {
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  if (file->directory) return server_error(EISDIR);
  uint64_t moved = 0;
  for (const auto& sge : sges) {
    const uint64_t at = offset + moved;
    if (at >= file->bytes.size()) break;
    const uint64_t part = std::min<uint64_t>(sge.len, file->bytes.size() - at);
    std::memcpy(sge.addr, file->bytes.data() + at, part);
    moved += part;
    if (part < sge.len) break;
  }
  uint64_t& resident_bytes = files_[path].resident_bytes;
  resident_bytes = std::max(resident_bytes, offset + moved);
  return {moved, 0};
}

Outcome Names::write(const std::string& path, uint64_t offset,
                     const std::vector<xfer_gd2fs_sge>& sges) {
  const File* there = find(path);
  if (there == nullptr) {
    if (const int error = parent_error(path)) return server_error(error);
  } else if (there->directory) {
    return server_error(EISDIR);
  }
  const uint64_t total = sum(sges);
  if (total > kFileBytesMax || offset > kFileBytesMax - total) return server_error(ENOSPC);
  if (there == nullptr) files_[path] = make(false);
  File& file = files_[path];
  if (total > 0 && file.bytes.size() < offset + total) file.bytes.resize(offset + total);
  uint64_t at = offset;
  for (const auto& sge : sges) {
    if (sge.len > 0) std::memcpy(file.bytes.data() + at, sge.addr, sge.len);
    at += sge.len;
  }
  return {total, 0};
}

Outcome Names::stat(const std::string& path, xfer_gd2fs_stat* stat) const {
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  *stat = {};
  stat->size = file->bytes.size();
  stat->inode = file->inode;
  stat->generation = file->generation;
  stat->chunk_bytes = file->directory ? 0 : 4 << 20;
  stat->mtime_us = stat->ctime_us = file->time_us;
  stat->pin = file->pinned ? 1 : 0;
  stat->type = file->directory ? XFER_GD2FS_TYPE_DIRECTORY : XFER_GD2FS_TYPE_FILE;
  return {};
}

Outcome Names::create(const std::string& path, uint64_t size) {
  if (find(path) != nullptr) return server_error(EEXIST);
  if (const int error = parent_error(path)) return server_error(error);
  if (size > kFileBytesMax) return server_error(ENOSPC);
  files_[path] = make(false);
  files_[path].bytes.resize(size);
  return {};
}

Outcome Names::unlink(const std::string& path) {
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  if (file->directory) return server_error(EISDIR);
  files_.erase(path);
  return {};
}

Outcome Names::rename(const std::string& path, const std::string& newpath) {
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  if (const int error = parent_error(newpath)) return server_error(error);
  const File* target = find(newpath);
  if (target != nullptr && target->directory) return server_error(EISDIR);
  if (newpath.starts_with(prefix_of(path))) return server_error(EINVAL);
  std::map<std::string, File> moved;
  for (auto name = files_.begin(); name != files_.end();) {
    if (name->first == path || name->first.starts_with(prefix_of(path))) {
      moved[newpath + name->first.substr(path.size())] = std::move(name->second);
      name = files_.erase(name);
    } else {
      ++name;
    }
  }
  for (auto& [name, file_moved] : moved) {
    ++file_moved.generation;
    files_[name] = std::move(file_moved);
  }
  return {};
}

Outcome Names::mkdir(const std::string& named) {
  const std::string path = folder_name(named);
  if (find(path) != nullptr) return server_error(EEXIST);
  if (const int error = parent_error(path)) return server_error(error);
  files_[path] = make(true);
  return {};
}

Outcome Names::rmdir(const std::string& named) {
  const std::string path = folder_name(named);
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  if (!file->directory) return server_error(ENOTDIR);
  if (has_children(path)) return server_error(ENOTEMPTY);
  files_.erase(path);
  return {};
}

Outcome Names::truncate(const std::string& path, uint64_t size) {
  const File* file = find(path);
  if (file == nullptr) return server_error(ENOENT);
  if (file->directory) return server_error(EISDIR);
  if (size > kFileBytesMax) return server_error(ENOSPC);
  files_[path].bytes.resize(size);
  ++files_[path].generation;
  return {};
}

Outcome Names::fsync(const std::string& path) const {
  return find(path) == nullptr ? server_error(ENOENT) : Outcome{};
}

Outcome Names::set_pin(const std::string& path, bool pin) {
  if (find(path) == nullptr) return server_error(ENOENT);
  if (files_[path].directory) return server_error(EISDIR);
  files_[path].pinned = pin;
  return {};
}

// Memory is filled from the start of a file, as far as a prefetch went.
Outcome Names::advise(const std::string& path, uint64_t offset, uint64_t length, uint16_t advice) {
  if (find(path) == nullptr) return server_error(ENOENT);
  File& file = files_[path];
  if (file.directory) return server_error(EISDIR);
  const uint64_t size = file.bytes.size();
  const uint64_t begin = std::min(offset, size);
  const uint64_t end = length == 0 ? size : std::min(size, begin + length);
  if (advice == XFER_GD2FS_ADVICE_PREFETCH) {
    file.resident_bytes = std::max(file.resident_bytes, end);
  } else if (advice == XFER_GD2FS_ADVICE_DROP) {
    file.resident_bytes = 0;
    return {};
  }
  const uint64_t there = std::min(end, file.resident_bytes);
  return {there > begin ? there - begin : 0, 0};
}

Outcome Names::readdir(const std::string& named, const std::string& after,
                       xfer_gd2fs_dirent* entries, uint32_t count) const {
  const std::string path = folder_name(named);
  const File* directory = find(path);
  if (directory == nullptr) return server_error(ENOENT);
  if (!directory->directory) return server_error(ENOTDIR);
  const std::string prefix = prefix_of(path);
  uint64_t filled = 0;
  for (const auto& [name, file] : files_) {
    if (!name.starts_with(prefix) || name.size() == prefix.size()) continue;
    const std::string last = name.substr(prefix.size());
    if (last.find('/') != std::string::npos || last <= after) continue;
    if (filled == count) break;
    xfer_gd2fs_dirent& entry = entries[filled++];
    entry = {};
    entry.size = file.bytes.size();
    entry.mtime_us = file.time_us;
    entry.inode = file.inode;
    entry.type = file.directory ? XFER_GD2FS_TYPE_DIRECTORY : XFER_GD2FS_TYPE_FILE;
    std::memcpy(entry.name, last.c_str(), std::min(last.size(), sizeof entry.name - 1));
  }
  return {filled, 0};
}

}  // namespace fake
