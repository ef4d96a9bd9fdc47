// SimRun: one seed of the store's simulation. Some clients and an administrator work on a few files
// of a Store on simulated drives; the power fails, processes die, drives hang, fill up and rot, an
// index goes missing; after each restart everything is compared with the model. For tests.
//
// run() answers an empty string, or what went wrong. All choices come from the seed.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/sim_model.h"
#include "store/test_store.h"

namespace gd2fs {

// What a mutation takes away; some seed must notice.
struct SimMutation {
  std::string ignore_syncs_of;  // of files with this prefix the drive lies about every sync
  bool ignore_dir_syncs = false;
  bool blind_to_generations = false;
  bool no_tags = false;
  bool no_fence_log = false;      // drive.log stays as the start made it
  bool forged_checksums = false;  // bytes flip, and their checksums with them
  // The drives lie about the syncs for which this is true, from the beginning; `opening`: while the
  // store starts.
  std::function<bool(const SimSync& sync, bool opening)> lose_syncs;
  bool deadly_starts = false;  // no mutation: most starts end in the middle, several times
  bool memory = false;         // no mutation: durability memory, whatever the seed says
  bool control = false;        // nothing, but the same choices as with a mutation
  bool any() const {
    return !ignore_syncs_of.empty() || ignore_dir_syncs || blind_to_generations || no_tags ||
           no_fence_log || forged_checksums || lose_syncs != nullptr;
  }
};

// What a run has seen, to show that it looks where it means to.
struct SimCounts {
  uint64_t writes = 0;
  uint64_t writes_ok = 0;
  uint64_t replayed = 0;
  uint64_t duplicates_stale = 0;
  uint64_t reads = 0;
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t stale = 0;
  uint64_t corrupt = 0;
  uint64_t busy = 0;
  uint64_t fences = 0;
  uint64_t scrubs = 0;
  uint64_t deaths_in_open = 0;
  uint64_t flushes = 0;
  uint64_t lost_acks = 0;  // of durability memory, by crashes
};

class SimRun {
 public:
  explicit SimRun(uint64_t seed, SimMutation mutation = {});
  ~SimRun();
  std::string run();

  const SimCounts& counts() const { return counts_; }
  // What the seed drew, for the message.
  std::string profile() const;

 private:
  class Client;
  class Administrator;
  friend class Client;
  friend class Administrator;

  enum class Trouble : uint8_t { none, flips, full, hang, io_errors, missing_drive };

  void draw_profile();
  bool open();
  void live();
  void end_life();
  void watch_for_deaths();
  void arm(uint64_t changes_max);
  static void disarm(SimDrive& drive);
  void die();
  static Task<void> scrub_now(SimRun* run);
  void damage_index();
  void flip_somewhere(SimDrive& drive, SimDisk& disk, const std::string& name);
  void flip_bytes();
  void forge_bytes();
  void check_all(bool settle);
  void check_chunk(ModelFile& file, uint32_t chunk, bool settle);
  Seen look(ModelFile& file, uint32_t chunk);
  std::string who_wrote(const std::string& bytes, uint32_t block) const;
  void check_quiet();
  bool crashed();
  bool allowed(const ModelFile& file, uint32_t chunk, uint32_t block, const Status& status) const;
  bool trouble_allows(const Status& status) const;
  bool fenced(const StoreWrite& write) const;  // its generation is older than a fence of its inode
  template <class Visit>
  void each_chunk(Visit visit) {
    for (const auto& file : files_) {
      for (ModelChunk& chunk : file->chunks) visit(chunk);
    }
  }
  ModelFile& new_file();
  void lie(SimDrive& drive);
  void fail(const std::string& what);

  uint64_t seed_;
  SimMutation mutation_;
  Random random_;
  std::unique_ptr<TestStore> t_;
  std::vector<std::unique_ptr<ModelFile>> files_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Administrator> administrator_;
  std::vector<std::unique_ptr<Loop>> probe_loops_;
  std::vector<std::unique_ptr<SimDisk>> probes_;
  std::string error_;
  SimCounts counts_;

  Trouble trouble_ = Trouble::none;
  bool memory_ = false;  // the cluster's durability
  uint32_t life_ = 0;
  size_t lives_ = 0;
  size_t ops_per_life_ = 0;
  bool life_ended_ = false;  // clients start nothing more
  uint32_t idle_clients_ = 0;
  std::set<std::tuple<uint64_t, uint32_t, uint32_t>> tainted_;  // inode, chunk, block
  bool holes_tainted_ = false;
  bool descriptor_flipped_ = false;
  bool some_drive_missing_ = false;
  bool drives_met_ = false;
  bool lies_from_the_beginning_ = false;
  bool opening_ = false;
  size_t away_ = 0;                     // the drive that goes missing
  std::set<uint64_t> settled_applied_;  // of what was under way when the last life ended
  std::set<uint64_t> settled_dropped_;
  uint64_t next_id_ = 1;
  uint64_t next_inode_ = 0;
};

}  // namespace gd2fs
