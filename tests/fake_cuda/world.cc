#include "world.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <pthread.h>
#include <signal.h>

namespace fake_cuda {
namespace {

uint64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

thread_local std::vector<Context*> context_stack;

}  // namespace

World& World::instance() {
  // Never destroyed: threads of the process may call us until its last moment.
  static World* const world = new World;
  return *world;
}

World::World() {
  if (const char* count = std::getenv("FAKE_CUDA_DEVICES")) device_count = std::atoi(count);
  primaries.resize(static_cast<size_t>(device_count));
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] { work(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

World::~World() {
  {
    std::lock_guard lock(mutex);
    stopping_ = true;
  }
  changed.notify_all();
  thread_.join();
}

std::vector<Context*>& World::stack() const {
  return context_stack;
}

Context* World::current() const {
  return context_stack.empty() ? nullptr : context_stack.back();
}

int World::check_context() const {
  if (!initialised) return kNotInitialized;
  const Context* context = current();
  if (context == nullptr) return kInvalidContext;
  if (!context->alive) return kContextIsDestroyed;
  return context->error;
}

int World::check_stream(Stream* stream) const {
  if (const int error = check_context(); error != kSuccess) return error;
  const bool known = std::any_of(streams.begin(), streams.end(),
                                 [&](const auto& one) { return one.get() == stream; });
  if (!known || !stream->alive) return kInvalidHandle;
  return stream->context == current() ? kSuccess : kInvalidHandle;
}

Stream* World::stream_of(void* handle) {
  if (reinterpret_cast<uintptr_t>(handle) > 2) return static_cast<Stream*>(handle);
  Context* context = current();
  if (context == nullptr) return nullptr;
  Stream*& stream = default_streams_[context];
  if (stream == nullptr) {
    stream = streams.emplace_back(std::make_unique<Stream>()).get();
    stream->context = context;
  }
  return stream;
}

void World::queue(Stream& stream, std::function<int(std::unique_lock<std::mutex>&)> run,
                  std::function<bool()> runnable) {
  stream.queue.push_back({std::move(run), std::move(runnable), 0});
  changed.notify_all();
}

void World::work() {
  std::unique_lock lock(mutex);
  while (!stopping_) {
    uint64_t soonest_ns = UINT64_MAX;
    Stream* ready = nullptr;
    for (const auto& stream : streams) {
      if (held || stream->queue.empty() || !stream->alive) continue;
      Stream::Operation& first = stream->queue.front();
      if (first.runnable && !first.runnable()) continue;
      if (first.due_ns == 0) first.due_ns = now_ns() + delay_ns;
      soonest_ns = std::min(soonest_ns, first.due_ns);
      if (first.due_ns <= now_ns()) ready = stream.get();
      if (ready != nullptr) break;
    }
    if (ready == nullptr) {
      if (soonest_ns == UINT64_MAX) {
        changed.wait(lock);
      } else {
        const uint64_t now = now_ns();
        if (soonest_ns > now) changed.wait_for(lock, std::chrono::nanoseconds(soonest_ns - now));
      }
      continue;
    }
    Stream::Operation operation = std::move(ready->queue.front());
    ready->queue.pop_front();
    ready->busy = true;
    const int error = operation.run(lock);
    ready->busy = false;
    if (error != kSuccess) break_context(*ready->context, error);
    changed.notify_all();
  }
}

void World::wait_idle(std::unique_lock<std::mutex>& lock,
                      const std::function<bool(const Stream&)>& which) {
  changed.wait(lock, [&] {
    return std::all_of(streams.begin(), streams.end(), [&](const auto& stream) {
      return !which(*stream) || idle(*stream) || stream->context->error != kSuccess;
    });
  });
}

void World::break_context(Context& context, int error) {
  context.error = error;
  for (const auto& stream : streams) {
    if (stream->context == &context) stream->queue.clear();
  }
}

void World::end_context(std::unique_lock<std::mutex>& lock, Context& context) {
  for (const auto& stream : streams) {
    if (stream->context == &context) stream->queue.clear();
  }
  changed.wait(lock, [&] {
    return std::none_of(streams.begin(), streams.end(), [&](const auto& stream) {
      return stream->context == &context && stream->busy;
    });
  });
  context.alive = false;
  for (const auto& stream : streams) {
    if (stream->context == &context) stream->alive = false;
  }
  for (const auto& event : events) {
    if (event->context == &context) event->alive = false;
  }
  for (const auto& module : modules) {
    if (module->context == &context) module->alive = false;
  }
  default_streams_.erase(&context);
  std::erase_if(registrations, [&](const auto& one) { return one.second.context == &context; });
  // Its memory stays mapped for nobody: a later copy must find that it is gone.
  std::erase_if(ranges, [&](const auto& one) { return one.second.context == &context; });
  changed.notify_all();
}

const Range* World::range_of(Pointer pointer) const {
  auto after = ranges.upper_bound(pointer);
  if (after == ranges.begin()) return nullptr;
  const Range& range = std::prev(after)->second;
  return pointer - range.begin < range.length ? &range : nullptr;
}

bool World::pieces_of(Pointer pointer, uint64_t length,
                      std::vector<std::pair<std::byte*, uint64_t>>* out) const {
  const Range* before = nullptr;
  while (length > 0) {
    const Range* range = range_of(pointer);
    if (range == nullptr) return false;
    if (before != nullptr && (before->context != nullptr || range->context != nullptr))
      return false;
    const uint64_t offset = pointer - range->begin;
    const uint64_t take = std::min(length, range->length - offset);
    out->emplace_back(range->shadow + offset, take);
    pointer += take;
    length -= take;
    before = range;
  }
  return true;
}

int World::check_host(const void* address, uint64_t length, bool write, bool* pageable) const {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  *pageable = false;
  bool touches = false;
  for (const auto& [start, registration] : registrations) {
    if (begin >= start && begin + length <= start + registration.length) {
      const bool read_only = (registration.flags & 8) != 0;
      return write && read_only ? kInvalidValue : kSuccess;
    }
    touches = touches || (begin < start + registration.length && start < begin + length);
  }
  for (const auto& [start, bytes] : host_allocations) {
    if (begin >= start && begin + length <= start + bytes) return kSuccess;
  }
  *pageable = !touches;
  return touches ? kInvalidValue : kSuccess;
}

}  // namespace fake_cuda
