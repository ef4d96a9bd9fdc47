// SqliteMetaStore: the embedded MetaStore: one SQLite database on a Disk, all of it on one Worker.
//
// Reads are answered from a bounded cache of values where they can be; the others of one turn of
// the loop go to the worker together. One commit is in progress at a time; what commits meanwhile
// goes into the next one (OptimisticStore). Reads and commits share the worker, so an answer to a
// read is the state after all commits answered before it.
//
// Thread rule: the loop given at open; the disk's blocking calls run on the worker. close() before
// destroying it; a store that is only destroyed (a crash) is checked when it is opened next. The
// worker ends, or runs no more jobs, before the store is destroyed.
#pragma once

#include <memory>
#include <vector>

#include "disk/disk.h"
#include "loop/worker.h"
#include "meta/meta_file.h"
#include "meta/optimistic_store.h"
#include "meta/value_cache.h"

namespace gd2fs {

struct SqliteMetaOptions {
  MetaFileOptions file;
  size_t cache_bytes = 32 << 20;  // of values, beside SQLite's page cache
};

class SqliteMetaStore final : public OptimisticStore {
 public:
  static constexpr size_t kReadsPerTripMax = 256;

  // Fails as MetaFile::open() does. The disk and the worker outlive the store.
  static Task<Result<std::unique_ptr<SqliteMetaStore>>> open(Loop& loop, Disk& disk, Worker& worker,
                                                             SqliteMetaOptions options);
  Task<Status> close() override;
  uint64_t deployment_id() const { return file_->deployment_id(); }

 protected:
  bool read_now(MetaRead& read) override;
  void read(MetaRead& read, Completion& done) override;
  void write(std::span<const MetaWrite> writes) override;
  void written(std::span<const MetaWrite> writes) override;
  void outcome_unknown() override { cache_.clear(); }

 private:
  struct WaitingRead {
    MetaRead* read = nullptr;
    Completion* done = nullptr;
    Status status;
  };
  SqliteMetaStore(Loop& loop, Worker& worker, std::unique_ptr<MetaFile> file, size_t cache_bytes);
  void on_gather(Completion& done);
  void on_read(Completion& done);
  void on_write(Completion& done) { write_ended(done.status); }
  void start_trip();

  Worker& worker_;
  std::unique_ptr<MetaFile> file_;
  ValueCache cache_;
  std::vector<WaitingRead> waiting_;
  std::vector<WaitingRead> trip_;  // with the worker
  Completion gather_;
  Job read_job_;
  bool reading_ = false;
  Job write_job_;
  std::span<const MetaWrite> writes_;
};

}  // namespace gd2fs
