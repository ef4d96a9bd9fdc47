// HandleTable: the handles of one connection. A client presents a file's capability once and names
// it by a 32-bit handle of its choice from then on.
//
// A refused capability stays in the table as its refusal, because BindHandle is one-way: the
// request behind it gets the reason. Over handles_max the longest unused handle is forgotten; a
// request that names an unknown one is answered stale, upon which the client binds again. One loop.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/list.h"
#include "base/status.h"

namespace gd2fs::server {

struct Handle {
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t expiry_us = 0;  // by the wall clock
  uint8_t chunk_log2 = 0;
  bool may_read = false;
  bool may_write = false;
  bool pinned = false;
};

class HandleTable {
 public:
  explicit HandleTable(size_t handles_max) : handles_max_(handles_max) {}

  // Replaces what the handle meant before.
  void bind(uint32_t number, const Handle& handle) { put(number, handle, Status()); }
  void refuse(uint32_t number, Status why) { put(number, Handle(), std::move(why)); }
  // The handle, or why it was refused, or stale if it is unknown.
  Result<Handle> find(uint32_t number);
  size_t size() const { return entries_.size(); }

 private:
  struct Entry : ListNode<> {
    uint32_t number = 0;
    Handle handle;
    Status refusal;
  };
  void put(uint32_t number, const Handle& handle, Status refusal);

  size_t handles_max_;
  std::unordered_map<uint32_t, Entry> entries_;
  List<Entry> by_use_;  // longest unused first
};

}  // namespace gd2fs::server
