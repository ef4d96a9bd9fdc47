#include "client/gpu_ring.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>

#include "base/log.h"

namespace gd2fs::client {
namespace {

// The lowest `count` bits.
uint32_t bits(size_t count) {
  return count >= 32 ? UINT32_MAX : (uint32_t{1} << count) - 1;
}

// Where a run of `count` set bits begins; -1: nowhere.
int run_of(uint32_t free, size_t count) {
  for (int at = 0; at + static_cast<int>(count) <= 32; ++at) {
    if ((free >> at & bits(count)) == bits(count)) return at;
  }
  return -1;
}

}  // namespace

FabricMemory GpuRing::Step::known() const {
  FabricMemory out;
  out.address = memory;
  out.length_bytes = kStepBytes;
  out.for_peers = true;
  return out;
}

GpuRing::Step::~Step() {
  if (fabric != nullptr) fabric->remove_memory(known());
  mapping.reset();
  if (memory != nullptr) munmap(memory, kStepBytes);
}

GpuRing::GpuRing(Loop& loop, Gpu& gpu, Worker& worker, GpuTarget target, uint64_t ring_max_bytes,
                 Fabric* fabric)
    : loop_(loop),
      gpu_(gpu),
      worker_(worker),
      target_(target),
      steps_max_(std::max(ring_max_bytes, kRingLeastBytes) / kStepBytes),
      fabric_(fabric) {
  pinning_.done.bind<&GpuRing::on_grown>(this);
}

GpuRing::~GpuRing() {
  // The worker has ended, so the word that it left on the loop is there to be taken.
  while (growing_) (void)loop_.run_queued();
}

// --- taking and giving back ---

size_t GpuRing::free_slots() const {
  size_t count = 0;
  for (const auto& step : steps_) count += static_cast<size_t>(std::popcount(step->free));
  return count;
}

void GpuRing::grant_run(Step& step, uint32_t step_number, size_t count, uint32_t run, Wish* wish) {
  step.free &= ~(bits(count) << run);
  for (uint32_t i = run; i < run + count; ++i) {
    wish->slots.push_back(
        {step.memory + i * kSlotBytes, step.mapping->number(), step_number * kStepSlots + i});
  }
}

// Leaves `kept` slots for others.
bool GpuRing::grant(Wish& wish, size_t kept) {
  if (free_slots() < wish.slot_count + kept) return false;
  wish.slots.clear();
  // In runs as long as there are: neighbours are received and copied at once.
  size_t run_length = std::min<size_t>(wish.slot_count, kStepSlots);
  while (wish.slots.size() < wish.slot_count) {
    run_length = std::min(run_length, wish.slot_count - wish.slots.size());
    bool found = false;
    for (uint32_t i = 0; i < steps_.size() && !found; ++i) {
      const int run = run_of(steps_[i]->free, run_length);
      found = run >= 0;
      if (found) grant_run(*steps_[i], i, run_length, static_cast<uint32_t>(run), &wish);
    }
    if (!found) --run_length;
  }
  return true;
}

void GpuRing::take(Wish& wish) {
  CHECK(wish.slot_count <= steps_max_ * kStepSlots - kSmallSlots);
  wish.done.start();
  // The ring does not grow any more: it would wait for ever, and all behind it.
  const size_t kept = wish.slot_count == 1 ? 0 : kSmallSlots;
  const bool grown = !failure_.ok() && !steps_.empty();
  if (grown && wish.slot_count + kept > steps_.size() * kStepSlots) {
    return loop_.complete(wish.done, failure_);
  }
  (wish.slot_count == 1 ? small_ : big_).push_back(wish);
  serve();
}

bool GpuRing::take_now(Wish& wish) {
  const bool is_small = wish.slot_count == 1;
  return (is_small ? small_ : big_).empty() && grant(wish, is_small ? 0 : kSmallSlots);
}

void GpuRing::cancel(Wish& wish) {
  if (!wish.linked()) return;
  wish.unlink();
  loop_.complete(wish.done, Status(StatusCode::canceled));
}

void GpuRing::put(std::vector<Slot>* slots) {
  if (slots->empty()) return;
  for (const Slot& slot : *slots) {
    steps_[slot.number / kStepSlots]->free |= uint32_t{1} << (slot.number % kStepSlots);
  }
  slots->clear();
  serve();
}

void GpuRing::serve() {
  while (!small_.empty() && grant(*small_.front(), 0)) {
    loop_.complete(small_.pop_front()->done, Status());
  }
  while (!big_.empty() && grant(*big_.front(), kSmallSlots)) {
    loop_.complete(big_.pop_front()->done, Status());
  }
  if (!small_.empty() || !big_.empty()) grow_if_needed();
}

// --- growing ---

void GpuRing::warm() {
  if (steps_.empty()) grow_if_needed();
}

void GpuRing::grow_if_needed() {
  if (growing_ || steps_.size() >= steps_max_) return;
  // A limit that was met once (ulimit -l) stays; what is pinned has to do.
  if (!failure_.ok() && !steps_.empty()) return;
  growing_ = true;
  pinning_.run = [this] { return pin_step(); };
  worker_.submit(loop_, pinning_);
}

// On the worker.
Status GpuRing::pin_step() {
  auto step = std::make_unique<Step>();
  // Memory of our own that is registered, not the driver's: it stays when the GPU's context goes.
  void* memory =
      mmap(nullptr, kStepBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Status::from_errno(errno, "mmap of the GPU's ring");
  step->memory = static_cast<std::byte*>(memory);
  (void)madvise(memory, kStepBytes, MADV_HUGEPAGE);  // pins faster; a refusal only costs time
  (void)madvise(memory, kStepBytes, MADV_DONTFORK);
  std::memset(memory, 0, kStepBytes);
  GD2FS_ASSIGN(step->mapping, gpu_.map_host(target_, memory, kStepBytes, Gpu::Access::read_write));
  if (fabric_ != nullptr) {
    const Status known = fabric_->add_memory(step->known());
    step->fabric = fabric_;
    if (!known.ok()) GD2FS_LOG_WARN("the GPU's ring is not open to RDMA: {}", known.to_string());
  }
  pinned_ = std::move(step);
  return {};
}

void GpuRing::on_grown(Completion& done) {
  growing_ = false;
  failure_ = done.status;
  if (pinned_ != nullptr) steps_.push_back(std::move(pinned_));
  if (!failure_.ok()) {
    GD2FS_LOG_WARN("the GPU's ring stays at {} MiB: {}", pinned_bytes() >> 20,
                   failure_.to_string());
    // What is pinned serves those that it can hold; the others would wait for ever.
    for (List<Wish>* list : {&small_, &big_}) {
      List<Wish> stay;
      while (Wish* wish = list->pop_front()) {
        const size_t kept = list == &big_ ? kSmallSlots : 0;
        if (wish->slot_count + kept <= steps_.size() * kStepSlots) {
          stay.push_back(*wish);
        } else {
          loop_.complete(wish->done, failure_);
        }
      }
      while (Wish* wish = stay.pop_front()) list->push_back(*wish);
    }
    return;
  }
  serve();
}

}  // namespace gd2fs::client
