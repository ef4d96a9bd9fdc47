// Device memory, CUDA's virtual memory management, host memory, what a pointer is.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include "world.h"

using namespace fake_cuda;  // NOLINT: the library's own names

#define FAKE_API extern "C" __attribute__((visibility("default"))) int

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kGranularity = 2 << 20;  // of VMM
constexpr uint64_t kTotalBytes = uint64_t{8} << 30;

uint64_t up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

void* address_of(Pointer pointer) {
  return reinterpret_cast<void*>(pointer);  // NOLINT(performance-no-int-to-ptr)
}

Pointer pointer_of(const void* address) {
  return reinterpret_cast<Pointer>(address);
}

std::byte* shadow_of(int fd, uint64_t length) {
  void* shadow = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return shadow == MAP_FAILED ? nullptr : static_cast<std::byte*>(shadow);
}

// Whether this process may write to the pages at `address`, as its own map of memory says.
bool is_writable(const void* address) {
  std::FILE* maps = std::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return true;
  char line[512];
  bool writable = false;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    unsigned long begin = 0, end = 0;
    char rights[8] = "";
    if (std::sscanf(line, "%lx-%lx %4s", &begin, &end, rights) != 3) continue;
    const auto at = reinterpret_cast<uintptr_t>(address);
    if (at >= begin && at < end) writable = rights[1] == 'w';
  }
  (void)std::fclose(maps);
  return writable;
}

bool of_device(const Stream& stream, int device) {
  return stream.context->device == device;
}

}  // namespace

FAKE_API cuMemAlloc_v2(Pointer* pointer, size_t length) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (length == 0) return kInvalidValue;
  const uint64_t bytes = up(length, kPage);
  Range range;
  range.fd = memfd_create("fake_cuda", MFD_CLOEXEC);
  if (range.fd < 0 || ftruncate(range.fd, static_cast<off_t>(bytes)) != 0) return 2;
  void* user = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, range.fd, 0);
  range.shadow = shadow_of(range.fd, bytes);
  if (user == MAP_FAILED || range.shadow == nullptr) return 2;
  range.begin = pointer_of(user);
  range.length = length;
  range.context = world.current();
  range.device = range.context->device;
  world.ranges[range.begin] = range;
  *pointer = range.begin;
  return kSuccess;
}

FAKE_API cuMemAllocManaged(Pointer* pointer, size_t length, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  void* user =
      mmap(nullptr, up(length, kPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (user == MAP_FAILED) return 2;
  Range range;
  range.begin = pointer_of(user);
  range.length = length;
  range.shadow = static_cast<std::byte*>(user);
  range.context = world.current();
  range.device = range.context->device;
  range.managed = true;
  world.ranges[range.begin] = range;
  *pointer = range.begin;
  return kSuccess;
}

// As the real one: waits for the device.
FAKE_API cuMemFree_v2(Pointer pointer) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  const auto found = world.ranges.find(pointer);
  if (found == world.ranges.end() || found->second.context == nullptr) return kInvalidValue;
  const Range range = found->second;
  world.wait_idle(lock, [&](const Stream& stream) { return of_device(stream, range.device); });
  world.ranges.erase(pointer);
  munmap(address_of(pointer), up(range.length, kPage));
  if (!range.managed) munmap(range.shadow, up(range.length, kPage));
  if (range.fd >= 0) close(range.fd);
  return kSuccess;
}

FAKE_API cuMemGetInfo_v2(size_t* free, size_t* total) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  uint64_t used = 0;
  for (const auto& [begin, range] : world.ranges) {
    if (range.device == world.current()->device) used += range.length;
  }
  *total = kTotalBytes;
  *free = kTotalBytes - used;
  return kSuccess;
}

// --- virtual memory management ---

namespace {

struct Location {
  int type;
  int id;
};
struct AllocationProperties {
  int type;
  int handle_types;
  Location location;
  void* windows;
  unsigned char flags[8];
};

}  // namespace

FAKE_API cuMemGetAllocationGranularity(size_t* granularity, const AllocationProperties*, int) {
  *granularity = kGranularity;
  return kSuccess;
}

