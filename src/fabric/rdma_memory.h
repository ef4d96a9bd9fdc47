// RdmaMemory: what memory the NICs of a fabric may use, and with which keys.
//
// A range is registered with every NIC there is, and with those that come later, from add() until
// remove(); its keys open nothing before and after. A NIC registers at most region_max_bytes() at
// once, so a long range has several keys in a row. Registering pins memory and blocks (30 to 300 ms
// per GiB): not on a loop. Any thread; look-ups are short.
//
// Of GPU memory the NIC is asked to read some bytes before its keys count (verbs/try_read.h): one
// that cannot is as one that refused the registration, for this and all other memory of that GPU.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/descriptor.h"
#include "fabric/fabric.h"
#include "verbs/pci_place.h"
#include "verbs/try_read.h"

namespace gd2fs {

class RdmaMemory {
 public:
  static constexpr uint64_t kCutBytes = 2 << 20;  // long ranges are cut at multiples of it

  // What is there already is registered with the new one; of what cannot be, find() says so.
  void add_nic(const std::shared_ptr<const verbs::Nic>& nic);
  // Its keys end. Blocks as add() does.
  void remove_nic(const verbs::Nic& nic);

  // exists: that region, or that address, is there already. Another error: some NIC could not
  // register it; the others have.
  Status add(const FabricMemory& memory);
  // Keys are invalid when this returns. Of memory that is not there: nothing.
  void remove(const FabricMemory& memory);
  // Something went wrong with a transfer of GPU memory: whether its NICs still reach that GPU is
  // tried again. The keys of those that do not end. Blocks as add() does.
  void check(const void* address, uint32_t region);

  // The keys of a stretch that begins at an address.
  struct Part {
    uint64_t length_bytes = 0;  // 0: this NIC may not use that memory
    uint32_t local_key = 0;
    uint32_t remote_key = 0;
    verbs::PciDistance distance = verbs::PciDistance::far;  // of GPU memory
  };
  // At most `length_bytes` of it; region 0: whichever range without one holds the address.
  Part find(const verbs::Nic& nic, const void* address, uint64_t length_bytes,
            uint32_t region) const;
  // What one session found last: in the same stretch it finds the keys without the lock, as long as
  // nothing was added or removed since. One NIC, one loop.
  struct Known {
    uint64_t changes = 0;  // of the memory when it was asked; 0: nothing is known
    uint32_t region = 0;
    uintptr_t begin = 0;
    uintptr_t end = 0;
    Part keys;
  };
  Part find(const verbs::Nic& nic, const void* address, uint64_t length_bytes, uint32_t region,
            Known& known) const;
  // All of it may be used.
  bool covers(const verbs::Nic& nic, const void* address, uint64_t length_bytes, uint32_t region,
              Known& known) const;
  // By one NIC at least.
  bool known_to_any(const void* address, uint64_t length_bytes, uint32_t region) const;

 private:
  struct Keys {
    std::shared_ptr<const verbs::Nic> nic;
    uint64_t part_bytes = 0;
    verbs::PciDistance distance = verbs::PciDistance::far;
    std::vector<std::unique_ptr<verbs::MemoryRegion>> parts;
  };
  struct Range {
    FabricMemory memory;
    Descriptor dmabuf;
    std::vector<Keys> keys;  // of the NICs that have registered it
  };
  static Result<Keys> register_with(const std::shared_ptr<const verbs::Nic>& nic,
                                    const FabricMemory& memory);
  static Status try_gpu(const Keys& keys, const FabricMemory& memory);
  Range* range_of(const void* address, uint32_t region) const;
  Part look_up(const verbs::Nic& nic, const void* address, uint32_t region, uintptr_t* begin) const;

  std::mutex changing_mutex_;         // one change at a time; taken first
  std::atomic<uint64_t> changes_{1};  // grows under mutex_
  mutable std::mutex mutex_;          // guards all below
  std::vector<std::shared_ptr<const verbs::Nic>> nics_;
  std::unordered_map<uint32_t, std::unique_ptr<Range>> by_region_;
  std::map<uintptr_t, std::unique_ptr<Range>> by_address_;  // those of region 0
};

}  // namespace gd2fs
