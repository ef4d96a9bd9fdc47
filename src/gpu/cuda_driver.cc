#include "gpu/cuda_driver.h"

#include <cerrno>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>

namespace gd2fs::cuda {
namespace {

const char* library_name() {
  const char* named = secure_getenv("GD2FS_CUDA_LIBRARY");
  return named != nullptr && *named != '\0' ? named : "libcuda.so.1";
}

template <class Signature>
bool find(void* library, const char* name, Signature* out) {
  *out = reinterpret_cast<Signature>(dlsym(library, name));
  return *out != nullptr;
}

}  // namespace

Status Driver::find_functions(void* library) {
  const char* missing = nullptr;
  const auto need = [&](const char* name, auto* out) {
    if (!find(library, name, out) && missing == nullptr) missing = name;
  };
  need("cuInit", &init);
  need("cuDriverGetVersion", &driver_get_version);
  need("cuGetErrorName", &get_error_name);
  need("cuGetErrorString", &get_error_string);
  need("cuDeviceGetCount", &device_get_count);
  need("cuDeviceGet", &device_get);
  need("cuDeviceGetName", &device_get_name);
  need("cuDevicePrimaryCtxRetain", &primary_context_retain);
  need("cuDevicePrimaryCtxRelease_v2", &primary_context_release);
  need("cuDevicePrimaryCtxGetState", &primary_context_get_state);
  need("cuCtxPushCurrent_v2", &context_push);
  need("cuCtxPopCurrent_v2", &context_pop);
  need("cuCtxGetCurrent", &context_get_current);
  need("cuCtxGetDevice", &context_get_device);
  need("cuPointerGetAttributes", &pointer_get_attributes);
  need("cuStreamCreate", &stream_create);
  need("cuStreamDestroy_v2", &stream_destroy);
  need("cuStreamQuery", &stream_query);
  need("cuStreamSynchronize", &stream_synchronize);
  need("cuStreamIsCapturing", &stream_is_capturing);
  need("cuStreamGetCtx", &stream_get_context);
  need("cuEventCreate", &event_create);
  need("cuEventDestroy_v2", &event_destroy);
  need("cuEventRecord", &event_record);
  need("cuEventQuery", &event_query);
  need("cuMemcpyHtoDAsync_v2", &copy_to_device);
  need("cuMemcpyDtoHAsync_v2", &copy_to_host);
  need("cuMemcpyHtoD_v2", &copy_to_device_now);
  need("cuMemcpyDtoH_v2", &copy_to_host_now);
  need("cuMemAlloc_v2", &memory_alloc);
  need("cuMemFree_v2", &memory_free);
  need("cuMemHostRegister_v2", &host_register);
  need("cuMemHostUnregister", &host_unregister);
  need("cuMemHostGetDevicePointer_v2", &host_get_device_pointer);
  need("cuModuleLoadData", &module_load_data);
  need("cuModuleUnload", &module_unload);
  need("cuModuleGetFunction", &module_get_function);
  need("cuLaunchKernel", &launch_kernel);
  find(library, "cuMemGetHandleForAddressRange", &get_handle_for_address_range);
  find(library, "cuDeviceGetAttribute", &device_get_attribute);
  find(library, "cuDeviceGetPCIBusId", &device_get_pci_bus_id);
  find(library, "cuFlushGPUDirectRDMAWrites", &flush_nic_writes);
  find(library, "cuThreadExchangeStreamCaptureMode", &exchange_capture_mode);
  if (missing == nullptr) return {};
  return {StatusCode::unsupported, std::string(library_name()) + " has no " + missing};
}

Result<const Driver*> Driver::load() {
  void* library = dlopen(library_name(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): per thread in glibc
    return fail(StatusCode::unsupported, why == nullptr ? library_name() : why);
  }
  // Stays loaded: a driver library does not survive being unloaded.
  auto driver = std::unique_ptr<Driver>(new Driver);
  GD2FS_TRY(driver->find_functions(library));
  if (const Error error = driver->init(0); error != kSuccess) {
    const Status why = driver->failure(error, "cuInit");
    return fail(StatusCode::unsupported, why.text());
  }
  (void)driver->driver_get_version(&driver->version_);  // for messages only
  return driver.release();                              // for the rest of the process
}

Result<const Driver*> Driver::get() {
  static const Result<const Driver*> driver = load();
  return driver;
}

Status Driver::failure(Error error, const char* what) const {
  const char* name = nullptr;
  const char* words = nullptr;
  std::string text = what;
  if (get_error_name(error, &name) == kSuccess && name != nullptr) {
    text.append(": ").append(name);
  } else {
    text.append(": CUDA error ").append(std::to_string(error));
  }
  if (get_error_string(error, &words) == kSuccess && words != nullptr) {
    text.append(" (").append(words).append(")");
  }
  return {StatusCode::io, text, error == kOutOfMemory ? ENOMEM : EIO};
}

}  // namespace gd2fs::cuda