FAKE_API cuMemAddressReserve(Pointer* pointer, size_t length, size_t, Pointer, unsigned long long) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (length == 0 || length % kGranularity != 0) return kInvalidValue;
  void* user = mmap(nullptr, length + kGranularity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (user == MAP_FAILED) return 2;
  *pointer = up(pointer_of(user), kGranularity);
  world.reservations[*pointer] = length;
  return kSuccess;
}

FAKE_API cuMemAddressFree(Pointer pointer, size_t length) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  const auto found = world.reservations.find(pointer);
  if (found == world.reservations.end() || found->second != length) return kInvalidValue;
  world.reservations.erase(found);
  munmap(address_of(pointer), length);
  return kSuccess;
}

FAKE_API cuMemCreate(Physical** handle, size_t length, const AllocationProperties* properties,
                     unsigned long long) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (length == 0 || length % kGranularity != 0) return kInvalidValue;
  auto physical = std::make_unique<Physical>();
  physical->fd = memfd_create("fake_cuda_vmm", MFD_CLOEXEC);
  if (physical->fd < 0 || ftruncate(physical->fd, static_cast<off_t>(length)) != 0) return 2;
  physical->length = length;
  physical->device = properties->location.id;
  *handle = world.physicals.emplace_back(std::move(physical)).get();
  return kSuccess;
}

FAKE_API cuMemRelease(Physical* handle) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  // What is mapped keeps its own way to the file.
  close(handle->fd);
  std::erase_if(world.physicals, [&](const auto& one) { return one.get() == handle; });
  return kSuccess;
}

FAKE_API cuMemMap(Pointer pointer, size_t length, size_t offset, Physical* handle,
                  unsigned long long) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (offset != 0 || length != handle->length || pointer % kGranularity != 0) return kInvalidValue;
  if (world.range_of(pointer) != nullptr) return kAlreadyMapped;
  Range range;
  range.begin = pointer;
  range.length = length;
  range.shadow = shadow_of(handle->fd, length);
  range.device = handle->device;
  range.fd = dup(handle->fd);
  if (range.shadow == nullptr) return 2;
  world.ranges[pointer] = range;
  return kSuccess;
}

FAKE_API cuMemUnmap(Pointer pointer, size_t length) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  world.wait_idle(lock, [](const Stream&) { return true; });
  while (length > 0) {
    const auto found = world.ranges.find(pointer);
    if (found == world.ranges.end() || found->second.length > length) return kInvalidValue;
    const Range range = found->second;
    munmap(range.shadow, range.length);
    close(range.fd);
    world.ranges.erase(found);
    pointer += range.length;
    length -= range.length;
  }
  return kSuccess;
}

FAKE_API cuMemSetAccess(Pointer, size_t, const void*, size_t) {
  return kSuccess;
}

FAKE_API cuMemGetHandleForAddressRange(void* handle, Pointer pointer, size_t length, int type,
                                       unsigned long long flags) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (type != 1 || flags != 0) return kNotSupported;
  if (pointer % kPage != 0 || length % kPage != 0 || length == 0) return kInvalidValue;
  // An allocation ends on a page for this purpose.
  std::vector<std::pair<std::byte*, uint64_t>> pieces;
  const Range* last = world.range_of(pointer + length - kPage);
  if (last == nullptr) return kInvalidValue;
  const uint64_t known = std::min<uint64_t>(length, last->begin + last->length - pointer);
  if (!world.pieces_of(pointer, known, &pieces)) return kInvalidValue;
  const int fd = memfd_create("fake_cuda_dmabuf", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(length)) != 0) return kNotSupported;
  // A copy of what is there now: enough to check that offset and bytes are right.
  off_t at = 0;
  for (const auto& [bytes, count] : pieces) {
    if (pwrite(fd, bytes, count, at) != static_cast<ssize_t>(count)) return kNotSupported;
    at += static_cast<off_t>(count);
  }
  struct stat facts{};
  if (fstat(fd, &facts) != 0) return kNotSupported;
  world.dmabufs[facts.st_ino] = std::move(pieces);
  *static_cast<int*>(handle) = fd;
  return kSuccess;
}

