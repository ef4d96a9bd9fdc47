// Slot: one of the 65,536 places for a request of a ctx, from submit until its completion is
// reaped. SlotPool makes them in blocks as they are needed and numbers them for cancel. Any thread;
// a slot's fields belong to the submitter until it is handed to the loop, to the loop until it is
// finished, to the reaper after.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <xfer/gd2fs.h>

#include "client/completion_queue.h"
#include "client/iomem.h"
#include "client/request.h"
#include "loop/loop.h"
#include "loop/small_mutex.h"

namespace gd2fs::client {

class Ctx;
struct Queue;

struct Slot final : CompletionQueue::Finished, Request {
  xfer_gd2fs_completion completion{};
  Queue* queue = nullptr;
  std::vector<IomemHandle> pins;  // one entry per pin
  xfer_gd2fs_stat* stat = nullptr;
  xfer_gd2fs_dirent* entries = nullptr;
  xfer_gd2fs_view* view = nullptr;
  void* view_buffer = nullptr;

  Ctx* ctx = nullptr;
  Mail start;
  Mail cancel;
  std::atomic<uint64_t> number{0};         // names this use of the slot; 0 while it is free
  std::atomic<uint64_t> cancel_number{0};  // the use that a posted cancel means
  std::atomic<bool> in_flight{false};      // between submit and finish; whoever clears it finishes
  bool on_loop = false;                    // the client has it (loop only)
  bool cancel_first = false;               // a cancel overtook the start (loop only)

  void run_start();
  void run_cancel();
  void on_done(Completion&);

 private:
  friend class SlotPool;
  uint32_t index_ = 0;
  uint64_t generation_ = 0;
};

class SlotPool {
 public:
  static constexpr uint32_t kSlotsMax = XFER_GD2FS_REQUESTS_MAX;

  explicit SlotPool(Ctx& ctx) : ctx_(ctx) {}
  Slot* get();  // nullptr: all are in use
  void put(Slot& slot);
  // The slot whose present use has this number, else nullptr. It may end at any moment.
  Slot* find(uint64_t number);
  template <class Visit>
  void for_each(Visit visit) {
    std::lock_guard lock(mutex_);
    for (auto& block : blocks_) {
      for (uint32_t i = 0; i < kBlockSlots; ++i) visit(block[i]);
    }
  }

 private:
  static constexpr uint32_t kBlockSlots = 64;
  Ctx& ctx_;
  SmallMutex mutex_;
  std::vector<Slot*> free_;
  std::vector<std::unique_ptr<Slot[]>> blocks_;
};

}  // namespace gd2fs::client
