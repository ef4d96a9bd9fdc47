// The actors of SimRun: clients that read and write, and the administrator that renames, truncates
// and unlinks. For tests.
#pragma once

#include <deque>

#include "store/sim_run.h"

namespace gd2fs {

// One request at a time, of its own incarnation. What a crash left unanswered it sends again with
// the same tag, or gives up.
class SimRun::Client {
 public:
  Client(SimRun& run, uint64_t incarnation);
  void begin_life();  // the store is open
  void end_life();    // it is about to go
  bool unresolved() const { return unresolved_; }
  uint64_t unresolved_id() const { return update_.id; }

 private:
  void pause();
  void next(Completion&);
  void start_read();
  void on_read(Completion&);
  void check_read();
  void start_write();
  void send_write();
  void on_reserved(int copy);
  void on_committed(int copy);
  void on_written();
  void remember(const StoreWrite& w);
  void start_flush();
  void on_flushed(Completion&);
  void start_duplicate();
  void on_duplicate(Completion&);
  void on_reserved_0(Completion&) { on_reserved(0); }
  void on_reserved_1(Completion&) { on_reserved(1); }
  void on_committed_0(Completion&) { on_committed(0); }
  void on_committed_1(Completion&) { on_committed(1); }
  void release_held();
  void count(const Status& status);
  ModelFile& pick_file();
  uint64_t pick_generation(const ModelFile& file);
  bool stale_is_right(const ModelFile& file, uint64_t generation) const {
    return generation < file.fence_generation;
  }

  // What a life holds; gone before its store and its loop are.
  struct Life {
    Timer timer;
    StoreRead read;
    StoreWrite writes[2];
    StoreWrite duplicate;
    Completion flushed;
  };

  SimRun& run_;
  uint64_t incarnation_;
  std::unique_ptr<Life> life_;

  ModelFile* read_file_ = nullptr;
  std::string read_before_;
  size_t read_acks_before_ = 0;
  uint64_t read_recorded_generation_ = 0;
  std::string held_;  // what read_ answered, to look at once more before it is let go

  uint64_t sequence_ = 0;
  ModelFile* file_ = nullptr;
  ModelUpdate update_;
  uint32_t chunk_ = 0;
  uint64_t generation_ = 0;
  int copies_ = 1;
  int copies_left_ = 0;
  bool acked_ = false;
  bool outcome_unknown_ = false;
  bool outcome_unknown_before_ = false;
  bool retry_ = false;
  uint64_t version_ = 0;
  bool unresolved_ = false;

  // What was answered ok, the last few.
  static constexpr size_t kDoneKept = 8;
  struct Done {
    ChunkKey key;
    uint8_t chunk_log2 = 0;
    uint32_t offset_bytes = 0;
    uint32_t length_bytes = 0;
    uint64_t generation = 0;
    MutationTag tag;
    uint64_t version = 0;
    uint32_t life = 0;  // when it was acknowledged
  };
  std::deque<Done> done_;
  bool duplicate_may_be_lost_ = false;
  std::vector<std::pair<ModelChunk*, size_t>> flush_covers_;  // acknowledgements before it began
  uint64_t low_ = 0;                                          // the highest sent
  uint64_t low_executed_ = 0;  // the highest of a request that was answered ok
  uint64_t duplicate_version_ = 0;
};

// One fence at a time; one that was not answered ok is sent again until it is.
class SimRun::Administrator {
 public:
  explicit Administrator(SimRun& run) : run_(run) {}
  void begin_life();
  void end_life();
  bool pending() const { return pending_; }

 private:
  void next(Completion&);
  void draw_fence();
  void send();
  void on_done(Completion&);
  void on_late_done(Completion&);
  void each_cut(const std::function<void(ModelChunk&, const ModelUpdate&)>& visit);

  struct Life {
    Timer timer;
    Completion done;
    Completion late_done;
  };

  SimRun& run_;
  std::unique_ptr<Life> life_;
  bool pending_ = false;
  ModelFile* file_ = nullptr;
  StoreFence fence_;
  uint64_t cut_id_ = 0;
  StoreFence late_;
};

}  // namespace gd2fs
