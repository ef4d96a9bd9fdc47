#include "store/pins.h"

namespace gd2fs {

Status Pins::pin(const StorePin& pin) {
  const auto known = words_.find(pin.inode);
  const Word before = known == words_.end() ? Word() : known->second;
  if (pin.stamp_us < before.stamp_us) return {};
  if (known == words_.end()) {
    if (!pin.pinned && !pin.told) return {};  // nothing was known to be pinned, nor is it
    if (!make_room()) return {StatusCode::busy, "pins_max reached"};
  }
  const uint64_t others = size_bytes_ - (before.pinned ? before.size_bytes : 0);
  const uint64_t size_bytes = pin.told ? pin.size_bytes : before.size_bytes;
  if (pin.pinned && pin.told && others + size_bytes > slab_.pinned_max_bytes()) {
    return {StatusCode::no_space, "pinned files would take " + std::to_string(others + size_bytes) +
                                      " of the " + std::to_string(slab_.pinned_max_bytes()) +
                                      " bytes that may be pinned in this server's slab"};
  }
  words_[pin.inode] = {pin.pinned, pin.stamp_us, size_bytes};
  size_bytes_ = others + (pin.pinned ? size_bytes : 0);
  slab_.set_pinned(pin.inode, pin.pinned);
  return {};
}

// An unpinned file's word only keeps older ones out.
bool Pins::make_room() {
  if (words_.size() >= kPinsMax) {
    std::erase_if(words_, [](const auto& word) { return !word.second.pinned; });
  }
  return words_.size() < kPinsMax;
}

void Pins::forget(uint64_t inode) {
  const auto known = words_.find(inode);
  if (known == words_.end()) return;
  if (known->second.pinned) size_bytes_ -= known->second.size_bytes;
  words_.erase(known);
  slab_.set_pinned(inode, false);
}

}  // namespace gd2fs
