#include "client/iomem.h"

#include <cerrno>
#include <unistd.h>
#include <utility>

#include <sys/uio.h>

namespace gd2fs::client {

bool is_host_memory(const void* address, size_t length_bytes) {
  // The kernel copies one byte of either end for us: a page that the CPU cannot read answers
  // EFAULT here instead of a signal later. Where the call is forbidden (seccomp) we must believe
  // the caller.
  char ends[2];
  auto* bytes = static_cast<const char*>(address);
  iovec local[2] = {{&ends[0], 1}, {&ends[1], 1}};
  iovec remote[2] = {{const_cast<char*>(bytes), 1},
                     {const_cast<char*>(bytes + length_bytes - 1), 1}};
  const ssize_t read = process_vm_readv(getpid(), local, 2, remote, 2, 0);
  return read == 2 || (read < 0 && errno != EFAULT);
}

namespace {

Result<GpuMemory> find_memory(const void* address, size_t length_bytes, Gpu& gpu) {
  if (is_host_memory(address, length_bytes)) return GpuMemory{};
  Result<GpuMemory> found = gpu.find(address, length_bytes);
  if (found.has_value() && found->kind == MemoryKind::device) return found;
  if (found.has_value()) {
    return fail(StatusCode::unsupported, "neither the CPU nor a GPU can use all of this range");
  }
  if (!found.error().is(StatusCode::unsupported)) return found;
  return fail(
      found.error().with("the CPU cannot read this address, so it is unmapped or GPU memory"));
}

}  // namespace

Result<IomemHandle> IomemTable::add(void* address, size_t length_bytes, Gpu& gpu) {
  if (address == nullptr || length_bytes == 0) {
    return fail(StatusCode::invalid, "an iomem needs an address and a length");
  }
  const auto start = reinterpret_cast<uintptr_t>(address);
  if (length_bytes > UINTPTR_MAX - start) {
    return fail(StatusCode::invalid, "the range wraps around the end of memory");
  }
  GD2FS_ASSIGN(const GpuMemory memory, find_memory(address, length_bytes, gpu));
  std::lock_guard lock(drain_mutex_);
  const IomemHandle handle = table_.insert(Entry{start, length_bytes, memory, nullptr});
  if (handle == 0) return fail(StatusCode::busy, "iomems_max registrations are in use", ENOMEM);
  return handle;
}

bool IomemTable::inside(const Entry& entry, const void* address, uint64_t length_bytes) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  return start >= entry.address && start - entry.address <= entry.length_bytes &&
         length_bytes <= entry.length_bytes - (start - entry.address);
}

bool IomemTable::pin(IomemHandle handle, const void* address, uint64_t length_bytes) {
  const Entry* entry = table_.pin(handle);
  if (entry == nullptr) return false;
  if (inside(*entry, address, length_bytes)) return true;
  unpin(handle);
  return false;
}

bool IomemTable::device_of(IomemHandle handle, int32_t* device) {
  const Entry* entry = table_.pin(handle);
  if (entry == nullptr) return false;
  *device = entry->memory.device;
  unpin(handle);
  return true;
}

bool IomemTable::contains(IomemHandle handle, const void* address, uint64_t length_bytes) {
  return inside(table_.value_of(handle), address, length_bytes);
}

void IomemTable::unpin(IomemHandle handle) {
  if (!table_.unpin(handle)) return;
  std::lock_guard lock(drain_mutex_);
  // The closer may have seen the last pin go, and the entry may serve another registration by now.
  if (!table_.drained(handle)) return;
  Drain*& drain = table_.value_of(handle).drain;
  if (drain != nullptr) std::exchange(drain, nullptr)->drained();
}

void IomemTable::remove(IomemHandle handle) {
  std::lock_guard lock(drain_mutex_);
  table_.release(handle);
}

bool IomemTable::wait(IomemHandle handle, Drain* drain) {
  std::lock_guard lock(drain_mutex_);
  if (table_.pins(handle) == 0) return true;
  table_.value_of(handle).drain = drain;
  return false;
}

}  // namespace gd2fs::client
