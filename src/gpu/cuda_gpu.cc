#include "gpu/cuda_gpu.h"

#include <algorithm>
#include <cerrno>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"

namespace gd2fs {

using cuda::Context;
using cuda::CudaTarget;
using cuda::Current;
using cuda::Device;
using cuda::Driver;
using cuda::Error;
using cuda::Event;
using cuda::Pointer;
using cuda::Stream;

namespace {

constexpr uint64_t kStreamLegacy = 1;
constexpr uint64_t kStreamPerThread = 2;

Pointer pointer_of(const void* address) {
  return reinterpret_cast<Pointer>(address);
}

Stream stream_of(uint64_t number) {
  return reinterpret_cast<Stream>(number);  // NOLINT(performance-no-int-to-ptr): opaque
}

class CudaMapping final : public HostMapping {
 public:
  CudaMapping(CudaTarget& made_in, GpuTarget target, void* address)
      : made_in_(made_in), target_(target), address_(address), number_(next_number()) {}
  ~CudaMapping() override {
    // A lost context took the registration with it.
    const Current current(made_in_.driver(), made_in_.context());
    if (current.error() == cuda::kSuccess) (void)made_in_.driver().host_unregister(address_);
  }
  uint32_t number() const override { return number_; }
  // An application's own context may end at any time, and is not asked whether it still lives: what
  // was made in it serves nobody else.
  bool serves(GpuTarget target) const override {
    return !made_in_.failed() && made_in_.alive() && (target == target_ || made_in_.primary());
  }

 private:
  static uint32_t next_number() {
    static std::atomic<uint32_t> last{0};
    return ++last;
  }
  CudaTarget& made_in_;
  const GpuTarget target_;
  void* const address_;
  const uint32_t number_;
};

class CudaFence final : public GpuFence {
 public:
  CudaFence(const Driver& driver, Context context, Event event)
      : driver_(driver), context_(context), event_(event) {}
  ~CudaFence() override {
    const Current current(driver_, context_);
    if (current.error() == cuda::kSuccess) (void)driver_.event_destroy(event_);
  }
  // busy: not yet.
  Status look() const {
    const Current current(driver_, context_);
    Error error = current.error();
    if (error == cuda::kSuccess) error = driver_.event_query(event_);
    if (error == cuda::kNotReady) return Status(StatusCode::busy);
    return error == cuda::kSuccess ? Status() : driver_.failure(error, "the caller's stream");
  }

 private:
  const Driver& driver_;
  const Context context_;
  const Event event_;
};

}  // namespace

// --- what an address is ---

struct CudaGpu::Attributes {
  Context context = nullptr;
  uint64_t type = 0;  // 0: the driver does not know it
  uint64_t managed = 0;
  int64_t ordinal = 0;
  Pointer range_start = 0;
  uint64_t range_bytes = 0;

