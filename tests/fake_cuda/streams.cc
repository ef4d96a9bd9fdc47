// Streams, events, copies, launches.
#include <algorithm>
#include <cstring>
#include <utility>

#include "world.h"

using namespace fake_cuda;  // NOLINT: the library's own names

#define FAKE_API extern "C" __attribute__((visibility("default"))) int

namespace {

using Pieces = std::vector<std::pair<std::byte*, uint64_t>>;

struct Tile {
  uint64_t to;
  uint64_t from;
  uint64_t length;
};

void* address_of(Pointer pointer) {
  return reinterpret_cast<void*>(pointer);  // NOLINT(performance-no-int-to-ptr)
}

// The CPU's way to an address of either kind, as a kernel may use it.
bool mapped(const World& world, Pointer pointer, uint64_t length, bool write, Pieces* out) {
  if (world.range_of(pointer) != nullptr) return world.pieces_of(pointer, length, out);
  bool pageable = false;
  const int error = world.check_host(address_of(pointer), length, write, &pageable);
  if (error != kSuccess || pageable) return false;
  out->emplace_back(static_cast<std::byte*>(address_of(pointer)), length);
  return true;
}

void move(const Pieces& to, const Pieces& from) {
  size_t i = 0, j = 0;
  uint64_t at = 0, from_at = 0;
  while (i < to.size() && j < from.size()) {
    const uint64_t take = std::min(to[i].second - at, from[j].second - from_at);
    std::memcpy(to[i].first + at, from[j].first + from_at, take);
    at += take;
    from_at += take;
    if (at == to[i].second) ++i, at = 0;
    if (from_at == from[j].second) ++j, from_at = 0;
  }
}

int take_break(World& world) {
  return std::exchange(world.break_error, kSuccess);
}

// What one copy of the engine does when its turn comes.
int carry_out(World& world, std::unique_lock<std::mutex>& lock, Pointer gpu, void* host,
              uint64_t length, bool to_gpu) {
  if (const int error = take_break(world); error != kSuccess) return error;
  Pieces device;
  if (!world.pieces_of(gpu, length, &device)) return kIllegalAddress;
  const Pieces other{{static_cast<std::byte*>(host), length}};
  lock.unlock();
  if (to_gpu) {
    move(device, other);
  } else {
    move(other, device);
  }
  lock.lock();
  return kSuccess;
}

int queue_copy(Pointer gpu, void* host, uint64_t length, void* handle, bool to_gpu) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  if (stream->capturing) return kStreamCaptureImplicit;
  if (world.refuse_count > 0) {
    --world.refuse_count;
    return world.refuse_error;
  }
  Pieces device;
  if (!world.pieces_of(gpu, length, &device)) return kInvalidValue;
  bool pageable = false;
  const int error = world.check_host(host, length, !to_gpu, &pageable);
  if (error != kSuccess) return error;
  ++world.counts.copies;
  world.queue(*stream, [=, &world](std::unique_lock<std::mutex>& held) {
    return carry_out(world, held, gpu, host, length, to_gpu);
  });
  if (pageable) {
    ++world.counts.pageable_copies;
    world.wait_idle(lock, [&](const Stream& one) { return &one == stream; });
  }
  return kSuccess;
}

int carry_out_tiles(World& world, std::unique_lock<std::mutex>& lock, Pointer list,
                    unsigned count) {
  if (const int error = take_break(world); error != kSuccess) return error;
  Pieces list_pieces;
  if (!mapped(world, list, count * sizeof(Tile), false, &list_pieces)) return kIllegalAddress;
  // Read when the kernel runs, as a real one does: whoever reuses the list too early is found out.
  std::vector<Tile> tiles(count);
  std::memcpy(tiles.data(), list_pieces.front().first, count * sizeof(Tile));
  std::vector<std::pair<Pieces, Pieces>> moves;
  for (const Tile& tile : tiles) {
    auto& [to, from] = moves.emplace_back();
    if (!mapped(world, tile.to, tile.length, true, &to) ||
        !mapped(world, tile.from, tile.length, false, &from)) {
      return kIllegalAddress;
    }
  }
  lock.unlock();
  for (const auto& [to, from] : moves) move(to, from);
  lock.lock();
  return kSuccess;
}

thread_local int thread_capture_mode = 0;  // global, as the driver begins

}  // namespace

int World::check_capture() {
  if (thread_capture_mode == 2) return kSuccess;  // relaxed
  int error = kSuccess;
  for (const auto& stream : streams) {
    if (!stream->alive || !stream->capturing || stream->capture_mode != 0) continue;
    stream->capture_broken = true;
    error = kStreamCaptureUnsupported;
  }
  return error;
}

// --- copies ---

FAKE_API cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t length, void* stream) {
  return queue_copy(to, const_cast<void*>(from), length, stream, true);
}

FAKE_API cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t length, void* stream) {
  return queue_copy(from, to, length, stream, false);
}

namespace {

int copy_now(Pointer gpu, void* host, uint64_t length, bool to_gpu) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  Pieces device;
  if (!world.pieces_of(gpu, length, &device)) return kInvalidValue;
  const Pieces other{{static_cast<std::byte*>(host), length}};
  if (to_gpu) {
    move(device, other);
  } else {
    move(other, device);
  }
  return kSuccess;
}

}  // namespace

// The synchronous ones serve tests, which use them while nothing else touches the memory.
FAKE_API cuMemcpyHtoD_v2(Pointer to, const void* from, size_t length) {
  return copy_now(to, const_cast<void*>(from), length, true);
}

