// CudaDriver: the functions of the CUDA driver that we call, found in libcuda.so.1 at run time.
//
// Loaded once per process, when somebody first asks for memory that is not the host's; a machine
// without the library is not touched. GD2FS_CUDA_LIBRARY names another library (tests/fake_cuda).
// Names and numbers are those of the driver's binary interface. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace gd2fs::cuda {

using Error = int;
using Device = int;
using Pointer = unsigned long long;  // a device address
using Context = struct ContextOpaque*;
using Stream = struct StreamOpaque*;
using Event = struct EventOpaque*;
using Module = struct ModuleOpaque*;
using Function = struct FunctionOpaque*;

inline constexpr Error kSuccess = 0;
inline constexpr Error kOutOfMemory = 2;
inline constexpr Error kNotReady = 600;
inline constexpr Error kNotSupported = 801;

// Attributes of a pointer.
inline constexpr int kPointerContext = 1;
inline constexpr int kPointerMemoryType = 2;
inline constexpr int kPointerIsManaged = 8;
inline constexpr int kPointerDeviceOrdinal = 9;
inline constexpr int kPointerRangeStart = 11;
inline constexpr int kPointerRangeSize = 12;
inline constexpr unsigned kMemoryTypeHost = 1;
inline constexpr unsigned kMemoryTypeDevice = 2;

inline constexpr unsigned kStreamNonBlocking = 1;
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr unsigned kHostRegisterPortable = 1;
inline constexpr unsigned kHostRegisterDeviceMap = 2;
inline constexpr unsigned kHostRegisterReadOnly = 8;
inline constexpr int kRangeHandleDmaBuf = 1;
// GPUDirect RDMA: how what a NIC writes becomes visible.
inline constexpr int kDeviceNicFlushOptions = 117;
inline constexpr int kDeviceNicWritesOrdering = 118;
inline constexpr int kNicFlushByHost = 1;
inline constexpr int kNicWritesOrderedForOwner = 100;
inline constexpr int kFlushCurrentContext = 0;

class Driver {
 public:
  // The process's one, loaded and initialised by the first call. unsupported: no library, no
  // device, or one of another age; every later call answers the same.
  static Result<const Driver*> get();

  // "cuMemcpyHtoDAsync: CUDA_ERROR_INVALID_VALUE (invalid argument)", io and EIO.
  Status failure(Error error, const char* what) const;
  int version() const { return version_; }  // 13000: CUDA 13.0

  Error (*init)(unsigned flags) = nullptr;
  Error (*driver_get_version)(int* version) = nullptr;
  Error (*get_error_name)(Error error, const char** text) = nullptr;
  Error (*get_error_string)(Error error, const char** text) = nullptr;
  Error (*device_get_count)(int* count) = nullptr;
  Error (*device_get)(Device* device, int ordinal) = nullptr;
  Error (*device_get_name)(char* name, int length, Device device) = nullptr;
  Error (*primary_context_retain)(Context* context, Device device) = nullptr;
  Error (*primary_context_release)(Device device) = nullptr;
  Error (*primary_context_get_state)(Device device, unsigned* flags, int* active) = nullptr;
  Error (*context_push)(Context context) = nullptr;
  Error (*context_pop)(Context* context) = nullptr;
  Error (*context_get_current)(Context* context) = nullptr;
  Error (*context_get_device)(Device* device) = nullptr;  // of the current context
  Error (*pointer_get_attributes)(unsigned count, int* attributes, void** values,
                                  Pointer pointer) = nullptr;
  Error (*stream_create)(Stream* stream, unsigned flags) = nullptr;
  Error (*stream_destroy)(Stream stream) = nullptr;
  Error (*stream_query)(Stream stream) = nullptr;
  Error (*stream_synchronize)(Stream stream) = nullptr;
  Error (*stream_is_capturing)(Stream stream, int* status) = nullptr;
  Error (*stream_get_context)(Stream stream, Context* context) = nullptr;
  Error (*event_create)(Event* event, unsigned flags) = nullptr;
  Error (*event_destroy)(Event event) = nullptr;
  Error (*event_record)(Event event, Stream stream) = nullptr;
  Error (*event_query)(Event event) = nullptr;
  Error (*copy_to_device)(Pointer to, const void* from, size_t length_bytes,
                          Stream stream) = nullptr;
  Error (*copy_to_host)(void* to, Pointer from, size_t length_bytes, Stream stream) = nullptr;
  // These wait for their end: for benches and tests.
  Error (*copy_to_device_now)(Pointer to, const void* from, size_t length_bytes) = nullptr;
  Error (*copy_to_host_now)(void* to, Pointer from, size_t length_bytes) = nullptr;
  Error (*memory_alloc)(Pointer* pointer, size_t length_bytes) = nullptr;
  Error (*memory_free)(Pointer pointer) = nullptr;
  Error (*host_register)(void* address, size_t length_bytes, unsigned flags) = nullptr;
  Error (*host_unregister)(void* address) = nullptr;
  Error (*host_get_device_pointer)(Pointer* pointer, void* address, unsigned flags) = nullptr;
  Error (*module_load_data)(Module* module, const void* image) = nullptr;
  Error (*module_unload)(Module module) = nullptr;
  Error (*module_get_function)(Function* function, Module module, const char* name) = nullptr;
  Error (*launch_kernel)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                         unsigned block_x, unsigned block_y, unsigned block_z,
                         unsigned shared_bytes, Stream stream, void** parameters,
                         void** extra) = nullptr;
  // nullptr before CUDA 11.7.
  Error (*get_handle_for_address_range)(void* handle, Pointer address, size_t length_bytes,
                                        int type, unsigned long long flags) = nullptr;
  Error (*device_get_attribute)(int* value, int attribute, Device device) = nullptr;
  Error (*device_get_pci_bus_id)(char* id, int length, Device device) = nullptr;
  Error (*flush_nic_writes)(int target, int scope) = nullptr;  // nullptr before CUDA 11.3
  Error (*exchange_capture_mode)(int* mode) = nullptr;         // nullptr before CUDA 10.1

 private:
  Driver() = default;
  static Result<const Driver*> load();
  Status find_functions(void* library);
  int version_ = 0;
};

inline constexpr int kCaptureModeRelaxed = 2;

// Makes a context current on this thread for a scope, whatever was current before. While the
// application captures a graph, on whatever thread, calls that might belong into it (a query of an
// event, pinning) fail and break the capture, if the thread does not say that they do not.
class Current {
 public:
  Current(const Driver& driver, Context context)
      : driver_(driver), error_(driver.context_push(context)) {
    exchange_mode();
  }
  ~Current() {
    exchange_mode();
    Context popped = nullptr;
    // Nothing can be done about a failure: the context was destroyed meanwhile.
    if (error_ == kSuccess) (void)driver_.context_pop(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  Error error() const { return error_; }

 private:
  void exchange_mode() {
    if (error_ != kSuccess || driver_.exchange_capture_mode == nullptr) return;
    if (driver_.exchange_capture_mode(&mode_) != kSuccess) mode_ = kCaptureModeRelaxed;
  }
  const Driver& driver_;
  Error error_;
  int mode_ = kCaptureModeRelaxed;  // then: what the thread had
};

}  // namespace gd2fs::cuda
