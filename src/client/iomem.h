// Iomem: the registry of the memory that a ctx's requests may use.
//
// Registering and deregistering take constant time. What the CPU can read is host memory (managed
// and host-registered memory of CUDA too); of any other address the Gpu is asked, which is the
// first time that this process touches a driver. A request pins every registration that its SGEs
// name, from submit until no peer can touch the memory; deregistering keeps new pins out and then
// waits for the last one. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/status.h"
#include "client/handle_table.h"
#include "gpu/no_gpu.h"

namespace gd2fs::client {

using IomemHandle = uint64_t;  // 0 is none
// Tells the registrations that are there apart; never 0.
constexpr uint32_t region_of(IomemHandle handle) {
  return static_cast<uint32_t>(handle % HandleTable<int>::kEntriesMax) + 1;
}

// True if the CPU of this process can read every byte's page at both ends of the range. GPU memory
// and unmapped addresses answer false.
bool is_host_memory(const void* address, size_t length_bytes);

class IomemTable {
 public:
  static constexpr uint32_t kIomemsMax = 1 << 20;

  // Told when the last pin of a closing registration is gone. `drained` may be called on any
  // thread, at most once per close().
  struct Drain {
    virtual ~Drain() = default;
    virtual void drained() = 0;
  };

  IomemTable() : table_(kIomemsMax) {}

  // invalid: empty or overflowing; unsupported: an address that neither the CPU nor a GPU can use;
  // busy: kIomemsMax are registered; io: the GPU's driver failed.
  Result<IomemHandle> add(void* address, size_t length_bytes, Gpu& gpu = NoGpu::instance());

  // Pins the registration if [address, address + length) lies inside it; false otherwise.
  bool pin(IomemHandle handle, const void* address, uint64_t length_bytes);
  // Whether a further slice lies inside a registration that the caller has pinned.
  bool contains(IomemHandle handle, const void* address, uint64_t length_bytes);
  // Of a registration that the caller has pinned: kHostTarget or the GPU's.
  GpuTarget target_of(IomemHandle handle) { return table_.value_of(handle).memory.target; }
  // The GPU's ordinal, -1 for host memory; false if the handle is not registered.
  bool device_of(IomemHandle handle, int32_t* device);
  void unpin(IomemHandle handle);

  // Keeps new pins out; false if the handle is not registered.
  bool close(IomemHandle handle) { return table_.close(handle); }
  bool closing(IomemHandle handle) { return table_.closing(handle); }
  // Of a closed handle: true when no pin is left; otherwise `drain` will be told.
  bool wait(IomemHandle handle, Drain* drain);
  // Of a closed handle without pins.
  void remove(IomemHandle handle);

 private:
  struct Entry {
    uintptr_t address = 0;
    uint64_t length_bytes = 0;
    GpuMemory memory;
    Drain* drain = nullptr;
  };
  static bool inside(const Entry& entry, const void* address, uint64_t length_bytes);

  HandleTable<Entry> table_;
  std::mutex drain_mutex_;  // guards every entry's drain, and its use again
};

}  // namespace gd2fs::client
