#include "cli/bench/bench_server.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

constexpr double kStartSeconds = 60;
constexpr double kSettleSeconds = 60;
constexpr double kStopSeconds = 60;

// The line `ready gd2fs://HOST:PORT cluster=NAME`, or what came instead.
Result<std::string> read_ready_line(int fd) {
  std::string line;
  const double deadline = seconds_now() + kStartSeconds;
  while (line.find('\n') == std::string::npos) {
    pollfd waiting{fd, POLLIN, 0};
    const double left = deadline - seconds_now();
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left * 1000)) <= 0) {
      return fail(StatusCode::timed_out, "gd2fs up did not get ready");
    }
    char part[256];
    const ssize_t got = read(fd, part, sizeof part);
    if (got <= 0) return fail(StatusCode::unavailable, "gd2fs up ended before it was ready");
    line.append(part, static_cast<size_t>(got));
  }
  return line;
}

}  // namespace

Result<BenchServer> BenchServer::start(std::string program, const std::string& folder,
                                       uint64_t slab_bytes) {
  BenchServer server;
  server.program_ = std::move(program);
  server.slab_bytes_ = slab_bytes;
  server.folder_ = folder + "/gd2fs-bench-" + std::to_string(getpid());
  if (mkdir(server.folder_.c_str(), 0700) != 0) {
    return fail(Status::from_errno(errno, "mkdir " + server.folder_));
  }
  Result<FolderJanitor> janitor = FolderJanitor::watch(server.folder_);
  if (!janitor) {
    rmdir(server.folder_.c_str());
    return fail(janitor.error());
  }
  server.janitor_ = std::move(*janitor);
  GD2FS_TRY(server.launch());
  const std::string token = server.folder_ + "/data/tokens/" + kCluster;
  setenv("GD2FS_TOKEN_FILE", token.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): before threads
  return server;
}

BenchServer::BenchServer(BenchServer&& other) noexcept
    : program_(std::move(other.program_)),
      folder_(std::exchange(other.folder_, {})),
      address_(std::move(other.address_)),
      slab_bytes_(other.slab_bytes_),
      pid_(std::exchange(other.pid_, -1)),
      janitor_(std::move(other.janitor_)) {}

BenchServer::~BenchServer() {
  if (folder_.empty()) return;
  [[maybe_unused]] const Status stopped = stop();  // the folder goes in any case
}

Status BenchServer::launch() {
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  const std::string data = folder_ + "/data";
  const std::string log = folder_ + "/server.log";
  const std::string slab = std::to_string(slab_bytes_);
  const int log_fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) return Status::from_errno(errno, log);
  // HOME is the bench's folder, so that its token does not replace one of the user's.
  const std::string home = "HOME=" + folder_;
  std::vector<const char*> arguments = {program_.c_str(), "up",          "--data",    data.c_str(),
                                        "--listen",       "127.0.0.1:0", "--cluster", kCluster,
                                        "--slab",         slab.c_str(),  nullptr};
  const pid_t bench = getpid();
  pid_ = fork();
  if (pid_ < 0) return Status::from_errno(errno, "fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != bench) _exit(127);  // it has ended already
    dup2(out[1], STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    putenv(const_cast<char*>(home.c_str()));  // NOLINT(concurrency-mt-unsafe): a fresh child
    execv(program_.c_str(), const_cast<char* const*>(arguments.data()));
    _exit(127);
  }
  close(out[1]);
  close(log_fd);
  Result<std::string> line = read_ready_line(out[0]);
  close(out[0]);
  if (!line) return line.error().with("see " + log);
  const size_t begin = line->find("gd2fs://");
  if (!line->starts_with("ready ") || begin == std::string::npos) {
    return {StatusCode::unavailable, "gd2fs up said: " + *line};
  }
  address_ = line->substr(begin, line->find_first_of(" \n", begin) - begin);
  settle();
  return {};
}

// A fresh server takes the slab's memory beside its work; what is measured is one that has it. The
// thread that takes it may get no core for a while, or wait until the system has found huge pages,
// so that only the memory itself tells.
void BenchServer::settle() const {
  const double deadline = seconds_now() + kSettleSeconds;
  const uint64_t nearly_all = slab_bytes_ - slab_bytes_ / 8;  // the last arena may not fit
  uint64_t before = 0;
  for (uint64_t now = resident_bytes_of(pid_); now < nearly_all || now > before + kMiB;
       now = resident_bytes_of(pid_)) {
    if (seconds_now() > deadline) {
      std::fprintf(stderr,
                   "gd2fs bench: after %.0f s the server has %llu MiB of memory for a slab "
                   "of %llu: it is slower than it will be\n",
                   kSettleSeconds, static_cast<unsigned long long>(now / kMiB),
                   static_cast<unsigned long long>(slab_bytes_ / kMiB));
      return;
    }
    before = now;
    usleep(100'000);
  }
  rest();  // it may have looked for huge pages for the last of it all the while
}

void BenchServer::rest() const {
  constexpr double kLookSeconds = 0.2;
  constexpr double kIdleShare = 0.02;  // of a core
  const double deadline = seconds_now() + kSettleSeconds;
  double used = 1;
  while (used > kIdleShare * kLookSeconds && seconds_now() < deadline) {
    const CpuMeter meter(pid_);
    usleep(static_cast<useconds_t>(kLookSeconds * 1e6));
    used = meter.used().server;
  }
}

Result<std::string> BenchServer::add_memory_cluster() {
  std::string token = folder_ + "/memory-token";
  const std::string home = "HOME=" + folder_;  // where `gd2fs up` left what an admin needs
  const std::vector<const char*> arguments = {
      program_.c_str(), "--cp",   address_.c_str(), "cluster",     "create", kMemoryCluster,
      "--durability",   "memory", "--token-out",    token.c_str(), nullptr};
  const int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nothing < 0) return fail(Status::from_errno(errno, "/dev/null"));
  const pid_t child = fork();
  if (child < 0) return fail(Status::from_errno(errno, "fork"));
  if (child == 0) {
    dup2(nothing, STDOUT_FILENO);
    putenv(const_cast<char*>(home.c_str()));  // NOLINT(concurrency-mt-unsafe): a fresh child
    execv(program_.c_str(), const_cast<char* const*>(arguments.data()));
    _exit(127);
  }
  close(nothing);
  int ended = 0;
  waitpid(child, &ended, 0);
  if (ended != 0) return fail(StatusCode::io, "gd2fs cluster create failed");
  return token;
}

Status BenchServer::stop() {
  if (pid_ <= 0) return {};
  kill(pid_, SIGTERM);
  const double deadline = seconds_now() + kStopSeconds;
  int ended = 0;
  while (waitpid(pid_, &ended, WNOHANG) == 0) {
    if (seconds_now() > deadline) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &ended, 0);
      pid_ = -1;
      return {StatusCode::timed_out, "gd2fs up did not stop on SIGTERM"};
    }
    usleep(10000);
  }
  pid_ = -1;
  return {};
}

Status BenchServer::restart() {
  GD2FS_TRY(stop());
  return launch();
}

}  // namespace gd2fs
