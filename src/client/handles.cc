#include "client/handles.h"

namespace gd2fs::client {

Handles::Use Handles::use(uint64_t inode, uint64_t capability_number) {
  Entry& entry = entry_of(inode);
  const bool bind = entry.capability_number != capability_number;
  entry.capability_number = capability_number;
  return {entry.handle, bind};
}

// It is the one that was used last then.
Handles::Entry& Handles::entry_of(uint64_t inode) {
  if (last_ != nullptr && last_->inode == inode) return *last_;
  auto found = by_inode_.find(inode);
  if (found == by_inode_.end()) {
    uint32_t handle;
    if (by_inode_.size() < kHandlesMax) {
      handle = ++last_handle_;
    } else {
      Entry& unused = *by_use_.front();
      handle = unused.handle;
      by_inode_.erase(unused.inode);
    }
    found = by_inode_.try_emplace(inode).first;
    found->second.inode = inode;
    found->second.handle = handle;
  }
  last_ = &found->second;
  by_use_.push_back(*last_);
  return *last_;
}

void Handles::forget(uint64_t inode) {
  if (auto found = by_inode_.find(inode); found != by_inode_.end()) {
    found->second.capability_number = 0;
  }
}

void Handles::clear() {
  last_ = nullptr;
  by_inode_.clear();
  last_handle_ = 0;
}

}  // namespace gd2fs::client
