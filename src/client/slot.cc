#include "client/slot.h"

#include "client/ctx.h"

namespace gd2fs::client {

void Slot::run_start() {
  ctx->start_on_loop(*this);
}
void Slot::run_cancel() {
  ctx->cancel_on_loop(*this);
}
void Slot::on_done(Completion&) {
  ctx->end_on_loop(*this);
}

Slot* SlotPool::get() {
  std::lock_guard lock(mutex_);
  if (free_.empty()) {
    if (blocks_.size() * kBlockSlots >= kSlotsMax) return nullptr;
    const auto first = static_cast<uint32_t>(blocks_.size() * kBlockSlots);
    blocks_.push_back(std::make_unique<Slot[]>(kBlockSlots));
    for (uint32_t i = kBlockSlots; i > 0; --i) {
      Slot& slot = blocks_.back()[i - 1];
      slot.index_ = first + i - 1;
      slot.ctx = &ctx_;
      slot.start.bind<&Slot::run_start>(&slot);
      slot.cancel.bind<&Slot::run_cancel>(&slot);
      slot.done.bind<&Slot::on_done>(&slot);
      free_.push_back(&slot);
    }
  }
  Slot* slot = free_.back();
  free_.pop_back();
  slot->number.store(++slot->generation_ << 16 | slot->index_, std::memory_order_release);
  return slot;
}

void SlotPool::put(Slot& slot) {
  // Slots are many; one huge request shall not leave its lists behind in each.
  constexpr size_t kKeptMax = 64;
  if (slot.pins.capacity() > kKeptMax) slot.pins = decltype(slot.pins)();
  slot.pins.clear();
  slot.memory.clear();
  slot.entries = {};
  slot.fence.reset();
  std::lock_guard lock(mutex_);
  slot.number.store(0, std::memory_order_release);
  free_.push_back(&slot);
}

Slot* SlotPool::find(uint64_t number) {
  const auto index = static_cast<uint32_t>(number & 0xffff);
  std::lock_guard lock(mutex_);
  if (number == 0 || index >= blocks_.size() * kBlockSlots) return nullptr;
  Slot& slot = blocks_[index / kBlockSlots][index % kBlockSlots];
  return slot.number.load(std::memory_order_acquire) == number ? &slot : nullptr;
}

}  // namespace gd2fs::client
