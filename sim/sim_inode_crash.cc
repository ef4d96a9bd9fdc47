// What a crash leaves of one file.
#include <algorithm>

#include "sim/sim_inode.h"

namespace gd2fs {

SimCrash SimCrash::draw(Random& random) {
  switch (random.below(6)) {
    case 0:
      return {.keep_percent = 100, .torn_percent = 0};
    case 1:
      return {.keep_percent = 0, .torn_percent = 0};
    default:
      return {.keep_percent = static_cast<uint32_t>(random.between(1, 99)),
              .torn_percent = static_cast<uint32_t>(random.below(101))};
  }
}

void SimInode::crash(Random& random, const SimCrash& fate) {
  unsynced_writes_.clear();
  if (log_.empty()) return;
  roll_back();
  replay(random, fate);
  for (Entry& entry : log_) pages_->drop(entry.page);
  log_begin_ += log_.size();
  log_.clear();
  trim_beyond_size();
  durable_size_bytes_ = size_bytes_;
  durable_reserved_ = reserved_;
  recount();
}

void SimInode::roll_back() {
  for (const Entry& entry : log_) {
    if (entry.change != Change::data && entry.change != Change::cut) continue;
    Slot& slot = *find_slot(entry.at);
    if (slot.logged == 0) continue;
    slot.logged = 0;
    set_current(entry.at, slot, slot.durable);
    slot.durable = nullptr;
  }
  size_bytes_ = durable_size_bytes_;
  reserved_ = durable_reserved_;
}

void SimInode::replay(Random& random, const SimCrash& fate) {
  const auto sized = [](const Entry& e) {
    return e.change != Change::data && e.change != Change::cut;
  };
  // The journal of sizes is kept up to here.
  uint64_t journal = random.below(static_cast<uint64_t>(std::ranges::count_if(log_, sized)) + 1);
  if (fate.keep_percent == 100) journal = UINT64_MAX;
  if (fate.keep_percent == 0) journal = 0;
  bool truncated = false;
  uint32_t id = 0;
  bool kept = false;
  bool torn = false;
  for (Entry& entry : log_) {
    if (sized(entry)) {
      if (entry.change == Change::truncate) truncated = journal > 0;
      if (journal == 0) continue;
      --journal;
      if (entry.change == Change::grow) size_bytes_ = std::max(size_bytes_, entry.at);
      if (entry.change == Change::truncate) {
        size_bytes_ = entry.at;
        cut_ranges(reserved_, align_up(entry.at, kSimSectorBytes) / kSimSectorBytes);
      }
      if (entry.change == Change::reserve) add_range(reserved_, {entry.at, entry.end});
      continue;
    }
    if (entry.change == Change::cut) {
      if (truncated) set_current(entry.at, *find_slot(entry.at), ref(entry.page));
      continue;
    }
    if (entry.id != id) {
      id = entry.id;
      kept = random.chance(fate.keep_percent, 100);
      torn = !kept && random.chance(fate.torn_percent, 100);
    }
    if (entry.stuck || !(kept || torn)) continue;
    replay_data(entry, random, torn);
  }
}

void SimInode::replay_data(Entry& entry, Random& random, bool torn) {
  Slot& slot = *find_slot(entry.at);
  if (!torn || random.chance(1, 3)) {
    set_current(entry.at, slot, ref(entry.page));
    return;
  }
  if (entry.tear_bytes == kSimSectorBytes || random.chance(1, 2)) return;
  SimPage* page = pages_->get();
  std::memcpy(page->data, entry.page->data, kSimSectorBytes);
  for (size_t at = 0; at < kSimSectorBytes; at += entry.tear_bytes) {
    if (random.chance(1, 2)) continue;
    if (slot.current == nullptr) {
      std::memset(page->data + at, 0, entry.tear_bytes);
    } else {
      std::memcpy(page->data + at, slot.current->data + at, entry.tear_bytes);
    }
  }
  set_current(entry.at, slot, page);
}

// Keeps the rule that bytes beyond the size are zeros, so that a later growth shows zeros.
void SimInode::trim_beyond_size() {
  const size_t tail = size_bytes_ % kSimSectorBytes;
  Slot* last = find_slot(size_bytes_ / kSimSectorBytes);
  if (tail != 0 && last != nullptr && last->current != nullptr) {
    std::memset(last->current->data + tail, 0, kSimSectorBytes - tail);
  }
  visit_from(align_up(size_bytes_, kSimSectorBytes) / kSimSectorBytes,
             [&](uint64_t sector, Slot& slot) { set_current(sector, slot, nullptr); });
  cut_ranges(reserved_, align_up(size_bytes_, kSimSectorBytes) / kSimSectorBytes);
}

}  // namespace gd2fs
