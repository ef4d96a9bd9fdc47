#include "meta/sqlite_engine.h"

#include <algorithm>

namespace gd2fs {

namespace {

// Revisions grow across restarts without being written with every commit: the high bits count how
// often the file was opened.
constexpr int kOpensShift = 40;

}  // namespace

Task<Result<std::unique_ptr<SqliteMetaStore>>> SqliteMetaStore::open(Loop& loop, Disk& disk,
                                                                     Worker& worker,
                                                                     SqliteMetaOptions options) {
  auto file = std::make_unique<MetaFile>(disk, options.file);
  MetaFile* opening = file.get();
  Status status = co_await OnWorker(loop, worker, [opening] { return opening->open(); });
  if (!status.ok()) co_return fail(status);
  co_return std::unique_ptr<SqliteMetaStore>(
      new SqliteMetaStore(loop, worker, std::move(file), options.cache_bytes));
}

SqliteMetaStore::SqliteMetaStore(Loop& loop, Worker& worker, std::unique_ptr<MetaFile> file,
                                 size_t cache_bytes)
    : OptimisticStore(loop, file->opens() << kOpensShift),
      worker_(worker),
      file_(std::move(file)),
      cache_(cache_bytes) {
  gather_.bind<&SqliteMetaStore::on_gather>(this);
  read_job_.done.bind<&SqliteMetaStore::on_read>(this);
  read_job_.run = [this] {
    for (WaitingRead& waiting : trip_) waiting.status = file_->read(*waiting.read);
    return Status();
  };
  write_job_.done.bind<&SqliteMetaStore::on_write>(this);
  write_job_.run = [this] { return file_->write(writes_); };
}

Task<Status> SqliteMetaStore::close() {
  co_await drain();
  MetaFile* closing = file_.get();
  Status status = co_await OnWorker(loop(), worker_, [closing] { return closing->close(); });
  co_return status;
}

bool SqliteMetaStore::read_now(MetaRead& read) {
  if (read.limit > 0) return false;
  read.values.clear();
  for (const std::string& key : read.keys) {
    const std::optional<std::string>* value = cache_.find(key);
    if (value == nullptr) return false;
    read.values.push_back(*value);
  }
  read.revision = revision();
  return true;
}

void SqliteMetaStore::read(MetaRead& read, Completion& done) {
  done.start();
  waiting_.push_back({&read, &done, Status()});
  if (!reading_ && !gather_.pending()) loop().complete(gather_, Status());
}

void SqliteMetaStore::on_gather(Completion&) {
  if (!reading_) start_trip();
}

void SqliteMetaStore::start_trip() {
  const size_t reads = std::min(waiting_.size(), kReadsPerTripMax);
  trip_.assign(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(reads));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(reads));
  reading_ = true;
  worker_.submit(loop(), read_job_);
}

// The worker keeps the order of its jobs: every commit that ran before this trip has been counted
// in revision(), and none that ran after it.
void SqliteMetaStore::on_read(Completion& done) {
  reading_ = false;
  for (WaitingRead& waiting : trip_) {
    const Status& status = done.status.ok() ? waiting.status : done.status;
    MetaRead& read = *waiting.read;
    read.revision = revision();
    if (status.ok() && read.limit == 0) {
      for (size_t i = 0; i < read.keys.size(); ++i) cache_.put(read.keys[i], read.values[i]);
    }
    loop().complete(*waiting.done, status);
  }
  trip_.clear();
  if (!waiting_.empty()) start_trip();
}

void SqliteMetaStore::write(std::span<const MetaWrite> writes) {
  writes_ = writes;
  worker_.submit(loop(), write_job_);
}

void SqliteMetaStore::written(std::span<const MetaWrite> writes) {
  for (const MetaWrite& write : writes) cache_.put(write.key, write.value);
}

}  // namespace gd2fs
