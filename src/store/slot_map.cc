#include "store/slot_map.h"

#include <algorithm>

#include "base/check.h"

namespace gd2fs {

std::optional<uint16_t> SlotMap::add_file(uint8_t slot_class, uint32_t number, uint32_t slots) {
  CHECK(slot_class < kSlotClasses && slots >= 1 && slots <= kSlotsPerFileMax);
  size_t position = 0;
  while (position < files_.size() && files_[position].present) ++position;
  if (position >= kFilesMax) return std::nullopt;
  if (position == files_.size()) files_.emplace_back();
  files_[position] = {.slot_class = slot_class,
                      .number = number,
                      .slots = slots,
                      .present = true,
                      .taken = std::vector<bool>(slots)};
  with_room_[slot_class].emplace(number, static_cast<uint16_t>(position));
  free_slots_[slot_class] += slots;
  skip_number(slot_class, number);
  return static_cast<uint16_t>(position);
}

void SlotMap::skip_number(uint8_t slot_class, uint32_t number) {
  next_number_[slot_class] = std::max(next_number_[slot_class], number + 1);
}

void SlotMap::retire_file(uint16_t position) {
  File& file = files_[position];
  CHECK(file.present && !file.retired);
  with_room_[file.slot_class].erase({file.number, position});
  free_slots_[file.slot_class] -= file.slots - file.used;
  file.retired = true;
}

void SlotMap::remove_file(uint16_t position) {
  CHECK(files_[position].retired && files_[position].used == 0);
  auto at = drop_number_.lower_bound({.file = position, .slot = 0});
  while (at != drop_number_.end() && at->first.file == position) {
    unsettled_.erase(at->second);
    at = drop_number_.erase(at);
  }
  files_[position] = File();
}

std::optional<uint16_t> SlotMap::find_file(uint8_t slot_class, uint32_t number) const {
  for (size_t position = 0; position < files_.size(); ++position) {
    const File& file = files_[position];
    if (file.present && file.slot_class == slot_class && file.number == number) {
      return static_cast<uint16_t>(position);
    }
  }
  return std::nullopt;
}

std::optional<Slot> SlotMap::take(uint8_t slot_class) {
  for (; slot_class < kSlotClasses; ++slot_class) {
    if (with_room_[slot_class].empty()) continue;
    const uint16_t position = with_room_[slot_class].begin()->second;
    File& file = files_[position];
    while (file.taken[file.search_from]) ++file.search_from;
    const Slot slot{.file = position, .slot = static_cast<uint16_t>(file.search_from)};
    CHECK(take_this(slot));
    return slot;
  }
  return std::nullopt;
}

bool SlotMap::take_this(Slot slot) {
  if (slot.file >= files_.size()) return false;
  File& file = files_[slot.file];
  if (!file.present || file.retired) return false;
  if (slot.slot >= file.slots || file.taken[slot.slot]) return false;
  file.taken[slot.slot] = true;
  ++taken_slots_;
  taken_bytes_ += class_data_bytes(file.slot_class);
  --free_slots_[file.slot_class];
  if (++file.used == file.slots) with_room_[file.slot_class].erase({file.number, slot.file});
  return true;
}

void SlotMap::free(Slot slot) {
  File& file = files_[slot.file];
  CHECK(file.present && file.taken[slot.slot]);
  file.taken[slot.slot] = false;
  file.search_from = std::min<uint32_t>(file.search_from, slot.slot);
  --taken_slots_;
  taken_bytes_ -= class_data_bytes(file.slot_class);
  const bool was_full = file.used-- == file.slots;
  if (file.retired) return;
  ++free_slots_[file.slot_class];
  if (was_full) with_room_[file.slot_class].emplace(file.number, slot.file);
}

void SlotMap::free_all() {
  for (size_t position = 0; position < files_.size(); ++position) {
    const File& file = files_[position];
    for (uint32_t slot = 0; file.present && slot < file.slots; ++slot) {
      const Slot taken{.file = static_cast<uint16_t>(position),
                       .slot = static_cast<uint16_t>(slot)};
      if (is_taken(taken)) free(taken);
    }
  }
}

void SlotMap::dropped(Slot slot) {
  ++drops_;
  // After a failed write the descriptor before may still be there: the lower number holds for both.
  if (drop_number_.try_emplace(slot, drops_).second) unsettled_[drops_] = slot;
}

void SlotMap::settled(Slot slot) {
  const auto found = drop_number_.find(slot);
  if (found == drop_number_.end()) return;
  unsettled_.erase(found->second);
  drop_number_.erase(found);
}

std::vector<Slot> SlotMap::take_unsettled(size_t count) {
  std::vector<Slot> slots;
  for (const auto& [number, slot] : unsettled_) {
    if (slots.size() == count) break;
    // A taken one is waiting to be freed, or being overwritten, or being wiped.
    if (take_this(slot)) slots.push_back(slot);
  }
  return slots;
}

std::optional<uint16_t> SlotMap::empty_file(bool any) const {
  for (size_t position = files_.size(); position-- > 0;) {
    const File& file = files_[position];
    if (!file.present || file.retired || file.used != 0) continue;
    // Half a file of other free slots must remain, or the class would soon want a new one.
    if (any || free_slots_[file.slot_class] >= file.slots + (file.slots + 1) / 2) {
      return static_cast<uint16_t>(position);
    }
  }
  return std::nullopt;
}

uint64_t SlotMap::slots() const {
  uint64_t slots = 0;
  for (const File& file : files_) slots += file.present ? file.slots : 0;
  return slots;
}

uint64_t SlotMap::free_bytes() const {
  uint64_t bytes = 0;
  for (uint8_t c = 0; c < kSlotClasses; ++c) bytes += free_slots_[c] * class_data_bytes(c);
  return bytes;
}

}  // namespace gd2fs
