// Devices, contexts, errors, modules.
#include <cstdio>
#include <cstring>

#include "world.h"

using namespace fake_cuda;  // NOLINT: the library's own names

#define FAKE_API extern "C" __attribute__((visibility("default"))) int

namespace {

struct Name {
  int error;
  const char* name;
  const char* words;
};
constexpr Name kNames[] = {
    {kSuccess, "CUDA_SUCCESS", "no error"},
    {kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {kContextIsDestroyed, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

const Name* name_of(int error) {
  for (const Name& name : kNames) {
    if (name.error == error) return &name;
  }
  return nullptr;
}

bool is_device(int device) {
  return device >= 0 && device < World::instance().device_count;
}

}  // namespace

FAKE_API cuInit(unsigned flags) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (flags != 0) return kInvalidValue;
  if (world.device_count == 0) return 100;  // CUDA_ERROR_NO_DEVICE
  world.initialised = true;
  return kSuccess;
}

FAKE_API cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

FAKE_API cuGetErrorName(int error, const char** text) {
  const Name* name = name_of(error);
  *text = name == nullptr ? nullptr : name->name;
  return name == nullptr ? kInvalidValue : kSuccess;
}

FAKE_API cuGetErrorString(int error, const char** text) {
  const Name* name = name_of(error);
  *text = name == nullptr ? nullptr : name->words;
  return name == nullptr ? kInvalidValue : kSuccess;
}

FAKE_API cuDeviceGetCount(int* count) {
  *count = World::instance().device_count;
  return kSuccess;
}

FAKE_API cuDeviceGet(int* device, int ordinal) {
  if (!is_device(ordinal)) return kInvalidDevice;
  *device = ordinal;
  return kSuccess;
}

FAKE_API cuDeviceGetName(char* name, int length, int device) {
  if (!is_device(device)) return kInvalidDevice;
  std::snprintf(name, static_cast<size_t>(length), "fake GPU %d", device);
  return kSuccess;
}

FAKE_API cuDeviceGetPCIBusId(char* id, int length, int device) {
  if (!is_device(device)) return kInvalidDevice;
  std::snprintf(id, static_cast<size_t>(length), "FA4E:%02X:00.0", device);
  return kSuccess;
}

// --- contexts ---

FAKE_API cuDeviceGetAttribute(int* value, int attribute, int device) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!is_device(device)) return kInvalidDevice;
  switch (attribute) {
    case 117:  // the ways to flush what NICs write: by the host
      *value = 1;
      return kSuccess;
    case 118:
      *value = world.nic_ordering;
      return kSuccess;
    default:
      return kInvalidValue;
  }
}

FAKE_API cuFlushGPUDirectRDMAWrites(int target, int scope) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (target != 0 || scope < 100) return kInvalidValue;
  ++world.counts.nic_flushes;
  return kSuccess;
}

FAKE_API cuDevicePrimaryCtxRetain(Context** context, int device) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!world.initialised) return kNotInitialized;
  if (!is_device(device)) return kInvalidDevice;
  Context*& primary = world.primaries[static_cast<size_t>(device)];
  if (primary == nullptr || !primary->alive) {
    primary = world.contexts.emplace_back(std::make_unique<Context>()).get();
    primary->device = device;
    primary->primary = true;
  }
  ++primary->references;
  *context = primary;
  return kSuccess;
}

FAKE_API cuDevicePrimaryCtxRelease_v2(int device) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (!is_device(device)) return kInvalidDevice;
  Context* primary = world.primaries[static_cast<size_t>(device)];
  if (primary == nullptr || !primary->alive || primary->references == 0) return kInvalidContext;
  if (--primary->references == 0) world.end_context(lock, *primary);
  return kSuccess;
}

FAKE_API cuDevicePrimaryCtxReset_v2(int device) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (!is_device(device)) return kInvalidDevice;
  Context* primary = world.primaries[static_cast<size_t>(device)];
  if (primary != nullptr && primary->alive) world.end_context(lock, *primary);
  return kSuccess;
}

FAKE_API cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!is_device(device)) return kInvalidDevice;
  const Context* primary = world.primaries[static_cast<size_t>(device)];
  *flags = 0;
  *active = primary != nullptr && primary->alive ? 1 : 0;
  return kSuccess;
}

FAKE_API cuCtxCreate_v2(Context** context, unsigned, int device) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!world.initialised) return kNotInitialized;
  if (!is_device(device)) return kInvalidDevice;
  *context = world.contexts.emplace_back(std::make_unique<Context>()).get();
  (*context)->device = device;
  world.stack().push_back(*context);
  return kSuccess;
}

