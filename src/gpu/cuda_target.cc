#include "gpu/cuda_target.h"

#include <algorithm>
#include <cerrno>
#include <span>

#include <sys/mman.h>

#include "base/bytes.h"
#include "base/log.h"
#include "gpu/copy_kernel_ptx.h"

namespace gd2fs::cuda {
namespace {

constexpr size_t kListsBytes =
    align_up(CudaTarget::kListsMax * CudaTarget::kListTiles * sizeof(Tile), 2 << 20);
// A look costs a driver call, so it is timed by what the link can do at best: 55 GB/s measured on
// PCIe 5 x16, and 8 us until an empty copy has ended, of which 3 are spent on issuing it.
constexpr uint64_t kLinkBytesPerUs = 55'000;
constexpr uint64_t kCopyLeastNs = 4 * kUs;

// 38 us of the link.
constexpr uint64_t kBriefMaxBytes = 2 << 20;

uint64_t bytes_of(std::span<const GpuPiece> pieces) {
  uint64_t bytes = 0;
  for (const GpuPiece& piece : pieces) bytes += piece.length_bytes;
  return bytes;
}

Pointer pointer_of(const std::byte* gpu) {
  return reinterpret_cast<Pointer>(gpu);
}

}  // namespace

CudaTarget::CudaTarget(const Driver& driver, Device device, Context context, bool primary)
    : driver_(driver), device_(device), context_(context), primary_(primary) {}

Result<std::unique_ptr<CudaTarget>> CudaTarget::open(const Driver& driver, Device device,
                                                     Context context, bool primary) {
  std::unique_ptr<CudaTarget> target(new CudaTarget(driver, device, context, primary));
  GD2FS_TRY(target->prepare());
  return target;
}

Status CudaTarget::prepare() {
  const Current current(driver_, context_);
  if (current.error() != kSuccess) return driver_.failure(current.error(), "cuCtxPushCurrent");
  GD2FS_TRY(make_stream(streams_.front()));
  load_kernel();
  return has_kernel() ? prepare_lists() : Status();
}

Status CudaTarget::make_stream(OurStream& stream) {
  const Error made = driver_.stream_create(&stream.stream, kStreamNonBlocking);
  if (made == kSuccess) return {};
  stream.stream = nullptr;
  return driver_.failure(made, "cuStreamCreate");
}

// Without the kernel everything still works, by the copy engine.
void CudaTarget::load_kernel() {
  Error error = driver_.module_load_data(&module_, kCopyKernelPtx);
  if (error == kSuccess) error = driver_.module_get_function(&kernel_, module_, kCopyKernelName);
  if (error == kSuccess) return;
  kernel_ = nullptr;
  GD2FS_LOG_WARN("gpu {}: scattered pieces will be copied one by one: {}", device_,
                 driver_.failure(error, "loading the copy kernel").to_string());
}

Status CudaTarget::prepare_lists() {
  void* memory =
      mmap(nullptr, kListsBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Status::from_errno(errno, "mmap of the tile lists");
  lists_ = static_cast<Tile*>(memory);
  const Error error =
      driver_.host_register(memory, kListsBytes, kHostRegisterPortable | kHostRegisterDeviceMap);
  if (error != kSuccess) return driver_.failure(error, "cuMemHostRegister of the tile lists");
  lists_registered_ = true;
  for (int i = kListsMax; i > 0; --i) free_lists_.push_back(i - 1);
  return {};
}

CudaTarget::NicWrites CudaTarget::ask_about_nic_writes() const {
  int ordering = 0;
  int flushes = 0;
  if (driver_.device_get_attribute == nullptr ||
      driver_.device_get_attribute(&ordering, kDeviceNicWritesOrdering, device_) != kSuccess) {
    return NicWrites::never;
  }
  if (ordering >= kNicWritesOrderedForOwner) return NicWrites::in_order;
  const bool asked =
      driver_.device_get_attribute(&flushes, kDeviceNicFlushOptions, device_) == kSuccess;
  const bool can = asked && (flushes & kNicFlushByHost) != 0 && driver_.flush_nic_writes != nullptr;
  return can ? NicWrites::to_be_flushed : NicWrites::never;
}

Status CudaTarget::see_nic_writes() {
  if (nic_writes_ == NicWrites::unknown) nic_writes_ = ask_about_nic_writes();
  switch (nic_writes_) {
    case NicWrites::in_order:
      return {};
    case NicWrites::to_be_flushed:
      break;
    default:
      return {StatusCode::unsupported, "the GPU cannot be made to see what a NIC has written"};
  }
  const Current current(driver_, context_);
  Error error = current.error();
  if (error == kSuccess) {
    error = driver_.flush_nic_writes(kFlushCurrentContext, kNicWritesOrderedForOwner);
  }
  return error == kSuccess ? Status() : driver_.failure(error, "cuFlushGPUDirectRDMAWrites");
}

CudaTarget::~CudaTarget() {
  // The results are of no use: whatever cannot be given back went with its context.
  if (!failed() && alive()) {
    const Current current(driver_, context_);
    if (current.error() == kSuccess) {
      for (const Event event : events_) (void)driver_.event_destroy(event);
      for (const OurStream& stream : streams_) {
        if (stream.stream != nullptr) (void)driver_.stream_destroy(stream.stream);
      }
      if (module_ != nullptr) (void)driver_.module_unload(module_);
      if (lists_registered_) (void)driver_.host_unregister(lists_);
    }
  }
  if (lists_ != nullptr) munmap(lists_, kListsBytes);
  if (primary_) (void)driver_.primary_context_release(device_);
}

// A reset takes the primary context away and leaves its handle: asked first, because the driver's
// handles are pointers, and what they pointed to is gone.
bool CudaTarget::alive() const {
  if (!primary_) return true;
  unsigned flags = 0;
  int active = 0;
  return driver_.primary_context_get_state(device_, &flags, &active) == kSuccess && active != 0;
}

void CudaTarget::drain() {
  if (failed() || !alive()) return;
  const Current current(driver_, context_);
  if (current.error() != kSuccess) return;
  // An error means that the context is gone, and its copies with it.
  for (const OurStream& stream : streams_) {
    if (stream.stream != nullptr) (void)driver_.stream_synchronize(stream.stream);
  }
}

// --- issuing ---

void CudaTarget::copy(Loop& loop, GpuCopy& copy) {
  copy.done.start();
  copy.outcome = Status();
  copy.tiles_sent = 0;
  copy.flights = 0;
  copy.brief = !copy.bulk && bytes_of(copy.pieces) < kBriefMaxBytes;
  CopyPlan plan = plan_copy(copy.pieces, has_kernel() && !copy.by_engine);
  copy.tiles = std::move(plan.tiles);
  if (!failed() && !alive()) fail(loop, {StatusCode::io, "the GPU's context was reset", EIO});
  if (failed()) {
    copy.outcome = failure_;
    copy.tiles.clear();
    return end_if_done(loop, copy);
  }
  issue(loop, copy, plan);
}

void CudaTarget::issue(Loop& loop, GpuCopy& copy, const CopyPlan& plan) {
  const Current current(driver_, context_);
  if (current.error() != kSuccess) {
    copy.outcome = driver_.failure(current.error(), "cuCtxPushCurrent");
    copy.tiles.clear();
    fail(loop, copy.outcome);
    return end_if_done(loop, copy);
  }
  copy.flights = 1;  // held while issuing
  Status issued = issue_engine(loop, copy, plan.engine);
  if (issued.ok()) issued = issue_tiles(loop, copy);
  if (!issued.ok()) {
    copy.outcome = issued;
    copy.tiles.clear();
    copy.unlink();
    judge(loop, issued);
  }
  --copy.flights;
  end_if_done(loop, copy);
}

// A call of the driver that reaches the GPU takes 20 to 30 us after a pause, and 3 when one has
// just been made. An event touches nobody's memory.
void CudaTarget::expect() {
  if (failed() || due_ns() != UINT64_MAX || !alive()) return;
  const Current current(driver_, context_);
  if (current.error() != kSuccess) return;  // the copy will say so
  const Result<Event> event = take_event();
  if (!event.has_value()) return;
  (void)driver_.event_record(*event, streams_.front().stream);
  events_.push_back(*event);  // recorded anew, it means what comes then
}

// The one that has this use now, or one that has nothing to do, or a new one.
CudaTarget::OurStream& CudaTarget::stream_for(Use use, uint64_t now_ns) {
  OurStream* idle = nullptr;
  OurStream* unmade = nullptr;
  for (OurStream& stream : streams_) {
    if (stream.stream == nullptr) {
      if (unmade == nullptr) unmade = &stream;
    } else if (stream.flights.empty()) {
      if (idle == nullptr) idle = &stream;
    } else if (stream.use == use) {
      return stream;
    }
  }
  if (idle == nullptr && unmade != nullptr && now_ns >= refused_until_ns_) {
    if (make_stream(*unmade).ok()) {
      idle = unmade;
    } else {
      refused_until_ns_ = now_ns + kAskAgainNs;
    }
  }
  // A driver that makes no more streams makes this copy wait for those before it.
  OurStream& taken = idle != nullptr ? *idle : streams_.front();
  if (idle != nullptr) taken.use = use;
  return taken;
}

Status CudaTarget::issue_engine(Loop& loop, GpuCopy& copy, const std::vector<GpuPiece>& pieces) {
  if (pieces.empty()) return {};
  const bool to_gpu = copy.direction == GpuCopy::Direction::to_gpu;
  const uint64_t bytes = bytes_of(pieces);
  const Use way = to_gpu ? Use::to_gpu : Use::from_gpu;
  OurStream& stream = stream_for(copy.brief ? Use::brief : way, loop.now_ns());
  Error error = kSuccess;
  for (const GpuPiece& piece : pieces) {
    error = to_gpu ? driver_.copy_to_device(pointer_of(piece.gpu), piece.host, piece.length_bytes,
                                            stream.stream)
                   : driver_.copy_to_host(piece.host, pointer_of(piece.gpu), piece.length_bytes,
                                          stream.stream);
    if (error != kSuccess) break;
  }
  // Also after an error: what was issued before it must have ended before the copy does.
  const Status flown = fly(loop, copy, stream, -1, bytes);
  return error == kSuccess ? flown : driver_.failure(error, "cuMemcpyAsync");
}

// A long write's parts may go by engine or kernel, as its staging memory happens to lie. One stream
// is enough for them, and the driver takes 2 MiB of GPU memory for a second one.
CudaTarget::Use CudaTarget::tiles_use(const GpuCopy& copy) {
  if (copy.brief) return Use::brief;
  const bool out = copy.bulk && copy.direction == GpuCopy::Direction::from_gpu;
  return out ? Use::from_gpu : Use::kernel;
}

Status CudaTarget::issue_tiles(Loop& loop, GpuCopy& copy) {
  while (copy.tiles_sent < copy.tiles.size() && !free_lists_.empty()) {
    const size_t count = std::min(copy.tiles.size() - copy.tiles_sent, kListTiles);
    const int list = free_lists_.back();
    OurStream& stream = stream_for(tiles_use(copy), loop.now_ns());
    GD2FS_TRY(launch(copy, copy.tiles_sent, count, list, stream.stream));
    free_lists_.pop_back();
    const uint64_t bytes = bytes_of({&copy.tiles[copy.tiles_sent], count});
    copy.tiles_sent += count;
    GD2FS_TRY(fly(loop, copy, stream, list, bytes));
  }
  if (copy.tiles_sent < copy.tiles.size() && !copy.linked()) waiting_.push_back(copy);
  return {};
}

Status CudaTarget::launch(const GpuCopy& copy, size_t first, size_t count, int list,
                          Stream stream) {
  const bool to_gpu = copy.direction == GpuCopy::Direction::to_gpu;
  Tile* tiles = lists_ + static_cast<size_t>(list) * kListTiles;
  for (size_t i = 0; i < count; ++i) {
    const GpuPiece& piece = copy.tiles[first + i];
    const auto host = reinterpret_cast<uint64_t>(piece.host);
    const auto gpu = reinterpret_cast<uint64_t>(piece.gpu);
    tiles[i] = {to_gpu ? gpu : host, to_gpu ? host : gpu, piece.length_bytes};
  }
  auto list_pointer = reinterpret_cast<Pointer>(tiles);
  auto tile_count = static_cast<uint32_t>(count);
  void* parameters[] = {&list_pointer, &tile_count};
  constexpr size_t kWarpsPerBlock = kThreads / 32;
  const auto blocks = static_cast<unsigned>(
      std::min<size_t>(kBlocks, (count + kWarpsPerBlock - 1) / kWarpsPerBlock));
  const Error error =
      driver_.launch_kernel(kernel_, blocks, 1, 1, kThreads, 1, 1, 0, stream, parameters, nullptr);
  return error == kSuccess ? Status() : driver_.failure(error, "cuLaunchKernel");
}

Result<Event> CudaTarget::take_event() {
  if (!events_.empty()) {
    const Event event = events_.back();
    events_.pop_back();
    return event;
  }
  Event event = nullptr;
  const Error error = driver_.event_create(&event, kEventDisableTiming);
  if (error != kSuccess) return gd2fs::fail(driver_.failure(error, "cuEventCreate"));
  return event;
}

// Marks the end of what the copy has put on a stream.
Status CudaTarget::fly(Loop& loop, GpuCopy& copy, OurStream& stream, int list,
                       uint64_t length_bytes) {
  Result<Event> event = take_event();
  const Error error = event.has_value() ? driver_.event_record(*event, stream.stream) : kSuccess;
  if (!event.has_value() || error != kSuccess) {
    // Without an event nobody knows when the copy ends. That is as good as a lost context.
    const Status why = event.has_value() ? driver_.failure(error, "cuEventRecord") : event.error();
    fail(loop, why);
    return why;
  }
  const uint64_t now_ns = loop.now_ns();
  stream.free_ns = std::max(stream.free_ns, now_ns) + length_bytes * kUs / kLinkBytesPerUs;
  ++copy.flights;
  stream.flights.push_back({&copy, *event, list, std::max(stream.free_ns, now_ns + kCopyLeastNs)});
  return {};
}

// --- ending ---

uint64_t CudaTarget::due_ns() const {
  uint64_t due_ns = UINT64_MAX;
  for (const OurStream& stream : streams_) {
    if (!stream.flights.empty()) due_ns = std::min(due_ns, stream.flights.front().due_ns);
  }
  return due_ns;
}

bool CudaTarget::look(Loop& loop) {
  if (due_ns() == UINT64_MAX) return false;
  if (!alive()) {
    fail(loop, {StatusCode::io, "the GPU's context was reset", EIO});
    return true;
  }
  const Current current(driver_, context_);
  if (current.error() != kSuccess) {
    fail(loop, driver_.failure(current.error(), "cuCtxPushCurrent"));
    return true;
  }
  bool landed = false;
  for (OurStream& stream : streams_) {
    landed = look(loop, stream) || landed;
    if (failed()) return true;
  }
  if (landed) pump_waiting(loop);
  return landed;
}

bool CudaTarget::look(Loop& loop, OurStream& stream) {
  bool landed = false;
  while (!stream.flights.empty()) {
    const Error error = driver_.event_query(stream.flights.front().event);
    if (error == kNotReady) return landed;
    if (error != kSuccess) {
      fail(loop, driver_.failure(error, "a copy"));
      return true;
    }
    const Flight flight = stream.flights.front();
    stream.flights.pop_front();
    land(loop, flight);
    landed = true;
  }
  return landed;
}

void CudaTarget::land(Loop& loop, const Flight& flight) {
  events_.push_back(flight.event);
  if (flight.list >= 0) free_lists_.push_back(flight.list);
  --flight.copy->flights;
  end_if_done(loop, *flight.copy);
}

void CudaTarget::end_if_done(Loop& loop, GpuCopy& copy) {
  if (copy.flights > 0 || copy.linked()) return;
  loop.complete_first(copy.done, copy.outcome);  // more copies may follow from it
}

void CudaTarget::pump_waiting(Loop& loop) {
  while (!waiting_.empty() && !free_lists_.empty() && !failed()) {
    GpuCopy& copy = *waiting_.pop_front();
    ++copy.flights;
    const Status issued = issue_tiles(loop, copy);
    if (!issued.ok()) {
      copy.outcome = issued;
      copy.unlink();
      judge(loop, issued);
    }
    --copy.flights;
    end_if_done(loop, copy);
  }
}

void CudaTarget::judge(Loop& loop, const Status& why) {
  if (failed()) return;
  const Error error = driver_.stream_query(streams_.front().stream);
  if (error != kSuccess && error != kNotReady) fail(loop, why);
}

void CudaTarget::fail(Loop& loop, const Status& why) {
  if (failed()) return;
  // Whoever is told may do with the memory as he likes. (A context that is lost moves nothing and
  // answers at once.)
  drain();
  failure_ = why;
  failed_.store(true, std::memory_order_release);
  GD2FS_LOG_ERROR("gpu {}: its memory cannot be used any more: {}", device_, why.to_string());
  // A copy may be held by who issues it (one flight more than it has here): that one ends it.
  std::vector<GpuCopy*> copies;
  while (GpuCopy* copy = waiting_.pop_front()) copies.push_back(copy);
  for (OurStream& stream : streams_) {
    for (const Flight& flight : stream.flights) {
      --flight.copy->flights;
      copies.push_back(flight.copy);
    }
    stream.flights.clear();
  }
  std::ranges::sort(copies);
  const auto twice = std::ranges::unique(copies);
  copies.erase(twice.begin(), twice.end());
  for (GpuCopy* copy : copies) {
    copy->outcome = why;
    end_if_done(loop, *copy);
  }
}

}  // namespace gd2fs::cuda
