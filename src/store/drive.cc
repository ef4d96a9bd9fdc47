#include "store/drive.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"

namespace gd2fs {

struct Drive::Moving : ListNode<> {
  Drive* drive = nullptr;
  DiskOp op;
  Completion* then = nullptr;  // nullptr: answered before its time
  SlabPage* page = nullptr;
  std::shared_ptr<AlignedBuffer> buffer;
  std::shared_ptr<AlignedBuffer> descriptor;
  uint64_t left_bytes = UINT64_MAX;
  uint64_t started_ns = 0;
  bool is_large() const {
    return op.kind != DiskOp::Kind::sync && op.length_bytes() >= kLargeBytes;
  }
  bool tapers() const { return left_bytes != UINT64_MAX; }
  void on_done(Completion&) { drive->on_moved(*this); }
};

struct Drive::Running : ListNode<> {
  Drive* drive = nullptr;
  Job job;
  Completion* then = nullptr;
  uint64_t started_ns = 0;
  void on_done(Completion&) { drive->on_ran(*this); }
};

struct Drive::Appending {
  std::vector<LogRecord> records;
  Completion* then = nullptr;
};

Drive::Drive(Loop& loop, uint16_t index, StoreDrive parts, Slab& slab, DriveLimits limits)
    : log(*parts.disk),
      loop_(loop),
      index_(index),
      slab_(slab),
      limits_(limits),
      disk_(std::move(parts.disk)),
      worker_(std::move(parts.worker)) {
  deadline_timer_.bind<&Drive::on_deadline_timer>(this);
  log_appended_.bind<&Drive::on_log_appended>(this);
  removed_.bind<&Drive::on_file_removed>(this);
}

Drive::~Drive() {
  worker_.reset();
  index_db.reset();
  // It waits for what the kernel, or threads of its own, still move: into memory that goes below.
  disk_.reset();
  while (Moving* moving = moving_.pop_front()) delete moving;
  for (List<Moving>* list : {&queued_, &queued_large_}) {
    while (Moving* moving = list->pop_front()) delete moving;
  }
  // A job that a thread has run and whose end was not delivered is still known to the loop's mail:
  // it is left to it.
  while (Running* running = running_.pop_front()) {
    if (running->job.done.linked()) delete running;
  }
}

Status Drive::refused() const {
  return set_aside_.ok() ? Status(StatusCode::unavailable, path() + " is not open") : set_aside_;
}

void Drive::set_aside(const Status& why) {
  if (!set_aside_.ok()) return;
  set_aside_ = Status(StatusCode::unavailable, path() + " is set aside: " + why.to_string());
  serving_ = false;
  GD2FS_LOG_ERROR("drive {} is set aside: {}", path(), why.to_string());
  const auto answer = [&](Completion*& then) {
    if (then != nullptr) loop_.complete(*then, set_aside_);
    then = nullptr;
  };
  for (Moving* m = moving_.front(); m != nullptr; m = moving_.next(*m)) answer(m->then);
  for (List<Moving>* list : {&queued_, &queued_large_}) {
    while (Moving* m = list->pop_front()) {
      answer(m->then);
      if (m->page != nullptr) slab_.unhold(*m->page);
      delete m;
    }
  }
  queued_large_bytes_ = 0;
  for (Running* r = running_.front(); r != nullptr; r = running_.next(*r)) answer(r->then);
  for (Appending& a : append_queue_) answer(a.then);
  append_queue_.clear();
  if (on_set_aside_) on_set_aside_(set_aside_);
}

void Drive::transfer(const Transfer& what, Completion& then) {
  then.start();
  if (!serving_ || files_[what.file] == nullptr) {
    loop_.complete(then, serving_ ? Status(StatusCode::io, "data file is lost") : refused());
    return;
  }
  auto* const moving = new Moving();
  moving->drive = this;
  moving->op.kind = what.kind;
  moving->op.file = files_[what.file].get();
  moving->op.offset_bytes = what.offset_bytes;
  std::copy_n(what.iov, what.iov_count, moving->op.iov);
  moving->op.iov_count = what.iov_count;
  moving->op.done.bind<&Moving::on_done>(moving);
  moving->then = &then;
  moving->page = what.page;
  if (moving->page != nullptr) slab_.hold(*moving->page);
  moving->buffer = what.buffer;
  moving->descriptor = what.descriptor;
  moving->left_bytes = what.left_bytes;
  if (moving->is_large()) queued_large_bytes_ += moving->op.length_bytes();
  (moving->is_large() ? queued_large_ : queued_).push_back(*moving);
  submit_next();
}

Drive::Moving* Drive::next_to_submit() {
  if (Moving* const moving = queued_.pop_front()) return moving;
  Moving* const moving = queued_large_.front();
  if (moving == nullptr) return nullptr;
  const bool is_write = moving->op.kind == DiskOp::Kind::write;
  const uint64_t windows = is_write ? DriveLimits::kWriteWindows : 1;
  if (large_bytes_ / windows >= limits_.window_bytes || leaves_for_later(*moving)) return nullptr;
  queued_large_.pop_front();
  queued_large_bytes_ -= moving->op.length_bytes();
  large_bytes_ += moving->op.length_bytes();
  if (moving->tapers()) tapering_bytes_ += moving->op.length_bytes();
  return moving;
}

bool Drive::leaves_for_later(const Moving& moving) const {
  if (tapering_bytes_ == 0 || !moving.tapers()) return false;
  const uint64_t length_bytes = moving.op.length_bytes();
  const uint64_t to_come = std::max(length_bytes + moving.left_bytes, queued_large_bytes_);
  const uint64_t half = tapering_bytes_ / 2 + to_come / 2;
  return half < limits_.window_bytes && tapering_bytes_ + length_bytes > half;
}

void Drive::submit_next() {
  while (transfers_in_flight_ < kTransfersMax) {
    Moving* const moving = next_to_submit();
    if (moving == nullptr) return;
    moving->started_ns = loop_.now_ns();
    moving_.push_back(*moving);
    ++transfers_in_flight_;
    watch_deadline();
    disk_->submit(moving->op);
  }
}

void Drive::on_moved(Moving& moving) {
  const DiskOp& op = moving.op;
  Status status = op.done.status;
  const uint64_t length_bytes = op.length_bytes();
  if (status.ok() && op.kind == DiskOp::Kind::read && op.done.value < length_bytes) {
    status = Status(StatusCode::io, op.file->name() + ": short read");
  }
  if (status.ok()) {
    if (op.kind == DiskOp::Kind::read) counters.read_bytes += length_bytes;
    if (op.kind == DiskOp::Kind::write) counters.write_bytes += length_bytes;
  }
  moving.unlink();
  if (moving.is_large()) large_bytes_ -= length_bytes;
  if (moving.is_large() && moving.tapers()) tapering_bytes_ -= length_bytes;
  --transfers_in_flight_;
  if (moving.then != nullptr) loop_.complete(*moving.then, status, op.done.value);
  if (moving.page != nullptr) slab_.unhold(*moving.page);
  const bool lost_write = !status.ok() && op.kind != DiskOp::Kind::read;
  if (lost_write) set_aside(status.with(op.file->name()));
  delete &moving;
  submit_next();
}

void Drive::run(std::move_only_function<Status()> work, Completion& then) {
  then.start();
  if (!set_aside_.ok() || jobs_in_flight_ >= kJobsMax) {
    loop_.complete(
        then, set_aside_.ok() ? Status(StatusCode::busy, "drive: jobs_max reached") : set_aside_);
    return;
  }
  auto* const running = new Running();
  running->drive = this;
  running->then = &then;
  running->job.run = std::move(work);
  running->job.done.bind<&Running::on_done>(running);
  running->started_ns = loop_.now_ns();
  running_.push_back(*running);
  ++jobs_in_flight_;
  watch_deadline();
  worker_->submit(loop_, running->job);
}

void Drive::on_ran(Running& running) {
  running.unlink();
  --jobs_in_flight_;
  if (running.then != nullptr) loop_.complete(*running.then, running.job.done.status);
  delete &running;
}

void Drive::watch_deadline() {
  if (!deadline_timer_.running()) loop_.start(deadline_timer_, limits_.deadline_ns / 4 + 1);
}

void Drive::on_deadline_timer(Completion&) {
  uint64_t oldest_ns = UINT64_MAX;
  if (Moving* const moving = moving_.front()) oldest_ns = moving->started_ns;
  // While it opens, a drive may take its time: a big index is long to load.
  Running* const running = serving_ ? running_.front() : nullptr;
  if (running != nullptr) oldest_ns = std::min(oldest_ns, running->started_ns);
  if (oldest_ns == UINT64_MAX) {
    if (!running_.empty()) watch_deadline();
    return;
  }
  if (loop_.now_ns() - oldest_ns > limits_.deadline_ns) {
    set_aside(Status(StatusCode::timed_out, "no answer within the deadline"));
    return;
  }
  watch_deadline();
}

void Drive::append_log(std::vector<LogRecord> records, Completion& then) {
  then.start();
  if (!serving_) {
    loop_.complete(then, refused());
    return;
  }
  append_queue_.push_back({.records = std::move(records), .then = &then});
  if (appending_.empty()) start_append();
}

void Drive::start_append() {
  appending_ = std::move(append_queue_);
  append_queue_.clear();
  std::vector<LogRecord> all;
  for (const Appending& a : appending_) all.insert(all.end(), a.records.begin(), a.records.end());
  run([this, all = std::move(all)] { return log.append(all); }, log_appended_);
}

void Drive::on_log_appended(Completion& done) {
  const Status status = done.status;
  std::vector<Appending> finished = std::move(appending_);
  appending_.clear();
  for (const Appending& a : finished) loop_.complete(*a.then, status);
  if (!status.ok()) {
    set_aside(status.with("drive.log"));
    return;
  }
  if (!append_queue_.empty()) start_append();
}

void Drive::rewrite_log(const std::function<std::vector<LogRecord>()>& content, Completion& then) {
  const bool making = std::any_of(std::begin(making_), std::end(making_),
                                  [](const auto& m) { return m != nullptr; });
  if (!serving_ || making || remove_then_ != nullptr || !appending_.empty()) {
    then.start();
    loop_.complete(then, serving_ ? Status(StatusCode::busy, "the log is in use") : refused());
    return;
  }
  // Appends that come from now on are queued behind it on the worker.
  run([this, records = content()] { return log.rewrite(records); }, then);
}

int64_t Drive::place_of(Slot slot) const {
  const SlotMap::File& file = slots.file(slot.file);
  return make_place(file.slot_class, file.number, slot.slot);
}

std::string Drive::describe(Slot slot) const {
  const SlotMap::File& file = slots.file(slot.file);
  return data_file_name(file.slot_class, file.number) + " slot " + std::to_string(slot.slot);
}

void Drive::unhold(Slot slot) {
  const auto found = readers_.find(slot);
  CHECK(found != readers_.end());
  if (--found->second != 0) return;
  readers_.erase(found);
  if (free_later_.erase(slot) != 0) slots.free(slot);
}

void Drive::free_when_unread(Slot slot) {
  if (readers_.contains(slot)) {
    free_later_.insert(slot);
  } else {
    slots.free(slot);
  }
}

// A rebuild reads what there is; what is not there it cannot know, but for the log's list.
void Drive::forget_lost_files() {
  for (const auto& [slot_class, number] : lost_files) {
    const std::optional<uint16_t> position = slots.find_file(slot_class, number);
    slots.free_all();
    slots.retire_file(*position);
    slots.remove_file(*position);
  }
  lost_files.clear();
}

uint16_t Drive::add_open_file(uint8_t slot_class, uint32_t number, uint32_t slot_count,
                              std::unique_ptr<DiskFile> file) {
  const std::optional<uint16_t> position = slots.add_file(slot_class, number, slot_count);
  CHECK(position.has_value());
  if (files_.size() <= *position) files_.resize(*position + 1);
  files_[*position] = std::move(file);
  return *position;
}

}  // namespace gd2fs
