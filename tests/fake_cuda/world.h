// World: all that the fake driver knows, under one mutex, and the thread that carries out what is
// queued. Objects stay in memory after they are destroyed, so that the use of a dead handle is an
// error here and not a crash.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "fake_cuda.h"

namespace fake_cuda {

using Pointer = unsigned long long;

enum : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kNotInitialized = 3,
  kInvalidDevice = 101,
  kInvalidContext = 201,
  kAlreadyMapped = 208,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kContextIsDestroyed = 709,
  kAlreadyRegistered = 712,
  kNotRegistered = 713,
  kNotSupported = 801,
  kStreamCaptureUnsupported = 900,
  kStreamCaptureInvalidated = 901,
  kStreamCaptureImplicit = 906,
};

struct Context {
  int device = 0;
  bool primary = false;
  int references = 0;
  bool alive = true;
  int error = kSuccess;  // the one that ended it; every later call answers it
};

struct Event {
  Context* context = nullptr;
  bool alive = true;
  bool done = true;  // one that was never recorded counts as done
  uint64_t recorded = 0;
};

struct Stream {
  Context* context = nullptr;
  bool alive = true;
  bool capturing = false;
  int capture_mode = 0;  // of cuStreamBeginCapture; 0: global
  bool capture_broken = false;
  bool busy = false;  // its first operation is being carried out
  struct Operation {
    std::function<int(std::unique_lock<std::mutex>&)> run;  // answers an error of the context
    std::function<bool()> runnable;                         // empty: always
    uint64_t due_ns = 0;                                    // 0: its turn has not come
  };
  std::deque<Operation> queue;
};

struct Module {
  Context* context = nullptr;
  bool alive = true;
};
struct Function {
  Module* module = nullptr;
};

// Device memory that is mapped somewhere: an allocation, or a physical piece of CUDA's VMM.
struct Range {
  Pointer begin = 0;
  uint64_t length = 0;
  std::byte* shadow = nullptr;  // where the CPU may touch it
  int device = 0;
  Context* context = nullptr;  // nullptr: VMM
  bool managed = false;
  int fd = -1;
};

struct Physical {
  int fd = -1;
  uint64_t length = 0;
  int device = 0;
};

struct Registration {
  uintptr_t begin = 0;
  uint64_t length = 0;
  unsigned flags = 0;
  Context* context = nullptr;
};

class World {
 public:
  static World& instance();
  World();
  ~World();

  std::mutex mutex;
  std::condition_variable changed;
  int device_count = 2;
  bool initialised = false;

  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<Context*> primaries;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Event>> events;
  std::vector<std::unique_ptr<Module>> modules;
  std::vector<std::unique_ptr<Function>> functions;
  std::map<Pointer, Range> ranges;
  std::map<Pointer, uint64_t> reservations;
  std::vector<std::unique_ptr<Physical>> physicals;
  std::map<uintptr_t, Registration> registrations;
  std::map<uintptr_t, uint64_t> host_allocations;
  using Pieces = std::vector<std::pair<std::byte*, uint64_t>>;
  std::map<uint64_t, Pieces> dmabufs;  // by inode

  uint64_t delay_ns = 0;
  bool held = false;
  int refuse_count = 0;
  int refuse_error = kSuccess;
  int refuse_streams_error = kSuccess;
  int refuse_events_error = kSuccess;
  uint64_t refuse_registration_bytes = 0;
  int refuse_registration_error = kSuccess;
  int break_error = kSuccess;
  fake_cuda_counts counts{};
  int nic_ordering = 100;

  // Of this thread; nullptr: none.
  Context* current() const;
  std::vector<Context*>& stack() const;
  // kSuccess, or why nothing can be done in the current context.
  int check_context() const;
  int check_stream(Stream* stream) const;
  // For calls that might belong into a graph: if one is captured in global mode anywhere and this
  // thread has not said that it is not concerned, they fail and break the capture.
  int check_capture();
  // The stream's, or that of a default stream in the current context.
  Stream* stream_of(void* handle);

  void queue(Stream& stream, std::function<int(std::unique_lock<std::mutex>&)> run,
             std::function<bool()> runnable = {});
  bool idle(const Stream& stream) const { return stream.queue.empty() && !stream.busy; }
  void wait_idle(std::unique_lock<std::mutex>& lock,
                 const std::function<bool(const Stream&)>& which);
  // Drops what is queued and ends everything that belongs to it.
  void end_context(std::unique_lock<std::mutex>& lock, Context& context);
  void break_context(Context& context, int error);

  const Range* range_of(Pointer pointer) const;
  // The CPU's way to [pointer, pointer + length) of device memory, piece by piece; false: not all
  // of it is mapped, or it crosses two allocations that are not VMM's.
  bool pieces_of(Pointer pointer, uint64_t length,
                 std::vector<std::pair<std::byte*, uint64_t>>* out) const;
  // kSuccess, or why a copy may not use this host memory; *pageable: it is not registered at all.
  int check_host(const void* address, uint64_t length, bool write, bool* pageable) const;

 private:
  void work();
  std::map<Context*, Stream*> default_streams_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace fake_cuda