  static Result<Attributes> of(const Driver& driver, Pointer pointer) {
    Attributes out;
    int names[] = {cuda::kPointerContext,       cuda::kPointerMemoryType, cuda::kPointerIsManaged,
                   cuda::kPointerDeviceOrdinal, cuda::kPointerRangeStart, cuda::kPointerRangeSize};
    void* values[] = {static_cast<void*>(&out.context),
                      &out.type,
                      &out.managed,
                      &out.ordinal,
                      &out.range_start,
                      &out.range_bytes};
    const Error error = driver.pointer_get_attributes(std::size(names), names, values, pointer);
    if (error != cuda::kSuccess) return fail(driver.failure(error, "cuPointerGetAttributes"));
    return out;
  }
};

CudaGpu::CudaGpu(Loop& loop) : loop_(loop) {
  timer_.bind<&CudaGpu::on_timer>(this);
}

CudaGpu::~CudaGpu() = default;

Result<GpuMemory> CudaGpu::find(const void* address, uint64_t length_bytes) {
  GD2FS_ASSIGN(const Driver* driver, Driver::get());
  const Pointer begin = pointer_of(address);
  const Pointer end = begin + length_bytes;
  GpuMemory memory;
  Context context = nullptr;
  // A range of mapped physical pieces (expandable segments) shows one piece at a time.
  for (Pointer at = begin; at < end;) {
    GD2FS_ASSIGN(const Attributes found, Attributes::of(*driver, at));
    GpuMemory here;
    if (static_cast<unsigned>(found.type) == cuda::kMemoryTypeDevice) {
      here.kind = (found.managed & 0xff) != 0 ? MemoryKind::managed : MemoryKind::device;
      here.device = static_cast<int32_t>(found.ordinal);
    }
    if (at == begin) {
      memory = here;
      context = found.context;
      if (here.kind == MemoryKind::host) return memory;
    } else if (here.kind != memory.kind || here.device != memory.device ||
               found.context != context) {
      return fail(StatusCode::invalid, "the range is not all of one kind of memory on one GPU");
    }
    const Pointer next = found.range_start + found.range_bytes;
    if (next <= at) return fail(StatusCode::io, "the driver names a range without the address");
    at = next;
  }
  if (memory.kind != MemoryKind::device) return memory;
  GD2FS_ASSIGN(memory.target, target_in(*driver, context, memory.device));
  return memory;
}

GpuTarget CudaGpu::known_target(Context context) const {
  for (uint32_t i = target_count_.load(std::memory_order_acquire); i > 0; --i) {
    const CudaTarget& known = *targets_[i - 1];
    if (known.context() == context && !known.failed()) return i;
  }
  return kHostTarget;
}

CudaTarget& CudaGpu::target(GpuTarget number) const {
  CHECK(number > 0 && number <= target_count_.load(std::memory_order_acquire));
  return *targets_[number - 1];
}

Result<GpuTarget> CudaGpu::target_in(const Driver& driver, Context context, int ordinal) {
  std::lock_guard lock(opening_);
  Device device = 0;
  if (const Error error = driver.device_get(&device, ordinal); error != cuda::kSuccess) {
    return fail(driver.failure(error, "cuDeviceGet"));
  }
  if (context != nullptr) {
    if (const GpuTarget known = known_target(context)) return known;
  }
  unsigned flags = 0;
  int active = 0;
  Error error = driver.primary_context_get_state(device, &flags, &active);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuDevicePrimaryCtxGetState"));
  if (active == 0 && context == nullptr) {
    // Memory of no context, on a device whose primary context nobody uses: the caller's own, if it
    // has one there.
    Device current_device = 0;
    if (driver.context_get_current(&context) == cuda::kSuccess && context != nullptr &&
        (driver.context_get_device(&current_device) != cuda::kSuccess ||
         current_device != device)) {
      context = nullptr;
    }
    if (context != nullptr) {
      if (const GpuTarget known = known_target(context)) return known;
    }
  }
  if (active == 0 && context != nullptr) return open_target(driver, context, device, false);
  Context primary = nullptr;
  error = driver.primary_context_retain(&primary, device);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuDevicePrimaryCtxRetain"));
  const GpuTarget known = known_target(primary);
  const bool is_primary = context == nullptr || context == primary;
  if (is_primary && known == kHostTarget) return open_target(driver, primary, device, true);
  (void)driver.primary_context_release(device);  // counts only
  return is_primary ? known : open_target(driver, context, device, false);
}

Result<GpuTarget> CudaGpu::open_target(const Driver& driver, Context context, Device device,
                                       bool primary) {
  const uint32_t count = target_count_.load(std::memory_order_relaxed);
  if (count == kTargetsMax) {
    if (primary) (void)driver.primary_context_release(device);
    return fail(StatusCode::busy, "targets_max GPU contexts were used", ENOMEM);
  }
  GD2FS_ASSIGN(targets_[count], CudaTarget::open(driver, device, context, primary));
  target_count_.store(count + 1, std::memory_order_release);
  char name[64] = "";
  (void)driver.device_get_name(name, sizeof name, device);  // for the line only
  GD2FS_LOG_INFO("gpu {} ({}): {}, {} context{}", device, std::string_view(name), description(),
                 primary ? "primary" : "the application's own",
                 targets_[count]->has_kernel() ? "" : ", no copy kernel");
  return count + 1;
}

std::string CudaGpu::description() {
  const Result<const Driver*> driver = Driver::get();
  if (!driver.has_value()) return "none: " + driver.error().to_string();
  const int version = (*driver)->version();
  return "cuda " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// --- host memory, exports ---

Result<std::unique_ptr<HostMapping>> CudaGpu::map_host(GpuTarget number, void* address,
                                                       uint64_t length_bytes, Access access) {
  CudaTarget& at = target(number);
  const Driver& driver = at.driver();
  if (at.failed()) return fail(StatusCode::io, "the GPU's context is gone", EIO);
  const Current current(driver, at.context());
  Error error = current.error();
  unsigned flags = cuda::kHostRegisterPortable | cuda::kHostRegisterDeviceMap;
  if (access == Access::read) flags |= cuda::kHostRegisterReadOnly;
  if (error == cuda::kSuccess) error = driver.host_register(address, length_bytes, flags);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuMemHostRegister"));
  auto mapping = std::make_unique<CudaMapping>(at, number, address);
  Pointer pointer = 0;
  error = driver.host_get_device_pointer(&pointer, address, 0);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuMemHostGetDevicePointer"));
  if (pointer != pointer_of(address)) {
    return fail(StatusCode::unsupported, "the GPU knows registered memory by another address");
  }
  return mapping;
}

// The caller's own range, rounded to pages: the export of a whole allocation is cut short where it
// is made of several pieces.
Result<GpuExport> CudaGpu::export_range(const void* address, uint64_t length_bytes) {
  GD2FS_ASSIGN(const GpuMemory memory, find(address, length_bytes));
  if (memory.kind != MemoryKind::device) {
    return fail(StatusCode::invalid, "only memory of a GPU can be exported");
  }
  const CudaTarget& at = target(memory.target);
  const Driver& driver = at.driver();
  if (driver.get_handle_for_address_range == nullptr) {
    return fail(StatusCode::unsupported, "the driver is too old for dmabuf (11.7)");
  }
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const Pointer begin = align_down(pointer_of(address), page);
  const Pointer end = align_up(pointer_of(address) + length_bytes, page);
  const Current current(driver, at.context());
  Error error = current.error();
  int fd = -1;
  if (error == cuda::kSuccess) {
    error =
        driver.get_handle_for_address_range(&fd, begin, end - begin, cuda::kRangeHandleDmaBuf, 0);
  }
  if (error == cuda::kNotSupported) {
    return fail(StatusCode::unsupported, "driver and kernel export no dmabuf");
  }
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuMemGetHandleForAddressRange"));
  return GpuExport{fd, pointer_of(address) - begin};
}

Status CudaGpu::see_nic_writes(GpuTarget target_number) {
  return target(target_number).see_nic_writes();
}

std::string CudaGpu::folder(GpuTarget target_number) {
  const CudaTarget& at = target(target_number);
  char id[32] = {};  // "0000:17:00.0"
  if (at.driver().device_get_pci_bus_id == nullptr ||
      at.driver().device_get_pci_bus_id(id, sizeof id, at.device()) != cuda::kSuccess) {
    return {};
  }
  std::string folder = "/sys/bus/pci/devices/";
  for (const char* digit = id; *digit != 0; ++digit) {
    folder += static_cast<char>(*digit >= 'A' && *digit <= 'F' ? *digit - 'A' + 'a' : *digit);
  }
  return folder;
}

// --- copies and fences ---

void CudaGpu::copy(GpuCopy& copy) {
  target(copy.target).copy(loop_, copy);
  arm();
}

void CudaGpu::expect(GpuTarget number) {
  target(number).expect();
}

Result<std::unique_ptr<GpuFence>> CudaGpu::fence_after(uint64_t number, GpuTarget target_number) {
  GD2FS_ASSIGN(const Driver* loaded, Driver::get());
  const Driver& driver = *loaded;
  const Stream stream = stream_of(number);
  Context context = nullptr;
  Error error = cuda::kSuccess;
  if (number == 0) return fail(StatusCode::invalid, "no stream (the default stream is 1)");
  if (number != kStreamLegacy && number != kStreamPerThread) {
    error = driver.stream_get_context(stream, &context);
  } else if (target_number != kHostTarget) {
    context = target(target_number).context();
  } else {
    error = driver.context_get_current(&context);
  }
  if (error != cuda::kSuccess) return fail(StatusCode::invalid, "not a CUDA stream");
  if (context == nullptr) return fail(StatusCode::invalid, "the thread has no CUDA context");
  const Current current(driver, context);
  if (current.error() != cuda::kSuccess) {
    return fail(driver.failure(current.error(), "cuCtxPushCurrent"));
  }
  int capturing = 0;
  error = driver.stream_is_capturing(stream, &capturing);
  if (error == cuda::kSuccess && capturing != 0) {
    return fail(StatusCode::invalid, "the stream is being captured into a graph");
  }
  if (error == cuda::kSuccess) error = driver.stream_query(stream);
  if (error == cuda::kSuccess) return std::unique_ptr<GpuFence>();
  Event event = nullptr;
  if (error == cuda::kNotReady) error = driver.event_create(&event, cuda::kEventDisableTiming);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "the caller's stream"));
  auto fence = std::make_unique<CudaFence>(driver, context, event);
  error = driver.event_record(event, stream);
  if (error != cuda::kSuccess) return fail(driver.failure(error, "cuEventRecord"));
  return fence;
}

