// Ctx: a Client with threads: what the C interface means by a ctx.
//
// Submitters check and copy their operation into a Slot and hand it to the loop, which runs it at
// once on their thread if nobody drives. The loop finishes a slot into its CompletionQueue. The
// process-wide table (ctx_table.h) keeps a Ctx alive while any thread is inside one of its calls.
//
// Thread rule: the public part from any thread; *_on_loop from the loop.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "client/client.h"
#include "client/completion_queue.h"
#include "client/handle_table.h"
#include "client/iomem.h"
#include "client/slot.h"
#include "fabric/rdma_fabric.h"
#include "gpu/gpu.h"
#include "loop/loop_thread.h"
#include "loop/worker.h"

namespace gd2fs::client {

using QueueHandle = uint64_t;  // 0: the default queue

struct Queue {
  explicit Queue(LoopThread& thread) : finished(thread) {}
  CompletionQueue finished;
  std::atomic<uint32_t> in_flight{0};  // requests that will complete here
  std::atomic<bool> closing{false};
};

class Ctx {
 public:
  static constexpr uint32_t kQueuesMax = 1024;
  static constexpr uint64_t kConnectMaxNs = 5 * kSecond;

  // Connects. The caller owns the Ctx until it has put it into the table.
  static Result<std::unique_ptr<Ctx>> open(const RawOptions& raw);
  static Result<std::unique_ptr<Ctx>> open(ClientOptions options);
  ~Ctx();
  Ctx(const Ctx&) = delete;
  Ctx& operator=(const Ctx&) = delete;

  // Bytes accepted; an error's errno_value() is what the caller gets, negated.
  Result<uint64_t> submit(QueueHandle queue, const xfer_gd2fs_op& op);
  Status cancel(uint64_t number);
  Result<size_t> wait(QueueHandle queue, std::span<xfer_gd2fs_completion> out, int timeout_ms);

  Result<QueueHandle> make_queue();
  Status destroy_queue(QueueHandle queue);
  Result<int> queue_fd(QueueHandle queue);

  Result<IomemHandle> add_iomem(void* address, size_t length_bytes);
  Status remove_iomem(IomemHandle iomem);
  Status iomem_device(IomemHandle iomem, int32_t* device);
  Status counters(xfer_gd2fs_counters* out);

  // After the table has closed the handle: cancels everything and waits until no peer can touch any
  // buffer; then waiters leave. Others may still be inside calls.
  void cancel_all();
  // When nobody is inside any more. The Ctx may be destroyed after.
  void stop();

  // In the child of a fork: closes this ctx's descriptors without touching anything shared.
  void close_descriptors_in_child();
  bool forked() const { return forked_.load(std::memory_order_relaxed); }
  LoopThread& thread() { return *thread_; }

  void start_on_loop(Slot& slot);
  void cancel_on_loop(Slot& slot);
  void end_on_loop(Slot& slot);

 private:
  class QueueRef;
  struct Countdown : ListNode<> {
    Countdown(LoopThread& thread, std::atomic<uint32_t>& waited) : flag(thread), count(waited) {}
    WaitFlag flag;
    std::atomic<uint32_t>& count;
  };
  Ctx();
  Status open_nics();
  std::shared_ptr<LanePumps> make_pumps();
  Status run_on_loop(const std::function<Status()>& run);
  void register_with_nics(IomemHandle iomem, void* address, size_t length_bytes);
  Status register_gpu_with_nics(GpuTarget target, FabricMemory memory);
  Status connect();
  Status take_fence(uint64_t stream, Slot* slot);
  Result<size_t> wait_for_finished(Queue& queue, std::span<CompletionQueue::Finished*> out,
                                   uint64_t deadline_ns);
  void poison();
  Status give_view(Slot& slot);
  void finish(Slot& slot, uint16_t status, uint64_t value);
  // Posts to the loop: cancels every request in flight that `which` chooses.
  template <class Which>
  void cancel_where(Which which, Status why, Origin origin);
  // Both counts only fall to 0 in count_down, which wakes who waits here.
  void wait_for_zero(std::atomic<uint32_t>& count);
  void count_down(std::atomic<uint32_t>& count);
  void wait_for_users(QueueHandle queue);
  Status cannot_run() const;

  RealClock clock_;
  SlotPool slots_;
  IomemTable iomems_;
  HandleTable<std::unique_ptr<Queue>> queues_;
  std::unique_ptr<Queue> default_queue_;
  std::atomic<uint32_t> queue_users_left_{0};  // changes when the last user leaves a closed queue
  std::atomic<uint32_t> in_flight_{0};
  std::atomic<bool> closing_{false};
  std::atomic<bool> forked_{false};
  std::mutex countdowns_mutex_;
  std::atomic<uint32_t> countdowns_waiting_{0};
  List<Countdown> countdowns_;

  ClientOptions options_;
  std::unique_ptr<LoopThread> thread_;
  std::shared_ptr<LanePumps> pumps_;        // the fabric's sessions use them; null: none
  std::unique_ptr<ThreadWorker> resolver_;  // looks host names up
  std::unique_ptr<Gpu> gpu_;
  std::unique_ptr<RdmaFabric> fabric_;
  bool has_nics_ = false;
  std::atomic<bool> said_copied_{false};
  std::atomic<bool> said_gpu_{false};
  std::unique_ptr<Client> client_;
};

}  // namespace gd2fs::client