FAKE_API cuMemcpyDtoH_v2(void* to, Pointer from, size_t length) {
  return copy_now(from, to, length, false);
}

FAKE_API cuLaunchKernel(Function* function, unsigned grid_x, unsigned, unsigned, unsigned block_x,
                        unsigned, unsigned, unsigned, void* handle, void** parameters, void**) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  if (!function->module->alive || function->module->context != world.current()) {
    return kInvalidHandle;
  }
  if (grid_x == 0 || block_x == 0 || block_x % 32 != 0 || block_x > 1024) return kInvalidValue;
  if (world.refuse_count > 0) {
    --world.refuse_count;
    return world.refuse_error;
  }
  const Pointer list = *static_cast<Pointer*>(parameters[0]);
  const unsigned count = *static_cast<unsigned*>(parameters[1]);
  ++world.counts.launches;
  world.counts.tiles += count;
  world.queue(*stream, [=, &world](std::unique_lock<std::mutex>& held) {
    return carry_out_tiles(world, held, list, count);
  });
  return kSuccess;
}

FAKE_API cuLaunchHostFunc(void* handle, void (*function)(void*), void* argument) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  world.queue(*stream, [=](std::unique_lock<std::mutex>& held) {
    held.unlock();
    function(argument);
    held.lock();
    return static_cast<int>(kSuccess);
  });
  return kSuccess;
}

// --- streams ---

FAKE_API cuStreamCreate(Stream** stream, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  ++world.counts.streams_asked;
  if (world.refuse_streams_error != kSuccess) return world.refuse_streams_error;
  *stream = world.streams.emplace_back(std::make_unique<Stream>()).get();
  (*stream)->context = world.current();
  return kSuccess;
}

FAKE_API cuStreamDestroy_v2(Stream* stream) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  world.wait_idle(lock, [&](const Stream& one) { return &one == stream; });
  stream->alive = false;
  return kSuccess;
}

FAKE_API cuThreadExchangeStreamCaptureMode(int* mode) {
  std::swap(*mode, thread_capture_mode);
  return kSuccess;
}

FAKE_API cuStreamQuery(void* handle) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_capture(); error != kSuccess) return error;
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  if (stream->capturing) return kStreamCaptureImplicit;
  return world.idle(*stream) ? kSuccess : kNotReady;
}

FAKE_API cuStreamSynchronize(void* handle) {
  World& world = World::instance();
  std::unique_lock lock(world.mutex);
  if (const int error = world.check_capture(); error != kSuccess) return error;
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  ++world.counts.synchronises;
  world.wait_idle(lock, [&](const Stream& one) { return &one == stream; });
  return stream->context->error;
}

FAKE_API cuStreamIsCapturing(void* handle, int* status) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  *status = stream->capturing ? 1 : 0;
  return kSuccess;
}

FAKE_API cuStreamBeginCapture_v2(Stream* stream, int mode) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  stream->capturing = true;
  stream->capture_mode = mode;
  stream->capture_broken = false;
  return kSuccess;
}

FAKE_API cuStreamEndCapture(Stream* stream, void** graph) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  stream->capturing = false;
  *graph = nullptr;
  return stream->capture_broken ? kStreamCaptureInvalidated : kSuccess;
}

FAKE_API cuStreamGetCtx(Stream* stream, Context** context) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  const bool known = std::any_of(world.streams.begin(), world.streams.end(),
                                 [&](const auto& one) { return one.get() == stream; });
  if (!known || !stream->alive) return kInvalidHandle;
  *context = stream->context;
  return kSuccess;
}

// --- events ---

FAKE_API cuEventCreate(Event** event, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (const int error = world.check_context(); error != kSuccess) return error;
  *event = world.events.emplace_back(std::make_unique<Event>()).get();
  (*event)->context = world.current();
  return kSuccess;
}

FAKE_API cuEventDestroy_v2(Event* event) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!event->alive) return kInvalidHandle;
  event->alive = false;
  return kSuccess;
}

FAKE_API cuEventRecord(Event* event, void* handle) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  if (!event->alive || event->context != world.current()) return kInvalidHandle;
  if (world.refuse_events_error != kSuccess) return world.refuse_events_error;
  event->done = false;
  const uint64_t recording = ++event->recorded;
  world.queue(*stream, [=](std::unique_lock<std::mutex>&) {
    // A later recording takes this one's place.
    if (event->recorded == recording) event->done = true;
    return static_cast<int>(kSuccess);
  });
  return kSuccess;
}

FAKE_API cuEventQuery(Event* event) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (!world.initialised) return kNotInitialized;
  if (const int error = world.check_capture(); error != kSuccess) return error;
  if (!event->context->alive) return kContextIsDestroyed;
  if (event->context->error != kSuccess) return event->context->error;
  if (!event->alive) return kInvalidHandle;
  return event->done ? kSuccess : kNotReady;
}

FAKE_API cuStreamWaitEvent(void* handle, Event* event, unsigned) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  Stream* stream = world.stream_of(handle);
  if (const int error = world.check_stream(stream); error != kSuccess) return error;
  if (!event->alive) return kInvalidHandle;
  world.queue(
      *stream, [](std::unique_lock<std::mutex>&) { return static_cast<int>(kSuccess); },
      [event] { return event->done || !event->alive; });
  return kSuccess;
}
