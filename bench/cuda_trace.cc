// cuda_trace: stands before the CUDA driver's library and notes when the calls on a copy's way
// begin and return. All others go by: the real library is what this one needs, so that whoever
// looks a function up here finds it there.
//
// GD2FS_CUDA_LIBRARY names it; who wants the notes loads it too and calls cuda_trace_take(). Times
// are CLOCK_MONOTONIC's, which Python's time.perf_counter_ns() reads too.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <ctime>
#include <dlfcn.h>

namespace {

constexpr int kNotReady = 600;

enum class Call : uint32_t { copy_to_gpu = 1, copy_from_gpu, launch, event_record, event_seen };

// bench/gpu_trace.py has the same.
struct Note {
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint64_t value =
      0;  // bytes; of event_seen when the look before this one began, 0: there was none
  Call call = Call::launch;
  int32_t answer = 0;
};
static_assert(sizeof(Note) == 32);

constexpr size_t kNotesMax = 4096;  // more are not noted
std::array<Note, kNotesMax> notes;
std::atomic<size_t> note_count{0};
std::atomic<uint64_t> looked_ns{0};  // when a look began that found nothing

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

template <class Function>
Function* real(const char* name) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return library == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(library, name));
}

void note(const Note& one) {
  const size_t at = note_count.fetch_add(1);
  if (at < kNotesMax) notes[at] = one;
}

template <class Make>
int noted(Call call, uint64_t value, Make make) {
  const uint64_t begin_ns = now_ns();
  const int answer = make();
  note({begin_ns, now_ns(), value, call, answer});
  return answer;
}

}  // namespace

#define TRACED extern "C" __attribute__((visibility("default")))

// Takes what was noted since the last time. Not while calls are made.
TRACED size_t cuda_trace_take(Note* out, size_t most) {
  const size_t count = std::min({note_count.exchange(0), kNotesMax, most});
  for (size_t i = 0; i < count; ++i) out[i] = notes[i];
  looked_ns = 0;
  return count;
}

TRACED int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, size_t length,
                                void* stream) {
  static auto* const call =
      real<int(unsigned long long, const void*, size_t, void*)>("cuMemcpyHtoDAsync_v2");
  return noted(Call::copy_to_gpu, length, [&] { return call(to, from, length, stream); });
}

TRACED int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, size_t length, void* stream) {
  static auto* const call =
      real<int(void*, unsigned long long, size_t, void*)>("cuMemcpyDtoHAsync_v2");
  return noted(Call::copy_from_gpu, length, [&] { return call(to, from, length, stream); });
}

TRACED int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                          unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared_bytes, void* stream, void** parameters, void** extra) {
  static auto* const call = real<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned,
                                     unsigned, unsigned, void*, void**, void**)>("cuLaunchKernel");
  return noted(Call::launch, grid_x, [&] {
    return call(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
                parameters, extra);
  });
}

TRACED int cuEventRecord(void* event, void* stream) {
  static auto* const call = real<int(void*, void*)>("cuEventRecord");
  return noted(Call::event_record, 0, [&] { return call(event, stream); });
}

// Looks that find nothing are not noted, but for the time of the last one.
TRACED int cuEventQuery(void* event) {
  static auto* const call = real<int(void*)>("cuEventQuery");
  const uint64_t begin_ns = now_ns();
  const int answer = call(event);
  if (answer == kNotReady) {
    looked_ns = begin_ns;
    return answer;
  }
  note({begin_ns, now_ns(), looked_ns.exchange(0), Call::event_seen, answer});
  return answer;
}
