#include "fabric/rdma_memory.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>

#include "base/log.h"
#include "fabric/gpu_reach.h"

namespace gd2fs {

Result<RdmaMemory::Keys> RdmaMemory::register_with(const std::shared_ptr<const verbs::Nic>& nic,
                                                   const FabricMemory& memory) {
  Keys keys;
  keys.nic = nic;
  keys.part_bytes = memory.length_bytes;
  const uint64_t part_max = nic->region_max_bytes();
  if (part_max != 0 && keys.part_bytes > part_max) {
    keys.part_bytes = part_max >= kCutBytes ? align_down(part_max, kCutBytes) : part_max;
  }
  const auto use = memory.for_peers ? verbs::Use::data_for_peers : verbs::Use::data;
  for (uint64_t at = 0; at < memory.length_bytes; at += keys.part_bytes) {
    const uint64_t length = std::min(keys.part_bytes, memory.length_bytes - at);
    std::byte* const address = static_cast<std::byte*>(memory.address) + at;
    GD2FS_ASSIGN(auto part, memory.dmabuf < 0
                                ? nic->register_memory(address, length, use)
                                : nic->register_dmabuf(memory.dmabuf, memory.dmabuf_offset + at,
                                                       address, length, use));
    keys.parts.push_back(std::move(part));
  }
  if (!memory.gpu.empty()) {
    GD2FS_TRY(try_gpu(keys, memory));
    keys.distance = verbs::distance_between(verbs::place_of(nic->folder() + "/device"),
                                            verbs::place_of(memory.gpu));
  }
  return keys;
}

// Once for each pair: what was found out before holds.
Status RdmaMemory::try_gpu(const Keys& keys, const FabricMemory& memory) {
  GpuReach& reach = GpuReach::instance();
  std::optional<bool> reached = reach.known(keys.nic->name(), memory.gpu);
  if (!reached && memory.length_bytes >= sizeof(uint64_t)) {
    const verbs::Reach tried = verbs::try_read(keys.nic, *keys.parts.front(), memory.address);
    if (tried == verbs::Reach::unsure) return {};
    reached = tried == verbs::Reach::reached;
    reach.learn(keys.nic->name(), memory.gpu, *reached);
  }
  if (reached.value_or(true)) return {};
  return {StatusCode::unsupported, keys.nic->name() + " does not reach " + memory.gpu};
}

void RdmaMemory::add_nic(const std::shared_ptr<const verbs::Nic>& nic) {
  std::lock_guard changing(changing_mutex_);
  std::vector<Range*> ranges;
  {
    std::lock_guard lock(mutex_);
    nics_.push_back(nic);
    changes_.fetch_add(1, std::memory_order_release);
    for (auto& [region, range] : by_region_) ranges.push_back(range.get());
    for (auto& [address, range] : by_address_) ranges.push_back(range.get());
  }
  // Ranges do not go away while changing_mutex_ is held.
  for (Range* range : ranges) {
    Result<Keys> keys = register_with(nic, range->memory);
    if (!keys.has_value()) {
      GD2FS_LOG_WARN("{} bytes are copied instead of moved by RDMA: {}", range->memory.length_bytes,
                     keys.error().to_string());
      continue;
    }
    std::lock_guard lock(mutex_);
    range->keys.push_back(std::move(*keys));
    changes_.fetch_add(1, std::memory_order_release);
  }
}

void RdmaMemory::remove_nic(const verbs::Nic& nic) {
  std::lock_guard changing(changing_mutex_);
  std::vector<Keys> ended;  // outside of mutex_
  std::lock_guard lock(mutex_);
  std::erase_if(nics_, [&](const auto& one) { return one.get() == &nic; });
  const auto drop = [&](Range& range) {
    for (size_t i = range.keys.size(); i-- > 0;) {
      if (range.keys[i].nic.get() != &nic) continue;
      ended.push_back(std::move(range.keys[i]));
      range.keys.erase(range.keys.begin() + static_cast<ptrdiff_t>(i));
    }
  };
  for (auto& [region, range] : by_region_) drop(*range);
  for (auto& [address, range] : by_address_) drop(*range);
  changes_.fetch_add(1, std::memory_order_release);
}

Status RdmaMemory::add(const FabricMemory& memory) {
  CHECK(memory.length_bytes > 0);
  std::lock_guard changing(changing_mutex_);
  std::vector<std::shared_ptr<const verbs::Nic>> nics;
  {
    std::lock_guard lock(mutex_);
    const bool there = memory.region != 0
                           ? by_region_.contains(memory.region)
                           : by_address_.contains(reinterpret_cast<uintptr_t>(memory.address));
    if (there) return {StatusCode::exists, "this memory is registered already"};
    std::ranges::copy_if(nics_, std::back_inserter(nics),
                         [](const auto& nic) { return !nic->gone(); });
  }
  auto range = std::make_unique<Range>();
  range->memory = memory;
  if (memory.dmabuf >= 0) {
    range->dmabuf = Descriptor(fcntl(memory.dmabuf, F_DUPFD_CLOEXEC, 0));
    if (!range->dmabuf.open()) return Status::from_errno(errno, "dmabuf");
    range->memory.dmabuf = range->dmabuf.fd();  // for NICs that come later
  }
  Status outcome;
  for (const auto& nic : nics) {
    Result<Keys> keys = register_with(nic, memory);
    if (keys.has_value()) {
      range->keys.push_back(std::move(*keys));
    } else if (outcome.ok()) {
      outcome = keys.error();
    }
  }
  std::lock_guard lock(mutex_);
  changes_.fetch_add(1, std::memory_order_release);
  if (memory.region != 0) {
    by_region_.emplace(memory.region, std::move(range));
  } else {
    by_address_.emplace(reinterpret_cast<uintptr_t>(memory.address), std::move(range));
  }
  return outcome;
}

void RdmaMemory::remove(const FabricMemory& memory) {
  std::lock_guard changing(changing_mutex_);
  std::unique_ptr<Range> range;  // its keys end outside of mutex_
  std::lock_guard lock(mutex_);
  changes_.fetch_add(1, std::memory_order_release);
  if (memory.region != 0) {
    if (auto node = by_region_.extract(memory.region)) range = std::move(node.mapped());
  } else {
    auto node = by_address_.extract(reinterpret_cast<uintptr_t>(memory.address));
    if (node) range = std::move(node.mapped());
  }
}

void RdmaMemory::check(const void* address, uint32_t region) {
  std::lock_guard changing(changing_mutex_);
  std::vector<Keys> ended;     // outside of mutex_, but before a remove() that waits can return
  std::vector<Range*> ranges;  // which do not go away, nor do their keys change
  const Range* doubted = nullptr;
  {
    std::lock_guard lock(mutex_);
    doubted = range_of(address, region);
    for (auto& [number, range] : by_region_) ranges.push_back(range.get());
    for (auto& [start, range] : by_address_) ranges.push_back(range.get());
  }
  if (doubted == nullptr || doubted->memory.gpu.empty()) return;
  const std::string& gpu = doubted->memory.gpu;
  std::vector<const verbs::Nic*> refused;
  for (const Keys& keys : doubted->keys) {
    const auto tried = verbs::try_read(keys.nic, *keys.parts.front(), doubted->memory.address);
    if (tried != verbs::Reach::refused) continue;
    // It did reach it. The memory may have gone and not the way to it, so the next registration
    // tries anew.
    refused.push_back(keys.nic.get());
    GpuReach::instance().forget(keys.nic->name(), gpu);
    GD2FS_LOG_WARN("{} does not reach memory of {} any more: its keys there end", keys.nic->name(),
                   gpu);
  }
  if (refused.empty()) return;
  std::lock_guard lock(mutex_);
  changes_.fetch_add(1, std::memory_order_release);
  for (Range* range : ranges) {
    if (range->memory.gpu != gpu) continue;
    for (size_t i = range->keys.size(); i-- > 0;) {
      if (std::ranges::find(refused, range->keys[i].nic.get()) == refused.end()) continue;
      ended.push_back(std::move(range->keys[i]));
      range->keys.erase(range->keys.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

RdmaMemory::Range* RdmaMemory::range_of(const void* address, uint32_t region) const {
  if (region != 0) {
    const auto found = by_region_.find(region);
    return found == by_region_.end() ? nullptr : found->second.get();
  }
  auto after = by_address_.upper_bound(reinterpret_cast<uintptr_t>(address));
  return after == by_address_.begin() ? nullptr : std::prev(after)->second.get();
}

// The keys at that address, of the stretch from *begin on that they are for; with mutex_.
RdmaMemory::Part RdmaMemory::look_up(const verbs::Nic& nic, const void* address, uint32_t region,
                                     uintptr_t* begin) const {
  const Range* range = range_of(address, region);
  if (range == nullptr) return {};
  const auto start = reinterpret_cast<uintptr_t>(range->memory.address);
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at < start || at - start >= range->memory.length_bytes) return {};
  for (const Keys& keys : range->keys) {
    if (keys.nic.get() != &nic) continue;
    const uint64_t index = (at - start) / keys.part_bytes;
    const uint64_t offset = index * keys.part_bytes;
    const verbs::MemoryRegion& part = *keys.parts[index];
    *begin = start + offset;
    return {std::min(keys.part_bytes, range->memory.length_bytes - offset), part.local_key(),
            part.remote_key(), keys.distance};
  }
  return {};
}

RdmaMemory::Part RdmaMemory::find(const verbs::Nic& nic, const void* address, uint64_t length_bytes,
                                  uint32_t region, Known& known) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const bool same = known.changes == changes_.load(std::memory_order_acquire) &&
                    known.region == region && at >= known.begin && at < known.end;
  if (!same) {
    std::lock_guard lock(mutex_);
    known.changes = changes_.load(std::memory_order_relaxed);
    known.region = region;
    known.begin = at;
    known.keys = look_up(nic, address, region, &known.begin);
    known.end = known.begin + known.keys.length_bytes;
  }
  if (known.keys.length_bytes == 0) return {};
  return {std::min<uint64_t>(length_bytes, known.end - at), known.keys.local_key,
          known.keys.remote_key, known.keys.distance};
}

RdmaMemory::Part RdmaMemory::find(const verbs::Nic& nic, const void* address, uint64_t length_bytes,
                                  uint32_t region) const {
  Known known;
  return find(nic, address, length_bytes, region, known);
}

bool RdmaMemory::known_to_any(const void* address, uint64_t length_bytes, uint32_t region) const {
  std::lock_guard lock(mutex_);
  const Range* range = range_of(address, region);
  if (range == nullptr || range->keys.empty()) return false;
  const auto start = reinterpret_cast<uintptr_t>(range->memory.address);
  const auto at = reinterpret_cast<uintptr_t>(address);
  return at >= start && at - start <= range->memory.length_bytes &&
         length_bytes <= range->memory.length_bytes - (at - start);
}

bool RdmaMemory::covers(const verbs::Nic& nic, const void* address, uint64_t length_bytes,
                        uint32_t region, Known& known) const {
  const auto* at = static_cast<const std::byte*>(address);
  while (length_bytes > 0) {
    const Part part = find(nic, at, length_bytes, region, known);
    if (part.length_bytes == 0) return false;
    at += part.length_bytes;
    length_bytes -= part.length_bytes;
  }
  return true;
}

}  // namespace gd2fs
