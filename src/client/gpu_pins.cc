#include "client/gpu_pins.h"

#include "base/log.h"

namespace gd2fs::client {

GpuPins::GpuPins(Loop& loop, Gpu& gpu) : loop_(loop), gpu_(gpu) {
  sweep_.bind<&GpuPins::on_sweep>(this);
}

GpuPins::~GpuPins() {
  stopping_.store(true);
  worker_.reset();  // ends what it does, and begins nothing more
  while (busy_ > 0 || change_.pending()) (void)loop_.run_queued();
}

bool GpuPins::is_coming(Bytes memory) const {
  const auto found = pins_.find(memory.data());
  return found != pins_.end() && found->second->busy;
}

uint32_t GpuPins::mapping_of(GpuTarget target, Bytes memory, Gpu::Access access,
                             const std::shared_ptr<const void>& keeps) {
  const auto found = pins_.find(memory.data());
  if (found == pins_.end()) {
    begin(target, memory, access, keeps);
    return 0;
  }
  Pin& pin = *found->second;
  if (pin.busy || pin.keeps != keeps) return 0;
  if (pin.mapping == nullptr) {
    if (loop_.now_ns() >= pin.retry_ns) let_go(pin);
    return 0;
  }
  if (pin.mapping->serves(target)) return pin.mapping->number();
  // The context that it was pinned with is gone: pinned anew when it is wanted next.
  if (!pin.mapping->serves(pin.target)) let_go(pin);
  return 0;
}

void GpuPins::begin(GpuTarget target, Bytes memory, Gpu::Access access,
                    const std::shared_ptr<const void>& keeps) {
  if (pinned_bytes_ + memory.size() > kPinnedMaxBytes) {
    last_failure_ = Status(StatusCode::unsupported, "too much of the servers' memory is pinned");
    if (!std::exchange(said_, true)) {
      GD2FS_LOG_WARN("more of the server's memory than {} GiB goes to GPUs through the ring",
                     kPinnedMaxBytes >> 30);
    }
    return;
  }
  auto made = std::make_unique<Pin>();
  Pin& pin = *made;
  pin.memory = memory;
  pin.keeps = keeps;
  pin.target = target;
  pin.all = this;
  pin.job.done.bind<&Pin::on_done>(&pin);
  pin.job.run = [this, access, &pin]() -> Status {
    if (stopping_.load()) return Status(StatusCode::canceled);
    GD2FS_ASSIGN(pin.mapping,
                 gpu_.map_host(pin.target, pin.memory.data(), pin.memory.size(), access));
    return {};
  };
  pinned_bytes_ += memory.size();
  pins_.emplace(memory.data(), std::move(made));
  submit(pin);
  if (!sweep_.running()) loop_.start(sweep_, kSweepNs);
}

void GpuPins::let_go(Pin& pin) {
  pin.going = true;
  pin.job.run = [&pin]() -> Status {
    pin.mapping.reset();  // before the memory
    pin.keeps.reset();
    return {};
  };
  submit(pin);
}

void GpuPins::submit(Pin& pin) {
  if (worker_ == nullptr) worker_ = std::make_unique<ThreadWorker>("gd2fs-pin-slab");
  pin.busy = true;
  ++busy_;
  worker_->submit(loop_, pin.job);
}

void GpuPins::on_job(Pin& pin, const Status& status) {
  pin.busy = false;
  --busy_;
  if (change_.bound() && !change_.pending()) loop_.complete(change_, Status());
  if (pin.going) {
    pinned_bytes_ -= pin.memory.size();
    pins_.erase(pin.memory.data());
    return;
  }
  if (status.ok() || status.is(StatusCode::canceled)) return;
  last_failure_ = status;
  pin.retry_ns = loop_.now_ns() + kRetryNs;
  if (std::exchange(said_, true)) return;
  GD2FS_LOG_WARN(
      "the server's memory cannot be pinned, so its bytes go to GPUs through the ring: {}",
      status.to_string());
}

// What only we hold any more: the server has given it up, or is gone.
void GpuPins::on_sweep(Completion&) {
  for (auto& [data, pin] : pins_) {
    if (!pin->busy && pin->keeps.use_count() == 1) let_go(*pin);
  }
  if (!pins_.empty()) loop_.start(sweep_, kSweepNs);
}

}  // namespace gd2fs::client
