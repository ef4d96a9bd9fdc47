#include "sim/sim_inode.h"

#include <algorithm>

namespace gd2fs {

SimPages::~SimPages() {
  for (SimPage* page : free_) delete page;
}

SimPage* SimPages::get() {
  SimPage* page = nullptr;
  if (free_.empty()) {
    page = new SimPage;
  } else {
    page = free_.back();
    free_.pop_back();
  }
  page->refs = 1;
  return page;
}

void SimPages::drop(SimPage* page) {
  if (page == nullptr || --page->refs > 0) return;
  free_.push_back(page);
}

SimInode::~SimInode() {
  pages_->charged_sectors -= reserved_sectors_ + loose_sectors_;
  for (Entry& entry : log_) pages_->drop(entry.page);
  visit_from(0, [&](uint64_t, Slot& slot) {
    pages_->drop(slot.current);
    pages_->drop(slot.durable);
  });
}

SimInode::Slot* SimInode::find_slot(uint64_t sector) const {
  const uint64_t g = sector / kGroupSectors;
  if (g >= groups_.size() || groups_[g] == nullptr) return nullptr;
  return &groups_[g]->slots[sector % kGroupSectors];
}

SimInode::Slot& SimInode::slot_at(uint64_t sector) {
  const uint64_t g = sector / kGroupSectors;
  if (g >= groups_.size()) groups_.resize(g + 1);
  if (groups_[g] == nullptr) groups_[g] = std::make_unique<Group>();
  return groups_[g]->slots[sector % kGroupSectors];
}

bool SimInode::is_reserved(uint64_t sector) const {
  return std::ranges::any_of(reserved_,
                             [&](const Range& r) { return r.begin <= sector && sector < r.end; });
}

void SimInode::set_current(uint64_t sector, Slot& slot, SimPage* page) {
  if ((slot.current == nullptr) != (page == nullptr) && !is_reserved(sector)) {
    const uint64_t change = page != nullptr ? 1 : UINT64_MAX;
    loose_sectors_ += change;
    pages_->charged_sectors += change;
  }
  pages_->drop(slot.current);
  slot.current = page;
}

void SimInode::recount() {
  pages_->charged_sectors -= reserved_sectors_ + loose_sectors_;
  reserved_sectors_ = 0;
  for (const Range& range : reserved_) reserved_sectors_ += range.end - range.begin;
  loose_sectors_ = 0;
  visit_from(0, [&](uint64_t sector, Slot& slot) {
    if (slot.current != nullptr && !is_reserved(sector)) ++loose_sectors_;
  });
  pages_->charged_sectors += reserved_sectors_ + loose_sectors_;
}

uint64_t SimInode::charge_sectors(uint64_t offset_bytes, uint64_t length_bytes) const {
  uint64_t sectors = 0;
  const uint64_t end = align_up(offset_bytes + length_bytes, kSimSectorBytes) / kSimSectorBytes;
  for (uint64_t s = offset_bytes / kSimSectorBytes; s < end; ++s) {
    const Slot* slot = find_slot(s);
    if ((slot == nullptr || slot->current == nullptr) && !is_reserved(s)) ++sectors;
  }
  return sectors;
}

Result<size_t> SimInode::read(uint64_t offset_bytes, Bytes out) const {
  if (offset_bytes >= size_bytes_) return size_t{0};
  const size_t length = std::min<uint64_t>(out.size(), size_bytes_ - offset_bytes);
  for (size_t done = 0; done < length;) {
    const uint64_t at = offset_bytes + done;
    const size_t within = at % kSimSectorBytes;
    const size_t piece = std::min<size_t>(kSimSectorBytes - within, length - done);
    const Slot* slot = find_slot(at / kSimSectorBytes);
    if (slot != nullptr && slot->unreadable) {
      return fail(StatusCode::io, "simulated unreadable sector");
    }
    if (slot == nullptr || slot->current == nullptr) {
      std::memset(out.data() + done, 0, piece);
    } else {
      std::memcpy(out.data() + done, slot->current->data + within, piece);
    }
    done += piece;
  }
  return length;
}

void SimInode::log_sector(uint64_t sector, Slot& slot, SimPage* page, Entry entry) {
  if (slot.logged++ == 0) slot.durable = ref(slot.current);
  set_current(sector, slot, page);
  entry.at = sector;
  entry.page = ref(page);
  log_.push_back(entry);
}

void SimInode::write(uint32_t id, uint64_t offset_bytes, ConstBytes data, uint16_t tear_bytes) {
  uint64_t begin = 0;
  std::memcpy(&begin, data.data(), std::min(sizeof begin, data.size()));
  if (unsynced_writes_.size() < kUnsyncedWritesMax &&
      std::ranges::find(unsynced_writes_, begin) == unsynced_writes_.end()) {
    unsynced_writes_.push_back(begin);
  }
  for (size_t done = 0; done < data.size();) {
    const uint64_t at = offset_bytes + done;
    const size_t within = at % kSimSectorBytes;
    const size_t piece = std::min<size_t>(kSimSectorBytes - within, data.size() - done);
    Slot& slot = slot_at(at / kSimSectorBytes);
    SimPage* page = pages_->get();
    if (piece < kSimSectorBytes) {
      if (slot.current == nullptr) {
        std::memset(page->data, 0, kSimSectorBytes);
      } else {
        std::memcpy(page->data, slot.current->data, kSimSectorBytes);
      }
    }
    std::memcpy(page->data + within, data.data() + done, piece);
    slot.unreadable = false;
    log_sector(at / kSimSectorBytes, slot, page,
               {.id = id, .tear_bytes = tear_bytes, .change = Change::data});
    done += piece;
  }
  if (offset_bytes + data.size() > size_bytes_) {
    size_bytes_ = offset_bytes + data.size();
    log_.push_back({.at = size_bytes_, .id = id, .change = Change::grow});
  }
}

void SimInode::truncate(uint64_t size_bytes) {
  if (size_bytes == size_bytes_) return;
  const uint32_t id = new_write_id();
  if (size_bytes > size_bytes_) {
    log_.push_back({.at = size_bytes, .id = id, .change = Change::grow});
  } else {
    log_.push_back({.at = size_bytes, .id = id, .change = Change::truncate});
    cut_sectors(size_bytes, id);
    cut_ranges(reserved_, align_up(size_bytes, kSimSectorBytes) / kSimSectorBytes);
    recount();
  }
  size_bytes_ = size_bytes;
}

void SimInode::cut_sectors(uint64_t size_bytes, uint32_t id) {
  const Entry cut{.id = id, .change = Change::cut};
  const size_t tail = size_bytes % kSimSectorBytes;
  Slot* last = find_slot(size_bytes / kSimSectorBytes);
  if (tail != 0 && last != nullptr && last->current != nullptr) {
    SimPage* page = pages_->get();
    std::memcpy(page->data, last->current->data, tail);
    std::memset(page->data + tail, 0, kSimSectorBytes - tail);
    log_sector(size_bytes / kSimSectorBytes, *last, page, cut);
  }
  visit_from(align_up(size_bytes, kSimSectorBytes) / kSimSectorBytes,
             [&](uint64_t sector, Slot& slot) {
               slot.unreadable = false;
               if (slot.current != nullptr) log_sector(sector, slot, nullptr, cut);
             });
}

void SimInode::reserve(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  const Range range{offset_bytes / kSimSectorBytes,
                    align_up(end_bytes, kSimSectorBytes) / kSimSectorBytes};
  const uint32_t id = new_write_id();
  add_range(reserved_, range);
  recount();
  log_.push_back({.at = range.begin, .end = range.end, .id = id, .change = Change::reserve});
  if (end_bytes > size_bytes_) {
    size_bytes_ = end_bytes;
    log_.push_back({.at = size_bytes_, .id = id, .change = Change::grow});
  }
}

void SimInode::add_range(std::vector<Range>& ranges, Range range) {
  std::erase_if(ranges, [&](const Range& r) {
    if (r.end < range.begin || range.end < r.begin) return false;
    range.begin = std::min(range.begin, r.begin);
    range.end = std::max(range.end, r.end);
    return true;
  });
  ranges.push_back(range);
  std::ranges::sort(ranges, {}, &Range::begin);
}

void SimInode::cut_ranges(std::vector<Range>& ranges, uint64_t end) {
  for (Range& range : ranges) range.end = std::min(range.end, end);
  std::erase_if(ranges, [](const Range& r) { return r.begin >= r.end; });
}

void SimInode::make_durable(Entry& entry) {
  switch (entry.change) {
    case Change::grow:
      durable_size_bytes_ = std::max(durable_size_bytes_, entry.at);
      return;
    case Change::truncate:
      durable_size_bytes_ = std::min(durable_size_bytes_, entry.at);
      cut_ranges(durable_reserved_, align_up(entry.at, kSimSectorBytes) / kSimSectorBytes);
      return;
    case Change::reserve:
      add_range(durable_reserved_, {entry.at, entry.end});
      return;
    case Change::data:
    case Change::cut:
      break;
  }
  Slot& slot = *find_slot(entry.at);
  pages_->drop(slot.durable);
  slot.durable = entry.page;  // takes over the log's reference
  if (--slot.logged == 0) {
    pages_->drop(slot.durable);
    slot.durable = nullptr;
  }
}

void SimInode::sync(uint64_t mark) {
  unsynced_writes_.clear();
  if (mark <= log_begin_) return;
  const size_t count = std::min<uint64_t>(mark - log_begin_, log_.size());
  size_t stuck = 0;
  for (size_t i = 0; i < count; ++i) {
    if (log_[i].stuck) {
      log_[stuck++] = log_[i];
    } else {
      make_durable(log_[i]);
    }
  }
  log_.erase(log_.begin() + static_cast<ptrdiff_t>(stuck),
             log_.begin() + static_cast<ptrdiff_t>(count));
  log_begin_ += count - stuck;
}

void SimInode::sync_failed(uint64_t mark, Random& random) {
  for (size_t i = 0; i < log_.size() && log_begin_ + i < mark; ++i) {
    if (log_[i].change == Change::data && random.chance(1, 2)) log_[i].stuck = true;
  }
}

void SimInode::flip(uint64_t offset_bytes, std::byte mask) {
  Slot& slot = slot_at(offset_bytes / kSimSectorBytes);
  if (slot.current == nullptr) {
    SimPage* page = pages_->get();
    std::memset(page->data, 0, kSimSectorBytes);
    set_current(offset_bytes / kSimSectorBytes, slot, page);
  }
  // In place: every version that shows these bytes is damaged with them.
  slot.current->data[offset_bytes % kSimSectorBytes] ^= mask;
}

void SimInode::set_unreadable(uint64_t offset_bytes) {
  slot_at(offset_bytes / kSimSectorBytes).unreadable = true;
}

}  // namespace gd2fs
