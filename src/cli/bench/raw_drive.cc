#include "cli/bench/raw_drive.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

#include <sys/mman.h>

#include "base/check.h"
#include "base/random.h"
#include "cli/bench/bench_client.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

constexpr uint64_t kPartBytes = 1 << 20;
constexpr int kThreads = 4;  // enough transfers in flight for one NVMe drive's sequential rate

// A descriptor of a new file with its space.
Result<int> make_file(const std::string& path, uint64_t size_bytes) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Status::from_errno(errno, "open " + path + " (O_DIRECT)"));
  if (const int error = posix_fallocate(fd, 0, static_cast<off_t>(size_bytes)); error != 0) {
    close(fd);
    unlink(path.c_str());
    return fail(Status::from_errno(error, "fallocate " + path));
  }
  return fd;
}

Result<double> transfer(int fd, std::byte* data, uint64_t length, bool write) {
  CHECK(is_aligned(length, 4096));
  const double began = seconds_now();
  std::atomic<uint64_t> next = 0;
  std::atomic<int> error = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (;;) {
        const uint64_t at = next.fetch_add(kPartBytes);
        if (at >= length) return;
        const uint64_t part = std::min(length - at, kPartBytes);
        const ssize_t moved = write ? pwrite(fd, data + at, part, static_cast<off_t>(at))
                                    : pread(fd, data + at, part, static_cast<off_t>(at));
        if (moved != static_cast<ssize_t>(part)) error = moved < 0 ? errno : EIO;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (write && fdatasync(fd) != 0) error = errno;
  if (error != 0) return fail(Status::from_errno(error, write ? "raw write" : "raw read"));
  return seconds_now() - began;
}

}  // namespace

Result<RawDrive> RawDrive::open(std::string path, uint64_t small_bytes) {
  RawDrive drive;
  drive.path_ = std::move(path);
  drive.size_bytes_ = small_bytes;
  GD2FS_ASSIGN(drive.fd_, make_file(drive.path_, small_bytes));
  BenchBuffer fill(kPartBytes);
  Random(1).fill(fill.bytes());
  for (uint64_t at = 0; at < small_bytes; at += kPartBytes) {
    const uint64_t part = std::min(small_bytes - at, kPartBytes);
    if (pwrite(drive.fd_, fill.bytes().data(), part, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(part)) {
      return fail(Status::from_errno(errno, "write " + drive.path_));
    }
  }
  // What others wrote and the drive has not got yet (a build's files, up to 30 s old) goes there
  // now, and neither beside the first rows nor with their commits.
  if (syncfs(drive.fd_) != 0) return fail(Status::from_errno(errno, "syncfs"));
  return drive;
}

RawDrive::RawDrive(RawDrive&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_bytes_(other.size_bytes_),
      large_paths_(std::exchange(other.large_paths_, {})) {}

RawDrive::~RawDrive() {
  for (const std::string& path : large_paths_) unlink(path.c_str());
  if (fd_ < 0) return;
  close(fd_);
  unlink(path_.c_str());
}

std::string RawDrive::large_path(uint64_t length_bytes, uint32_t number) const {
  return path_ + "-" + std::to_string(length_bytes) + "-" + std::to_string(number);
}

Result<double> RawDrive::read(Bytes buffer, uint32_t number) {
  const std::string path = large_path(buffer.size(), number);
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return fail(Status::from_errno(errno, "open " + path));
  auto seconds = transfer(fd, buffer.data(), buffer.size(), false);
  close(fd);
  return seconds;
}

Status RawDrive::use_up_inode(const std::string& path) {
  large_paths_.push_back(path + "-empty");
  const int fd = ::open(large_paths_.back().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Status::from_errno(errno, "open " + large_paths_.back());
  close(fd);
  return {};
}

Result<double> RawDrive::write(ConstBytes buffer, uint32_t number) {
  const std::string path = large_path(buffer.size(), number);
  if (number % 2 != 0) GD2FS_TRY(use_up_inode(path));
  large_paths_.push_back(path);
  GD2FS_ASSIGN(const int fd, make_file(path, buffer.size()));
  auto seconds = transfer(fd, const_cast<std::byte*>(buffer.data()), buffer.size(), true);
  close(fd);
  return seconds;
}

Result<std::vector<double>> RawDrive::small_writes(uint32_t depth, uint32_t count,
                                                   double* seconds) {
  const int fd = ::open(path_.c_str(), O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
  if (fd < 0) return fail(Status::from_errno(errno, "open " + path_));
  std::atomic<uint32_t> left = count;
  std::atomic<int> error = 0;
  std::mutex mutex;
  std::vector<double> times;
  std::vector<std::thread> threads;
  threads.reserve(depth);
  const double began = seconds_now();
  for (uint32_t i = 0; i < depth; ++i) {
    threads.emplace_back([&, i] {
      Random random(i + 1);
      void* page = aligned_alloc(4096, 4096);
      random.fill(as_writable_bytes(page, 4096));
      std::vector<double> own;
      while (left.fetch_sub(1) - 1 < count) {  // wraps below zero to a large number
        const uint64_t at = random.below(size_bytes_ / 4096) * 4096;
        const double start = seconds_now();
        if (pwrite(fd, page, 4096, static_cast<off_t>(at)) != 4096) error = errno;
        own.push_back((seconds_now() - start) * 1e6);
      }
      free(page);
      std::lock_guard lock(mutex);
      times.insert(times.end(), own.begin(), own.end());
    });
  }
  for (std::thread& thread : threads) thread.join();
  *seconds = seconds_now() - began;
  close(fd);
  if (error != 0) return fail(Status::from_errno(error, path_));
  return times;
}

}  // namespace gd2fs
