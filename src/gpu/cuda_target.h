// CudaTarget: one context of one device, with our own streams in it: issues copies, looks for their
// end by events, and knows when the context is gone.
//
// Streams are non-blocking, so they neither wait for nor hold up the application's default stream.
// One has one use as long as it has something to do: long transfers one way (the link works both
// ways at once), or all that is brief, so that a 4 KiB read does not queue behind 64 MiB. There is
// one from the start; others are made when two uses meet for the first time, because the second
// stream of a process takes 2 MiB of the GPU's memory. Each copy leaves one event on each stream
// that it used; looking is cuEventQuery, when a copy's end is due (see CudaGpu).
//
// Thread rule: open() and failed() from any thread, the rest from the loop.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include "gpu/copy_plan.h"
#include "gpu/cuda_driver.h"
#include "gpu/gpu.h"
#include "loop/loop.h"

namespace gd2fs::cuda {

// What the kernel reads; copy_kernel.c has the same.
struct Tile {
  uint64_t to = 0;
  uint64_t from = 0;
  uint64_t length_bytes = 0;
};
static_assert(sizeof(Tile) == 24);

class CudaTarget {
 public:
  static constexpr size_t kListTiles = 4096;  // tiles of one launch: 64 MiB at most
  static constexpr size_t kListsMax = 8;      // launches in flight
  static constexpr unsigned kBlocks = 16;     // few, so that a running model keeps its processors
  static constexpr unsigned kThreads = 512;

  // Makes streams and loads the kernel in a context that exists. `primary`: a reference of the
  // device's primary context, which this gives back.
  static Result<std::unique_ptr<CudaTarget>> open(const Driver& driver, Device device,
                                                  Context context, bool primary);
  ~CudaTarget();  // nothing may be in flight
  CudaTarget(const CudaTarget&) = delete;
  CudaTarget& operator=(const CudaTarget&) = delete;

  Device device() const { return device_; }
  Context context() const { return context_; }
  const Driver& driver() const { return driver_; }
  bool primary() const { return primary_; }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Whether the device's primary context is still there; of another one nobody can tell: true.
  bool alive() const;
  bool has_kernel() const { return kernel_ != nullptr; }

  // As Gpu's. Any thread.
  Status see_nic_writes();

  void copy(Loop& loop, GpuCopy& copy);
  // As Gpu's.
  void expect();
  // Ends what has ended; true if anything has.
  bool look(Loop& loop);
  // Waits for everything that was issued. Any thread.
  void drain();
  // When the first end is due by what the link can do; UINT64_MAX: nothing is in flight.
  uint64_t due_ns() const;

 private:
  // The copy engine's two ways, the kernel, which may wait for a processor while others hold all,
  // and what is brief.
  enum class Use : uint8_t { to_gpu, from_gpu, kernel, brief };
  static constexpr size_t kStreamsMax = 4;  // one for each use
  // A driver that is out of memory takes 0.15 ms to refuse a stream.
  static constexpr uint64_t kAskAgainNs = kSecond;
  // What one copy left on one stream.
  struct Flight {
    GpuCopy* copy = nullptr;
    Event event = nullptr;
    int list = -1;  // of the launch
    uint64_t due_ns = 0;
  };
  struct OurStream {
    Stream stream = nullptr;  // null: not made yet
    Use use = Use::brief;     // of its flights
    std::deque<Flight> flights;
    uint64_t free_ns = 0;  // when it is through with what it has
  };

  CudaTarget(const Driver& driver, Device device, Context context, bool primary);
  Status prepare();
  Status make_stream(OurStream& stream);
  Status prepare_lists();
  void load_kernel();

  void issue(Loop& loop, GpuCopy& copy, const CopyPlan& plan);
  Status issue_engine(Loop& loop, GpuCopy& copy, const std::vector<GpuPiece>& pieces);
  // As many tiles as lists are free for; the rest later.
  Status issue_tiles(Loop& loop, GpuCopy& copy);
  OurStream& stream_for(Use use, uint64_t now_ns);
  static Use tiles_use(const GpuCopy& copy);
  Status launch(const GpuCopy& copy, size_t first, size_t count, int list, Stream stream);
  Status fly(Loop& loop, GpuCopy& copy, OurStream& stream, int list, uint64_t length_bytes);
  bool look(Loop& loop, OurStream& stream);
  void land(Loop& loop, const Flight& flight);
  void end_if_done(Loop& loop, GpuCopy& copy);
  void pump_waiting(Loop& loop);
  // The context is gone: everything ends with `why`.
  void fail(Loop& loop, const Status& why);
  // An error answered by a call: of this call only, or of the whole context?
  void judge(Loop& loop, const Status& why);
  Result<Event> take_event();

  const Driver& driver_;
  const Device device_;
  const Context context_;
  const bool primary_;
  std::atomic<bool> failed_{false};
  enum class NicWrites : uint8_t { unknown, in_order, to_be_flushed, never };
  NicWrites ask_about_nic_writes() const;
  std::atomic<NicWrites> nic_writes_{NicWrites::unknown};
  Status failure_;

  std::array<OurStream, kStreamsMax> streams_;  // made one after another
  uint64_t refused_until_ns_ = 0;               // streams
  std::vector<Event> events_;                   // free ones
  Module module_ = nullptr;
  Function kernel_ = nullptr;
  Tile* lists_ = nullptr;  // kListsMax lists of kListTiles, mapped for the GPU
  bool lists_registered_ = false;
  std::vector<int> free_lists_;
  List<GpuCopy> waiting_;  // with tiles that found no free list
};

}  // namespace gd2fs::cuda