void CudaGpu::wait(GpuFence& fence, Completion& done) {
  CHECK(fence.waiter == nullptr);
  done.start();
  fence.waiter = &done;
  if (fences_.empty()) fences_since_ns_ = loop_.now_ns();
  fences_.push_back(fence);
  arm();
}

void CudaGpu::drain() {
  const uint32_t count = target_count_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) targets_[i]->drain();
}

void CudaGpu::cancel(GpuFence& fence) {
  if (fence.waiter == nullptr) return;
  fence.unlink();
  loop_.complete(*std::exchange(fence.waiter, nullptr), Status(StatusCode::canceled));
}

void CudaGpu::look_at_fences() {
  for (GpuFence *fence = fences_.front(), *next; fence != nullptr; fence = next) {
    next = fences_.next(*fence);
    const Status status = static_cast<CudaFence*>(fence)->look();
    if (status.is(StatusCode::busy)) continue;
    fence->unlink();
    loop_.complete(*std::exchange(fence->waiter, nullptr), status);
  }
}

void CudaGpu::on_timer(Completion&) {
  look_at_fences();
  const uint32_t count = target_count_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) targets_[i]->look(loop_);
  arm();
}

void CudaGpu::arm() {
  uint64_t due_ns = fences_.empty() ? UINT64_MAX : fences_since_ns_;
  const uint32_t count = target_count_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) due_ns = std::min(due_ns, targets_[i]->due_ns());
  if (due_ns == UINT64_MAX) return loop_.cancel(timer_);
  const uint64_t now_ns = loop_.now_ns();
  if (due_ns > now_ns + kWakeLeadNs) return loop_.start_at(timer_, due_ns - kWakeLeadNs);
  uint64_t look_ns = due_ns;
  if (now_ns >= due_ns) {
    look_ns = now_ns + std::clamp((now_ns - due_ns) / kLateShare, kLookMinNs, kLookMaxNs);
  }
  loop_.start_at(timer_, look_ns);
  // Not left to whether spinning has paid off lately: the end of a large read's last copy would be
  // noticed up to a tenth of a millisecond late.
  if (look_ns <= std::max(due_ns, now_ns + kAwakeStepNs)) loop_.stay_awake_until(look_ns);
}

}  // namespace gd2fs
