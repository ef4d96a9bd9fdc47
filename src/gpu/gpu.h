// Gpu: the door to GPU memory. Says what an address is, copies between host and GPU memory without
// blocking, and orders our copies after the caller's own GPU work; cuda in cuda_gpu.h (the driver
// by dlopen, nothing of it is linked), none in no_gpu.h, a fake driver in tests/fake_cuda.
//
// A GpuTarget names one GPU context of this process: where memory lives and where its copies run.
// Copies are lists of pieces {host, gpu, length}; how they travel (copy engine or kernel, merged,
// split) is decided below this line. The host side must be memory that map_host() made known to the
// driver, so that a copy neither blocks nor goes through the driver's own staging.
//
// Thread rule: find(), map_host(), fence_after(), export_range(), see_nic_writes() and folder()
// from any thread; copy(), expect() and wait() from the loop. A Gpu outlives its HostMappings and
// fences, and every copy in flight. Errors: a copy that fails completes with io and errno EIO. When
// the context is gone (the application destroyed it, the device was reset, a kernel of anybody's
// ended it with an error) all copies of its target end that way, now and later; memory found after
// that gets a new target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/list.h"
#include "base/status.h"
#include "loop/completion.h"

namespace gd2fs {

// What the CPU may do with an address, and so who moves its bytes.
enum class MemoryKind : uint8_t {
  host,     // the CPU's: malloc, mmap, host-registered, cudaMallocHost, and managed memory
  managed,  // CUDA managed memory that the CPU can use as it is; treated as host memory
  device,   // only the GPU's
};

using GpuTarget = uint32_t;  // 0: host memory
inline constexpr GpuTarget kHostTarget = 0;

struct GpuMemory {
  MemoryKind kind = MemoryKind::host;
  GpuTarget target = kHostTarget;  // of device memory
  int32_t device = -1;             // the device's ordinal
};

struct GpuPiece {
  std::byte* host = nullptr;
  std::byte* gpu = nullptr;
  uint64_t length_bytes = 0;
  uint32_t mapping = 0;  // HostMapping::number() of the host side
  uint32_t region = 0;   // any number that tells registrations of GPU memory apart
};

// One list of copies; caller-owned until `done` completes. Pieces must not overlap. Neighbours of
// one mapping and one region become one copy (the driver refuses a copy that spans two).
struct GpuCopy : ListNode<> {
  enum class Direction : uint8_t { to_gpu, from_gpu };
  Direction direction = Direction::to_gpu;
  GpuTarget target = kHostTarget;
  // Part of a long transfer: it goes behind the other parts, however short it is (what the engine
  // copies behind the engine's, what the kernel copies behind the kernel's; out of the GPU each
  // behind the other).
  bool bulk = false;
  // All of it goes by the copy engine, however short its pieces are: the kernel may wait for a
  // processor while others hold all, and wants a stream of its own beside the engine's.
  bool by_engine = false;
  std::vector<GpuPiece> pieces;
  Completion done;  // what was copied is visible to work that is launched after this

  // The implementation's own, from copy() to done.
  bool brief = false;
  std::vector<GpuPiece> tiles;  // what goes by the kernel
  size_t tiles_sent = 0;
  uint32_t flights = 0;
  Status outcome;
};

// Host memory that the driver knows, from map_host() until it is destroyed. Destroy it when no copy
// uses it any more; takes milliseconds, so not on a loop.
class HostMapping {
 public:
  virtual ~HostMapping() = default;
  virtual uint32_t number() const = 0;  // never 0, never used twice
  // Whether copies of this target may use it now: it goes with the context that it was made in. On
  // the loop.
  virtual bool serves(GpuTarget target) const = 0;
};

// "All that was queued on this stream by now."
class GpuFence : public ListNode<> {
 public:
  virtual ~GpuFence() = default;
  Completion* waiter = nullptr;  // the implementation's own
};

struct GpuExport {
  int fd = -1;                // a dmabuf; the caller's to close
  uint64_t offset_bytes = 0;  // of the range's first byte in it
};

class Gpu {
 public:
  // read: the mapping's memory is only ever copied from (a read-only mmap needs this).
  enum class Access : uint8_t { read, read_write };

  virtual ~Gpu() = default;

  // What [address, address + length) is; the whole range must be one kind on one device. Prepares
  // the target on its first use (milliseconds). unsupported: there is no GPU; invalid: an address
  // that neither CPU nor GPU can use; io: the driver failed.
  virtual Result<GpuMemory> find(const void* address, uint64_t length_bytes) = 0;

  // Pins host memory for copies of all targets. Blocks (31-77 ms per GiB): not on a loop. The
  // memory must stay mapped while the mapping lives. `target`: of the context to do it with.
  virtual Result<std::unique_ptr<HostMapping>> map_host(GpuTarget target, void* address,
                                                        uint64_t length_bytes, Access access) = 0;

  virtual void copy(GpuCopy& copy) = 0;
  // A copy of this target will follow within a few microseconds: what makes the first one after a
  // pause slow is done now. On the loop.
  virtual void expect(GpuTarget /*target*/) {}

  // Marks the end of what is queued on a CUstream (1: the legacy default stream, 2: the per-thread
  // one, of the target's context or, for kHostTarget, of the calling thread's) now. nullptr:
  // nothing is. invalid: not a stream, or one that is being captured.
  virtual Result<std::unique_ptr<GpuFence>> fence_after(uint64_t stream, GpuTarget target) = 0;
  // Completes when the fence is passed; io when its context failed. The fence stays the caller's.
  virtual void wait(GpuFence& fence, Completion& done) = 0;
  // Ends a wait early, with canceled.
  virtual void cancel(GpuFence& fence) = 0;

  // Waits until no copy is under way; for the end of a loop that is never turned again. Any thread.
  virtual void drain() = 0;

  // A dmabuf of a range of device memory, for a NIC. unsupported: driver or kernel have none.
  virtual Result<GpuExport> export_range(const void* address, uint64_t length_bytes) = 0;

  // What a NIC has written into memory of this target by now is seen by all work that is launched
  // after. Nothing to be done on most machines. unsupported: there is no means here to see to it;
  // then no NIC may write there. Any thread.
  virtual Status see_nic_writes(GpuTarget target) = 0;

  // The folder of the target's device in /sys, for its distance from NICs; "": not known. Any
  // thread.
  virtual std::string folder(GpuTarget /*target*/) { return {}; }

  // "cuda 13.0", "none: libcuda.so.1: not found", for logs.
  virtual std::string description() = 0;
};

}  // namespace gd2fs
