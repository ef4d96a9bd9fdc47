// What only a real kernel can show: full and odd file systems, forbidden io_uring, threads, leaks.
#include "disk/local_disk.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sched.h>
#include <signal.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/log.h"

namespace gd2fs {
namespace {

// Lines logged while it lives.
class LogRecorder {
 public:
  LogRecorder() {
    lines().clear();
    set_log_sink([](LogLevel, std::string_view line) { lines().emplace_back(line); });
  }
  ~LogRecorder() { set_log_sink(nullptr); }
  static std::vector<std::string>& lines() {
    static std::vector<std::string> all;
    return all;
  }
};

class TempFolder {
 public:
  TempFolder() {
    std::string path = std::filesystem::temp_directory_path() / "gd2fs-disk-test-XXXXXX";
    CHECK(mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct TestOp {
  AlignedBuffer buffer;
  DiskOp op;
  bool finished = false;
  explicit TestOp(size_t length_bytes) : buffer(length_bytes) {
    op.iov[0] = {.iov_base = buffer.data(), .iov_len = length_bytes};
    op.iov_count = 1;
    op.done.bind<&TestOp::on_done>(this);
  }
  void on_done(Completion&) { finished = true; }
  Status run(Loop& loop, Disk& disk, DiskFile& file, DiskOp::Kind kind, uint64_t offset_bytes) {
    finished = false;
    op.file = &file;
    op.kind = kind;
    op.offset_bytes = offset_bytes;
    disk.submit(op);
    while (!finished) loop.turn(UINT64_MAX);
    return op.done.status;
  }
};

// Runs on a thread of its own, which may be crippled: mounts and system call rules are per thread.
template <class Body>
void on_own_thread(Body body) {
  std::thread thread(body);
  thread.join();
}

// Mounts that only this thread sees and that end with it.
void enter_private_mounts() {
  ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "this test mounts small file systems: run it as root";
  ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
}

bool shell(const std::string& command) {
  return std::system(command.c_str()) == 0;  // NOLINT(concurrency-mt-unsafe)
}

size_t open_fds() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

class EngineTest : public ::testing::TestWithParam<DiskEngine> {};
INSTANTIATE_TEST_SUITE_P(Engines, EngineTest,
                         ::testing::Values(DiskEngine::io_uring, DiskEngine::threads),
                         [](const auto& info) {
                           return info.param == DiskEngine::threads ? "threads" : "io_uring";
                         });

void fill_small_ext4(DiskEngine engine) {
  TempFolder folder;
  ASSERT_NO_FATAL_FAILURE(enter_private_mounts());
  const std::string image = folder.path() + "/image";
  const std::string target = folder.path() + "/mounted";
  ASSERT_TRUE(shell("truncate -s 8M " + image + " && mkfs.ext4 -q -O ^has_journal " + image));
  ASSERT_TRUE(std::filesystem::create_directory(target));
  ASSERT_TRUE(shell("mount -o loop " + image + " " + target));
  {
    RealClock clock;
    Loop loop(clock, Loop::Waits::epoll);
    auto disk = *open_disk(loop, target, engine);
    auto file = *disk->open("f", OpenMode::create, OpenKind::direct);
    EXPECT_TRUE(file->allocate(0, 100 * kMiB).is(StatusCode::no_space));
    EXPECT_EQ(*file->size_bytes(), 0u);
    TestOp op(1 * kMiB);
    Status status;
    uint64_t written_mib = 0;
    while (status.ok() && written_mib < 100) {
      status = op.run(loop, *disk, *file, DiskOp::Kind::write, written_mib++ * kMiB);
    }
    EXPECT_TRUE(status.is(StatusCode::no_space)) << status.to_string();
    EXPECT_EQ(op.op.done.value, 0u);
    auto cached = *disk->open("g", OpenMode::create, OpenKind::cached);
    const std::vector<std::byte> data(1 * kMiB, std::byte{1});
    EXPECT_TRUE(cached->write_at(0, data).is(StatusCode::no_space));
    // What was written before is whole.
    EXPECT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::read, 0).ok());
    EXPECT_EQ(op.op.done.value, 1 * kMiB);
  }
  EXPECT_EQ(umount(target.c_str()), 0);
}

TEST_P(EngineTest, a_full_file_system_answers_no_space_to_every_kind_of_write) {
  on_own_thread([engine = GetParam()] { fill_small_ext4(engine); });
}

void use_ramfs(DiskEngine engine) {
  TempFolder folder;
  ASSERT_NO_FATAL_FAILURE(enter_private_mounts());
  ASSERT_EQ(mount("none", folder.path().c_str(), "ramfs", 0, nullptr), 0);
  {
    RealClock clock;
    Loop loop(clock, Loop::Waits::epoll);
    auto disk = *open_disk(loop, folder.path(), engine);
    LogRecorder log;
    auto file = *disk->open("f", OpenMode::create_new, OpenKind::direct);
    auto other = *disk->open("g", OpenMode::create_new, OpenKind::direct);
    EXPECT_EQ(LogRecorder::lines().size(), 1u);
    TestOp op(8192);
    op.buffer.data()[8191] = std::byte{7};
    ASSERT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::write, 4096).ok());
    TestOp got(16384);
    ASSERT_TRUE(got.run(loop, *disk, *file, DiskOp::Kind::read, 0).ok());
    EXPECT_EQ(got.op.done.value, 12288u);
    EXPECT_EQ(got.buffer.data()[12287], std::byte{7});
    EXPECT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::read, 1).is(StatusCode::invalid));
  }
  EXPECT_EQ(umount(folder.path().c_str()), 0);
}