FAKE_API cuCtxDestroy_v2(Context* context) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (!context->alive) return kContextIsDestroyed;
  if (world.current() == context) world.stack().pop_back();
  world.end_context(lock, *context);
  return kSuccess;
}

FAKE_API cuCtxPushCurrent_v2(Context* context) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (context == nullptr) return kInvalidContext;
  if (!context->alive) return kContextIsDestroyed;
  world.stack().push_back(context);
  return kSuccess;
}

FAKE_API cuCtxPopCurrent_v2(Context** context) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (world.stack().empty()) return kInvalidContext;
  *context = world.current();
  world.stack().pop_back();
  return kSuccess;
}

FAKE_API cuCtxSetCurrent(Context* context) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!world.stack().empty()) world.stack().pop_back();
  if (context != nullptr) world.stack().push_back(context);
  return kSuccess;
}

FAKE_API cuCtxGetCurrent(Context** context) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  *context = world.current();
  return kSuccess;
}

FAKE_API cuCtxGetDevice(int* device) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (world.current() == nullptr) return kInvalidContext;
  *device = world.current()->device;
  return kSuccess;
}

FAKE_API cuCtxSynchronize() {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  ++world.counts.synchronises;
  Context* context = world.current();
  world.wait_idle(lock, [&](const Stream& stream) { return stream.context == context; });
  return context->error;
}

// --- modules ---

FAKE_API cuModuleLoadData(Module** module, const void* image) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (std::strstr(static_cast<const char*>(image), ".entry gd2fs_copy_tiles") == nullptr) {
    return 218;  // CUDA_ERROR_INVALID_PTX
  }
  *module = world.modules.emplace_back(std::make_unique<Module>()).get();
  (*module)->context = world.current();
  return kSuccess;
}

FAKE_API cuModuleUnload(Module* module) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (!module->alive || module->context != world.current()) return kInvalidHandle;
  module->alive = false;
  return kSuccess;
}

FAKE_API cuModuleGetFunction(Function** function, Module* module, const char* name) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  if (!module->alive) return kInvalidHandle;
  if (std::strcmp(name, "gd2fs_copy_tiles") != 0) return kNotFound;
  *function = world.functions.emplace_back(std::make_unique<Function>()).get();
  (*function)->module = module;
  return kSuccess;
}

// --- control ---

extern "C" {
#define FAKE_CONTROL __attribute__((visibility("default")))

FAKE_CONTROL void fake_cuda_set_delay_ns(uint64_t delay_ns) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.delay_ns = delay_ns;
}

FAKE_CONTROL void fake_cuda_hold(int held) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.held = held != 0;
  world.changed.notify_all();
}

FAKE_CONTROL void fake_cuda_refuse_copies(int count, int error) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.refuse_count = count;
  world.refuse_error = error;
}

FAKE_CONTROL void fake_cuda_refuse_streams(int error) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.refuse_streams_error = error;
}

FAKE_CONTROL void fake_cuda_refuse_events(int error) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.refuse_events_error = error;
}

FAKE_CONTROL void fake_cuda_refuse_registrations(uint64_t at_least_bytes, int error) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.refuse_registration_bytes = at_least_bytes;
  world.refuse_registration_error = error;
}

FAKE_CONTROL void fake_cuda_break_next(int error) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.break_error = error;
}

FAKE_CONTROL uint64_t fake_cuda_queued(void) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  uint64_t queued = 0;
  for (const auto& stream : world.streams) {
    if (stream->alive) queued += stream->queue.size() + (stream->busy ? 1 : 0);
  }
  return queued;
}

FAKE_CONTROL void fake_cuda_set_nic_ordering(int ordering) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  world.nic_ordering = ordering;
}

FAKE_CONTROL void fake_cuda_get_counts(fake_cuda_counts* counts) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  const auto alive = [](const auto& objects) {
    uint64_t count = 0;
    for (const auto& object : objects) count += object->alive ? 1 : 0;
    return count;
  };
  *counts = world.counts;
  counts->contexts = alive(world.contexts);
  counts->streams = alive(world.streams);
  counts->events = alive(world.events);
  counts->modules = alive(world.modules);
  counts->allocations = world.ranges.size();
  counts->registrations = world.registrations.size();
  for (const auto& [begin, registration] : world.registrations) {
    counts->registered_bytes += registration.length;
  }
}
}
