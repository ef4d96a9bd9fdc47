#include "client/ctx.h"

#include <cerrno>

#include "base/log.h"
#include "client/ctx_queue_ref.h"
#include "gpu/cuda_gpu.h"

namespace gd2fs::client {
namespace {

// What broken ctxs left behind, in a list for a debugger, and for a leak checker to see that it is
// kept on purpose.
struct Wreck {
  std::unique_ptr<LoopThread> thread;
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<Fabric> fabric;
  std::unique_ptr<Client> client;
  Wreck* next = nullptr;
};
std::atomic<Wreck*> last_wreck{nullptr};

Status canceled(std::string_view why) {
  return {StatusCode::canceled, why};
}

}  // namespace

Ctx::Ctx() : slots_(*this), queues_(kQueuesMax) {}

Ctx::~Ctx() = default;

Result<std::unique_ptr<Ctx>> Ctx::open(const RawOptions& raw) {
  GD2FS_ASSIGN(ClientOptions options, parse_options(raw, process_environment()));
  return open(std::move(options));
}

Result<std::unique_ptr<Ctx>> Ctx::open(ClientOptions options) {
  std::unique_ptr<Ctx> ctx(new Ctx);
  ctx->options_ = std::move(options);
  set_log_level(ctx->options_.log_level);
  if (ctx->options_.key.empty()) {
    GD2FS_LOG_WARN("no token at {}: only a cluster without authentication will let us in",
                   ctx->options_.token_path);
  }
  LoopThread::Options thread;
  thread.on_poisoned = [self = ctx.get()](const CheckFailure& failure) {
    GD2FS_LOG_ERROR("the library found itself broken: {}", failure.where);
    self->poison();
  };
  GD2FS_ASSIGN(ctx->thread_, LoopThread::start(ctx->clock_, std::move(thread)));
  Loop& loop = ctx->thread_->loop();
  ctx->default_queue_ = std::make_unique<Queue>(*ctx->thread_);
  ctx->resolver_ = std::make_unique<ThreadWorker>("gd2fs-resolve");
  ctx->gpu_ = std::make_unique<CudaGpu>(loop);  // touches no driver before it must
  TcpOptions tcp;
  tcp.lanes_min = LanePumps::lanes_of_this_machine();
  tcp.pumps = ctx->make_pumps();
  ctx->fabric_ = std::make_unique<RdmaFabric>(loop, *ctx->resolver_, std::move(tcp),
                                              ctx->options_.memory_threads);
  Status status = ctx->open_nics();
  if (!status.ok()) {
    ctx->stop();
    return fail(status);
  }
  ctx->client_ = std::make_unique<Client>(loop, *ctx->fabric_, Random(Random::seed_from_kernel()),
                                          ctx->options_, *ctx->gpu_);
  if (ctx->has_nics_) {
    RdmaFabric* const nics = ctx->fabric_.get();
    ctx->client_->rings().use_nics(
        [nics](const MemorySegment& memory) { return nics->nics_reach(memory); },
        [nics](const MemorySegment& memory) { nics->doubt_reach(memory); });
  }
  status = ctx->connect();
  if (status.ok()) return ctx;
  ctx->stop();
  if (status.is(StatusCode::denied) && ctx->options_.key.empty()) {
    return fail(status.with("no token found at " + ctx->options_.token_path));
  }
  return fail(status);
}

// The loop's own thread is one of those that were asked for. What breaks in another breaks the
// loop.
std::shared_ptr<LanePumps> Ctx::make_pumps() {
  const auto broken = [&loop = thread_->loop()](const CheckFailure& failure) {
    loop.post([failure] { throw failure; });
  };
  const uint32_t pumps_min = options_.io_threads > 1 ? options_.io_threads - 1 : 0;
  pumps_ = LanePumps::of_this_machine(pumps_min, broken);
  return pumps_;
}

Status Ctx::run_on_loop(const std::function<Status()>& run) {
  WaitFlag ran(*thread_);
  Status status;
  const bool posted = thread_->submit([&] {
    status = run();
    ran.set();
  });
  if (!posted || thread_->drive_until(ran, UINT64_MAX) != LoopThread::Woken::flag) {
    return cannot_run();
  }
  return status;
}

Status Ctx::connect() {
  struct Waiting {
    explicit Waiting(LoopThread& thread) : flag(thread) { done.bind<&Waiting::on_done>(this); }
    void on_done(Completion& ended) {
      status = ended.status;
      flag.set();
    }
    WaitFlag flag;
    Completion done;
    Status status;
  } waiting(*thread_);
  const uint64_t timeout_ns = std::min(options_.timeout_ns, kConnectMaxNs);
  const bool posted = thread_->submit([&] { client_->connect(waiting.done, timeout_ns); });
  if (!posted) return cannot_run();
  if (thread_->drive_until(waiting.flag, UINT64_MAX) != LoopThread::Woken::flag) {
    return cannot_run();
  }
  return waiting.status;
}

Status Ctx::cannot_run() const {
  if (thread_->poisoned()) return {StatusCode::io, "the ctx is broken", EIO};
  return canceled("the ctx is closed");
}

// --- waiting for the end of things ---

void Ctx::poison() {
  // The GPU does not stop with us: what is on its way must be there before anybody hears of an end.
  if (gpu_ != nullptr) gpu_->drain();
  if (pumps_ != nullptr) pumps_->stop();
  const uint16_t broken = completion_status(Status(StatusCode::io, "", EIO), Origin::ctx);
  slots_.for_each([&](Slot& slot) {
    if (slot.in_flight.load()) finish(slot, broken, 0);
  });
}

void Ctx::count_down(std::atomic<uint32_t>& count) {
  if (count.fetch_sub(1) != 1 || countdowns_waiting_.load() == 0) return;
  std::lock_guard lock(countdowns_mutex_);
  for (Countdown* waiting = countdowns_.front(); waiting != nullptr;
       waiting = countdowns_.next(*waiting)) {
    if (&waiting->count == &count) waiting->flag.set();
  }
}

void Ctx::wait_for_zero(std::atomic<uint32_t>& count) {
  countdowns_waiting_.fetch_add(1);
  while (count.load() != 0) {
    Countdown waiting(*thread_, count);
    {
      std::lock_guard lock(countdowns_mutex_);
      countdowns_.push_back(waiting);
    }
    LoopThread::Woken woken = LoopThread::Woken::flag;
    if (count.load() != 0) woken = thread_->drive_until(waiting.flag, UINT64_MAX);
    if (woken == LoopThread::Woken::poisoned) poison();
    std::lock_guard lock(countdowns_mutex_);
    waiting.unlink();
  }
  countdowns_waiting_.fetch_sub(1);
}

template <class Which>
void Ctx::cancel_where(Which which, Status why, Origin origin) {
  const bool posted = thread_->submit([this, which, why = std::move(why), origin] {
    client_->cancel_if(
        [&](const Request& request) { return which(static_cast<const Slot&>(request)); }, why,
        origin);
  });
  if (!posted) poison();
}

void Ctx::cancel_all() {
  closing_.store(true);
  cancel_where([](const Slot&) { return true; }, canceled("the ctx is closed"), Origin::ctx);
  wait_for_zero(in_flight_);
  default_queue_->finished.close();
  queues_.for_each([](QueueHandle, const std::unique_ptr<Queue>& queue) {
    if (queue != nullptr) queue->finished.close();
  });
}

void Ctx::stop() {
  wait_for_zero(in_flight_);
  thread_->stop();
  if (!thread_->poisoned()) return;
  // What a failed CHECK left behind cannot be taken down in order. Its loop is never turned again,
  // so it touches nothing.
  auto wreck = std::make_unique<Wreck>();
  wreck->thread = std::move(thread_);
  wreck->gpu = std::move(gpu_);
  wreck->fabric = std::move(fabric_);
  wreck->client = std::move(client_);
  wreck->next = last_wreck.load();
  while (!last_wreck.compare_exchange_weak(wreck->next, wreck.get())) {
  }
  (void)wreck.release();
}

// --- queues ---

Result<QueueHandle> Ctx::make_queue() {
  const QueueHandle handle = queues_.insert(std::make_unique<Queue>(*thread_));
  if (handle == 0) return fail(StatusCode::busy, "queues_max completion queues are in use", EMFILE);
  return handle;
}

Status Ctx::destroy_queue(QueueHandle handle) {
  if (handle == 0 || !queues_.close(handle)) {
    return {StatusCode::invalid, "no such completion queue", EINVAL};
  }
  Queue* queue = queues_.value_of(handle).get();
  queue->closing.store(true);
  cancel_where([queue](const Slot& slot) { return slot.queue == queue; },
               canceled("the completion queue is gone"), Origin::request);
  wait_for_zero(queue->in_flight);
  queue->finished.close();
  wait_for_users(handle);
  wait_for_zero(queue->in_flight);  // of those who were just submitting
  CompletionQueue::Finished* finished = nullptr;
  while (queue->finished.take({&finished, 1}) == 1) slots_.put(static_cast<Slot&>(*finished));
  queues_.release(handle);
  return {};
}

void Ctx::wait_for_users(QueueHandle queue) {
  for (;;) {
    const uint32_t seen = queue_users_left_.load();
    if (queues_.pins(queue) == 0) return;
    queue_users_left_.wait(seen);
  }
}

Result<int> Ctx::queue_fd(QueueHandle handle) {
  const QueueRef queue(*this, handle);
  if (queue.get() == nullptr) return fail(StatusCode::invalid, "no such completion queue", EINVAL);
  return queue.get()->finished.fd();
}

// --- memory ---

Result<IomemHandle> Ctx::add_iomem(void* address, size_t length_bytes) {
  GD2FS_ASSIGN(const IomemHandle iomem, iomems_.add(address, length_bytes, *gpu_));
  if (has_nics_) register_with_nics(iomem, address, length_bytes);
  // Pinning takes milliseconds: begun here, off the way of the first request.
  if (!iomems_.pin(iomem, address, length_bytes)) return iomem;
  const GpuTarget target = iomems_.target_of(iomem);
  iomems_.unpin(iomem);
  if (target == kHostTarget) return iomem;
  if (!thread_->submit([this, target] { client_->rings().of(target).warm(); })) {
    return fail(cannot_run());
  }
  return iomem;
}

Status Ctx::iomem_device(IomemHandle iomem, int32_t* device) {
  if (iomems_.device_of(iomem, device)) return {};
  return {StatusCode::invalid, "the iomem is not registered", EINVAL};
}

// The order after the caller's own work on the GPU, as the operation asks for it.
Status Ctx::take_fence(uint64_t stream, Slot* slot) {
  if (stream == 0) return {};
  GD2FS_ASSIGN(slot->fence, gpu_->fence_after(stream, slot->memory.first_target()));
  return {};
}

Status Ctx::remove_iomem(IomemHandle iomem) {
  struct Drained final : IomemTable::Drain {
    explicit Drained(LoopThread& thread) : flag(thread) {}
    void drained() override { flag.set(); }
    WaitFlag flag;
  } drained(*thread_);
  if (iomem == 0 || !iomems_.close(iomem)) {
    return {StatusCode::invalid, "the iomem is not registered", EINVAL};
  }
  if (!iomems_.wait(iomem, &drained)) {
    cancel_where(
        [iomem](const Slot& slot) {
          return std::find(slot.pins.begin(), slot.pins.end(), iomem) != slot.pins.end();
        },
        canceled("the iomem was deregistered"), Origin::iomem);
    while (thread_->drive_until(drained.flag, UINT64_MAX) == LoopThread::Woken::poisoned) poison();
  }
  if (has_nics_) {
    FabricMemory memory;
    memory.region = region_of(iomem);
    fabric_->remove_memory(memory);
  }
  iomems_.remove(iomem);
  return {};
}

}  // namespace gd2fs::client
