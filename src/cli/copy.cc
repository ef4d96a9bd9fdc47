#include "cli/copy.h"

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>

#include "cli/file_copy.h"

namespace gd2fs::cli {
namespace {

std::atomic<bool> interrupt_seen{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // used in a signal handler

void on_interrupt(int signal_number) {
  interrupt_seen.store(true);
  // The second one means it.
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(signal_number, &action, nullptr);
}

// The jobs of one run, shared by its threads.
struct Shared {
  Files& files;
  std::vector<CopyJob>& jobs;
  const CopyOptions& options;
  Progress& progress;
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::condition_variable ended;
  size_t running = 0;  // under mutex
};

void run_jobs(Shared& shared) {
  FileCopy copy(shared.files, shared.options, shared.progress);
  while (true) {
    const size_t index = shared.next.fetch_add(1);
    if (index >= shared.jobs.size()) break;
    if (interrupted() || (shared.failed && shared.options.stop_at_first_failure)) continue;
    CopyJob& job = shared.jobs[index];
    job.status = copy.run(job);
    if (job.status.ok()) {
      shared.progress.add_file();
    } else {
      shared.failed = true;
    }
  }
  const std::lock_guard lock(shared.mutex);
  --shared.running;
  shared.ended.notify_one();
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() {
  return interrupt_seen.load(std::memory_order_relaxed);
}

CopyOptions copy_options(const Config& config) {
  return {.files = config.copy_files,
          .buffers = config.copy_buffers,
          .buffer_bytes = align_up(config.copy_buffer_bytes, 4096)};
}

Status run_copies(Files& files, std::vector<CopyJob>& jobs, const CopyOptions& options,
                  Progress& progress) {
  for (CopyJob& job : jobs) job.status = Status(StatusCode::canceled, "not begun: " + job.remote);
  Shared shared{files, jobs, options, progress};
  const size_t threads = std::min<size_t>(options.files, jobs.size());
  shared.running = threads;
  std::vector<std::thread> workers;
  workers.reserve(threads);
  for (size_t i = 0; i < threads; ++i) workers.emplace_back(run_jobs, std::ref(shared));
  {
    std::unique_lock lock(shared.mutex);
    while (shared.running > 0) {
      shared.ended.wait_for(lock, std::chrono::nanoseconds(Progress::kEveryNs));
      progress.show();
    }
  }
  for (std::thread& worker : workers) worker.join();
  progress.finish();
  for (const CopyJob& job : jobs) {
    if (!job.status.ok() && !job.status.is(StatusCode::canceled)) return job.status;
  }
  if (interrupted()) return {StatusCode::canceled, "interrupted"};
  for (const CopyJob& job : jobs) GD2FS_TRY(job.status);
  return {};
}

}  // namespace gd2fs::cli