TEST_P(EngineTest, a_file_system_without_o_direct_is_used_through_the_page_cache_and_says_so_once) {
  on_own_thread([engine = GetParam()] { use_ramfs(engine); });
}

TEST_P(EngineTest, nothing_is_left_open_after_a_disk) {
  TempFolder folder;
  const size_t before = open_fds();
  {
    RealClock clock;
    Loop loop(clock, Loop::Waits::epoll);
    auto disk = *open_disk(loop, folder.path(), GetParam());
    auto file = *disk->open("f", OpenMode::create, OpenKind::direct);
    TestOp op(4096);
    EXPECT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::write, 0).ok());
    EXPECT_TRUE(disk->list("").has_value());
    EXPECT_TRUE(disk->sync_dir("").ok());
  }
  EXPECT_EQ(open_fds(), before);
}

// From now on io_uring_setup answers `errno_value` to this thread, as containers have it.
void forbid_io_uring(uint32_t errno_value) {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno_value),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(rules), .filter = rules};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

void fall_back(uint32_t errno_value) {
  TempFolder folder;
  ASSERT_NO_FATAL_FAILURE(forbid_io_uring(errno_value));
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  auto forced = open_disk(loop, folder.path(), DiskEngine::io_uring);
  ASSERT_FALSE(forced.has_value());
  EXPECT_EQ(forced.error().errno_value(), static_cast<int>(errno_value));
  LogRecorder log;
  auto disk = *open_disk(loop, folder.path(), DiskEngine::automatic);
  EXPECT_EQ(disk->engine(), "threads");
  ASSERT_EQ(LogRecorder::lines().size(), 1u);
  EXPECT_NE(LogRecorder::lines()[0].find("io_uring_setup"), std::string::npos);
  auto file = *disk->open("f", OpenMode::create, OpenKind::direct);
  TestOp op(4096);
  op.buffer.data()[5] = std::byte{5};
  EXPECT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::write, 0).ok());
  op.buffer.data()[5] = std::byte{0};
  EXPECT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::read, 0).ok());
  EXPECT_EQ(op.buffer.data()[5], std::byte{5});
}

TEST(OpenDisk, forbidden_io_uring_falls_back_to_threads_and_says_why_once) {
  on_own_thread([] { fall_back(EPERM); });
  on_own_thread([] { fall_back(ENOSYS); });
}

TEST(OpenDisk, automatic_takes_io_uring_where_it_is_allowed) {
  TempFolder folder;
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  EXPECT_EQ((*open_disk(loop, folder.path(), DiskEngine::automatic))->engine(), "io_uring");
}

// A drive with nothing to do begins while its next transfers are prepared.
TEST(UringDisk, the_first_large_transfer_does_not_wait_for_the_end_of_the_turn) {
  TempFolder folder;
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  auto disk = *open_disk(loop, folder.path(), DiskEngine::io_uring);
  auto file = *disk->open("f", OpenMode::create, OpenKind::direct);
  TestOp large(4 << 20);
  ASSERT_TRUE(large.run(loop, *disk, *file, DiskOp::Kind::write, 0).ok());
  large.op.kind = DiskOp::Kind::read;
  large.finished = false;
  disk->submit(large.op);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // the drive's time, not the loop's
  loop.turn(0);
  EXPECT_TRUE(large.finished);
  while (!large.finished) loop.turn(UINT64_MAX);
}

TEST(OpenDisk, a_missing_directory_is_not_found) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  TempFolder folder;
  EXPECT_TRUE(open_disk(loop, folder.path() + "/no", DiskEngine::automatic)
                  .error()
                  .is(StatusCode::not_found));
}

TEST(ThreadDisk, its_threads_are_named_and_block_every_signal) {
  TempFolder folder;
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  auto disk = *open_disk(loop, folder.path(), DiskEngine::threads);
  auto file = *disk->open("f", OpenMode::create, OpenKind::direct);
  TestOp op(4096);
  ASSERT_TRUE(op.run(loop, *disk, *file, DiskOp::Kind::write, 0).ok());  // one thread is up
  size_t found = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    std::string line;
    bool ours = false;
    while (std::getline(status, line)) {
      if (line == "Name:\tgd2fs-disk") ours = true;
      if (!ours || !line.starts_with("SigBlk:\t")) continue;
      ++found;
      const uint64_t blocked = std::stoull(line.substr(8), nullptr, 16);
      for (int signal = 1; signal <= 64; ++signal) {
        // These two cannot be blocked, and glibc keeps 32 and 33.
        if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33) continue;
        EXPECT_NE(blocked & (uint64_t{1} << (signal - 1)), 0u) << "signal " << signal;
      }
    }
  }
  EXPECT_GE(found, 1u);
}

}  // namespace
}  // namespace gd2fs