extern "C" __attribute__((visibility("default"))) void* fake_cuda_dmabuf_bytes(int fd,
                                                                               uint64_t offset,
                                                                               uint64_t length) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  struct stat facts{};
  if (fstat(fd, &facts) != 0) return nullptr;
  const auto found = world.dmabufs.find(facts.st_ino);
  if (found == world.dmabufs.end()) return nullptr;
  for (const auto& [bytes, count] : found->second) {
    if (offset < count) return length <= count - offset ? bytes + offset : nullptr;
    offset -= count;
  }
  return nullptr;
}

// --- host memory ---

FAKE_API cuMemHostRegister_v2(void* address, size_t length, unsigned flags) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_capture(); error != kSuccess) return error;
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (address == nullptr || length == 0) return kInvalidValue;
  if (world.refuse_registration_error != kSuccess && length >= world.refuse_registration_bytes) {
    return world.refuse_registration_error;
  }
  const auto begin = reinterpret_cast<uintptr_t>(address);
  for (const auto& [start, one] : world.registrations) {
    if (begin < start + one.length && start < begin + length) return kAlreadyRegistered;
  }
  if ((flags & 8) == 0 && !is_writable(address)) return kInvalidValue;
  world.registrations[begin] = {begin, length, flags, world.current()};
  return kSuccess;
}

FAKE_API cuMemHostUnregister(void* address) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_capture(); error != kSuccess) return error;
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (!world.registrations.contains(reinterpret_cast<uintptr_t>(address))) return kNotRegistered;
  world.wait_idle(lock, [](const Stream&) { return true; });
  world.registrations.erase(reinterpret_cast<uintptr_t>(address));
  return kSuccess;
}

FAKE_API cuMemHostGetDevicePointer_v2(Pointer* pointer, void* address, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  bool pageable = false;
  const int error = world.check_host(address, 1, false, &pageable);
  if (error != kSuccess || pageable) return kInvalidValue;
  *pointer = pointer_of(address);
  return kSuccess;
}

FAKE_API cuMemHostAlloc(void** address, size_t length, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  *address = std::aligned_alloc(kPage, up(length, kPage));
  world.host_allocations[reinterpret_cast<uintptr_t>(*address)] = length;
  return kSuccess;
}

FAKE_API cuMemFreeHost(void* address) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (world.host_allocations.erase(reinterpret_cast<uintptr_t>(address)) == 0) return kInvalidValue;
  std::free(address);
  return kSuccess;
}

// --- what a pointer is ---

namespace {

int attribute_of(World& world, int attribute, void* value, Pointer pointer) {
  const Range* range = world.range_of(pointer);
  bool pageable = true;
  const bool host = range == nullptr &&
                    world.check_host(address_of(pointer), 1, false, &pageable) == kSuccess &&
                    !pageable;
  switch (attribute) {
    case 1: {
      void* context = range == nullptr ? nullptr : range->context;
      std::memcpy(value, &context, sizeof context);
      return kSuccess;
    }
    case 2: {
      const unsigned type = range != nullptr ? 2 : host ? 1 : 0;
      std::memcpy(value, &type, sizeof type);
      return kSuccess;
    }
    case 8: {
      const unsigned managed = range != nullptr && range->managed ? 1 : 0;
      std::memcpy(value, &managed, sizeof managed);
      return kSuccess;
    }
    case 9: {
      const int ordinal = range == nullptr ? -2 : range->device;
      std::memcpy(value, &ordinal, sizeof ordinal);
      return kSuccess;
    }
    case 11: {
      const Pointer begin = range == nullptr ? 0 : range->begin;
      std::memcpy(value, &begin, sizeof begin);
      return kSuccess;
    }
    case 12: {
      const size_t length = range == nullptr ? 0 : range->length;
      std::memcpy(value, &length, sizeof length);
      return kSuccess;
    }
    default:
      return kInvalidValue;
  }
}

}  // namespace

FAKE_API cuPointerGetAttributes(unsigned count, int* attributes, void** values, Pointer pointer) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!world.initialised) return kNotInitialized;
  ++world.counts.lookups;
  for (unsigned i = 0; i < count; ++i) {
    if (const int error = attribute_of(world, attributes[i], values[i], pointer)) return error;
  }
  return kSuccess;
}
