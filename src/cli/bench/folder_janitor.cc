#include "cli/bench/folder_janitor.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <utility>

#include <sys/wait.h>

namespace gd2fs {
namespace {

constexpr int kTriesMax = 100;
constexpr useconds_t kPauseUs = 100'000;

// Signals that may be meant for the bench and its whole group are blocked by now.
[[noreturn]] void remove_at_the_end(int pipe, const std::string& folder) {
  setsid();
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (nothing >= 0) dup2(nothing, fd);
  }
  char byte = 0;
  while (read(pipe, &byte, 1) < 0 && errno == EINTR) {
  }
  // Whoever still writes into the folder ends with the bench, but perhaps a moment later.
  for (int i = 0; i < kTriesMax; ++i) {
    std::error_code failed;
    std::filesystem::remove_all(folder, failed);
    if (!failed && !std::filesystem::exists(folder, failed)) break;
    usleep(kPauseUs);
  }
  _exit(0);
}

}  // namespace

Result<FolderJanitor> FolderJanitor::watch(const std::string& folder) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(Status::from_errno(errno, "pipe"));
  FolderJanitor janitor;
  sigset_t group_signals;
  sigemptyset(&group_signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&group_signals, signal);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &group_signals, &before);
  janitor.child_ = fork();
  if (janitor.child_ == 0) {
    close(ends[1]);
    remove_at_the_end(ends[0], folder);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(ends[0]);
  janitor.pipe_ = ends[1];
  if (janitor.child_ < 0) return fail(Status::from_errno(errno, "fork"));
  return janitor;
}

FolderJanitor::FolderJanitor(FolderJanitor&& other) noexcept
    : pipe_(std::exchange(other.pipe_, -1)), child_(std::exchange(other.child_, -1)) {}

FolderJanitor& FolderJanitor::operator=(FolderJanitor&& other) noexcept {
  if (this == &other) return *this;
  end();
  pipe_ = std::exchange(other.pipe_, -1);
  child_ = std::exchange(other.child_, -1);
  return *this;
}

FolderJanitor::~FolderJanitor() {
  end();
}

void FolderJanitor::end() {
  if (pipe_ >= 0) close(pipe_);
  pipe_ = -1;
  while (child_ > 0 && waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
}

}  // namespace gd2fs
