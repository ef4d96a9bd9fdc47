#include "server/handle_table.h"

namespace gd2fs::server {

void HandleTable::put(uint32_t number, const Handle& handle, Status refusal) {
  if (entries_.size() >= handles_max_ && !entries_.contains(number)) {
    const uint32_t unused = by_use_.pop_front()->number;
    entries_.erase(unused);
  }
  Entry& entry = entries_[number];
  entry.number = number;
  entry.handle = handle;
  entry.refusal = std::move(refusal);
  by_use_.push_back(entry);
}

Result<Handle> HandleTable::find(uint32_t number) {
  const auto found = entries_.find(number);
  if (found == entries_.end()) return fail(StatusCode::stale, "unknown handle");
  Entry& entry = found->second;
  by_use_.push_back(entry);
  if (!entry.refusal.ok()) return fail(entry.refusal);
  return entry.handle;
}

}  // namespace gd2fs::server
