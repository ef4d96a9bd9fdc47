// LocalDisk: what the engines over a real directory share: names, files, blocking calls. The
// engines add how transfers are submitted. Blocking calls from any thread, one at a time per file.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "disk/disk.h"

namespace gd2fs {

// A file descriptor that closes itself.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class LocalFile final : public DiskFile {
 public:
  LocalFile(std::string name, OwnedFd fd, OpenKind kind, bool writable)
      : DiskFile(std::move(name)), fd_(std::move(fd)), kind_(kind), writable_(writable) {}

  Result<size_t> read_at(uint64_t offset_bytes, Bytes out) override;
  Status write_at(uint64_t offset_bytes, ConstBytes data) override;
  Status sync() override;
  Result<uint64_t> size_bytes() override;
  Status truncate(uint64_t size_bytes) override;
  Status allocate(uint64_t offset_bytes, uint64_t length_bytes) override;
  Status try_lock() override;

  int fd() const { return fd_.get(); }
  OpenKind kind() const { return kind_; }
  bool writable() const { return writable_; }

 private:
  Status failed(int errno_value, std::string_view what) const;

  OwnedFd fd_;
  OpenKind kind_;
  bool writable_;
};

class LocalDisk : public Disk {
 public:
  const std::string& path() const final { return path_; }
  Result<std::unique_ptr<DiskFile>> open(std::string_view name, OpenMode mode, OpenKind kind) final;
  Result<bool> exists(std::string_view name) final;
  Status remove(std::string_view name) final;
  Status rename(std::string_view from, std::string_view to) final;
  Status make_dir(std::string_view name) final;
  Status sync_dir(std::string_view name) final;
  Result<std::vector<std::string>> list(std::string_view dir) final;
  Result<DiskSpace> space() final;

 protected:
  LocalDisk(std::string path, OwnedFd directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  void take_directory(OwnedFd directory) { directory_ = std::move(directory); }
  // Everything that can be wrong with a transfer before it is tried.
  static Status check(const DiskOp& op);

 private:
  Result<OwnedFd> open_dir(std::string_view name) const;
  Status make_direct(int fd, std::string_view name);
  Status failed(int errno_value, std::string_view what, std::string_view name) const;

  std::string path_;
  OwnedFd directory_;
  std::atomic<bool> cached_warned_{false};
};

}  // namespace gd2fs
