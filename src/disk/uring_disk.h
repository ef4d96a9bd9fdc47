// UringDisk: transfers by io_uring.
//
// Transfers submitted in one turn of the loop go to the kernel with one system call: submit() fills
// a queue entry and queues a completion of our own, which runs after the work of this turn and
// enters the kernel. Only a large one that finds the kernel with none goes at once. What ended is
// seen in the ring's memory in every turn of the loop, for it is what keeps a drive busy; an
// eventfd, which the kernel signals each time, ends the loop's sleep. One turn reaps all that
// ended. At most kOpsMax transfers are in the ring, so neither of its queues can overflow.
#pragma once

#include <liburing.h>
#include <memory>
#include <vector>

#include "disk/local_disk.h"
#include "disk/transfer.h"

namespace gd2fs {

class UringDisk final : public LocalDisk, private Poller {
 public:
  // Makes a real ring and sends a no-op through it, so that what a container's rules or the
  // kernel's age forbid is known now: unsupported or denied, with the reason. `directory` is left
  // with the caller on failure.
  static Result<std::unique_ptr<Disk>> make(Loop& loop, std::string path, OwnedFd& directory);
  // Waits for the transfers in flight: the kernel may still write to their buffers. None should be
  // pending.
  ~UringDisk() override;

  std::string_view engine() const override { return "io_uring"; }
  void submit(DiskOp& op) override;

 private:
  UringDisk(Loop& loop, std::string path);
  Status start();
  Status probe();
  void push(Transfer& transfer);
  void on_flush(Completion& done);
  void on_retry(Completion& done);
  size_t poll() override;
  bool arm() override;
  void disarm() override {}
  void on_signal(uint32_t) {}
  void flush();
  void finish(Transfer& transfer);

  static constexpr uint64_t kFlushRetryNs = 1 * kMs;
  static constexpr uint64_t kAtOnceBytes = 1 << 20;

  Loop& loop_;
  io_uring ring_{};
  bool ring_made_ = false;
  OwnedFd event_;
  Watch watch_;
  Completion flush_;                 // pending: entries wait to be sent at the end of this turn
  Completion refill_;                // pending: transfers ended, their successors are to be sent
  Timer flush_retry_;                // the kernel took none for want of memory
  std::vector<Transfer> transfers_;  // kOpsMax
  std::vector<Transfer*> free_;
};

}  // namespace gd2fs
