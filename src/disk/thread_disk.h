// ThreadDisk: transfers by a small pool of threads with preadv and pwritev, for machines and
// containers that forbid io_uring.
//
// The loop thread queues; whichever thread is free takes the oldest; what has ended goes into one
// list, and an eventfd tells the loop once per batch. The threads block all signals: those belong
// to the application.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "disk/local_disk.h"

namespace gd2fs {

class ThreadDisk final : public LocalDisk {
 public:
  static constexpr int kThreads = 16;  // enough for an NVMe drive's bandwidth in 1 MiB transfers

  static Result<std::unique_ptr<Disk>> make(Loop& loop, std::string path, OwnedFd directory);
  // Lets the transfers that run end, drops those that wait. None should be pending.
  ~ThreadDisk() override;

  std::string_view engine() const override { return "threads"; }
  void submit(DiskOp& op) override;

 private:
  ThreadDisk(Loop& loop, std::string path, OwnedFd directory);
  Status start();
  void run();
  void on_finished(uint32_t events);

  Loop& loop_;
  Watch watch_;
  OwnedFd event_;
  size_t ops_pending_ = 0;  // loop thread

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  List<DiskOp> waiting_;
  List<DiskOp> finished_;  // results lie in their `done`
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace gd2fs
