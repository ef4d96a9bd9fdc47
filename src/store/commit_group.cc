#include "store/commit_group.h"

#include <algorithm>

#include "base/check.h"

namespace gd2fs {

CommitGroups::CommitGroups(Loop& loop, Drive& drive, uint64_t delay_ns)
    : loop_(loop), drive_(drive), delay_ns_(delay_ns) {
  for (Completion& done : file_synced_) done.bind<&CommitGroups::on_file_synced>(this);
  synced_done_.bind<&CommitGroups::on_synced>(this);
  tags_logged_.bind<&CommitGroups::on_tags_logged>(this);
  committed_.bind<&CommitGroups::on_committed>(this);
  drops_synced_.bind<&CommitGroups::on_drops_synced>(this);
  drops_timer_.bind<&CommitGroups::on_drops_timer>(this);
  ride_timer_.bind<&CommitGroups::on_timer>(this);
  gather_timer_.bind<&CommitGroups::on_gather_timer>(this);
  delay_timer_.bind<&CommitGroups::on_delay_timer>(this);
}

void CommitGroups::start(uint64_t index_transactions) {
  transactions = index_transactions;
  started_ = true;
  ride_due_ = true;
  kick();
}

void CommitGroups::add(Commit& commit) {
  commit.done.start();
  give_up(commit);
  if (!failed_.ok()) {
    loop_.complete(commit.done, failed_);
    return;
  }
  if (written_.empty()) gather_until_ns_ = loop_.now_ns() + kGatherNs;
  written_.push_back(commit);
  all_patient_ = all_patient_ && commit.patient && coming_.contains(commit.row.key.inode);
  if (delay_ns_ != 0 && !delay_timer_.running() && delay_over_) {
    delay_over_ = false;
    loop_.start(delay_timer_, delay_ns_);
  }
  kick();
}

void CommitGroups::on_delay_timer(Completion&) {
  delay_over_ = true;
  kick();
}

void CommitGroups::drop(Slot slot) {
  drive_.slots.dropped(slot);
  drops_.push_back(slot);
  ride_.remove_places.push_back(drive_.place_of(slot));
  ride_changed();
}

void CommitGroups::log_before_drops(const LogRecord& record) {
  tags_.push_back(record);
}

void CommitGroups::ride_changed() {
  if (failed_.ok() && !ride_timer_.running()) loop_.start(ride_timer_, kRideNs);
}

void CommitGroups::on_timer(Completion&) {
  ride_due_ = true;
  kick();
}

bool CommitGroups::idle() const {
  return !sync_running_ && !transaction_running_ && ride_.empty() && !has_drops() &&
         tags_.empty() && const_cast<CommitList&>(written_).empty() &&
         const_cast<CommitList&>(synced_).empty();
}

void CommitGroups::flush(Completion& done) {
  done.start();
  if (!failed_.ok()) {
    loop_.complete(done, failed_);
    return;
  }
  const bool nothing = ride_.empty() && drops_.empty() && tags_.empty();
  if (nothing && !transaction_running_ && !has_drops()) {
    loop_.complete(done, Status());
    return;
  }
  flushes_.push_back(
      {.done = &done, .transaction = nothing ? transactions_started_ : transactions_started_ + 1});
  ride_due_ = true;
  kick();
  sync_drops();
}

void CommitGroups::kick() {
  if (!failed_.ok() || !started_) return;
  if (!sync_running_ && !written_.empty() && delay_over_ && !gathers()) start_sync();
  const bool ride = ride_due_ && !(ride_.empty() && drops_.empty() && tags_.empty());
  if (!transaction_running_ && (!synced_.empty() || ride)) start_transaction();
}

void CommitGroups::expect(Commit& commit) {
  if (!commit.patient) return;
  commit.expected = true;
  ++coming_[commit.row.key.inode];
}

void CommitGroups::give_up(Commit& commit) {
  if (!std::exchange(commit.expected, false)) return;
  const auto coming = coming_.find(commit.row.key.inode);
  CHECK(coming != coming_.end());
  if (--coming->second == 0) coming_.erase(coming);
}

bool CommitGroups::gathers() {
  if (!all_patient_ || loop_.now_ns() >= gather_until_ns_) return false;
  if (!gather_timer_.running()) loop_.start_at(gather_timer_, gather_until_ns_);
  return true;
}

void CommitGroups::start_sync() {
  sync_running_ = true;
  loop_.cancel(gather_timer_);
  all_patient_ = true;
  std::vector<uint16_t> files;
  CommitList later;
  while (Commit* commit = written_.pop_front()) {
    const uint16_t file = commit->slot.file;
    if (std::find(files.begin(), files.end(), file) == files.end()) {
      if (files.size() == kGroupFilesMax) {
        later.push_back(*commit);
        continue;
      }
      files.push_back(file);
    }
    syncing_.push_back(*commit);
  }
  while (Commit* commit = later.pop_front()) {
    written_.push_back(*commit);
    all_patient_ = false;  // they have waited
  }
  synced_done_.start();
  syncs_.reset(synced_done_);
  syncs_.add(static_cast<uint32_t>(files.size()));
  for (size_t i = 0; i < files.size(); ++i) {
    drive_.transfer({.kind = DiskOp::Kind::sync, .file = files[i]}, file_synced_[i]);
  }
}

void CommitGroups::on_file_synced(Completion& done) {
  syncs_.done(loop_, done.status);
}

void CommitGroups::on_synced(Completion& done) {
  sync_running_ = false;
  if (!done.status.ok()) {
    answer(syncing_, done.status);
    return;
  }
  while (Commit* commit = syncing_.pop_front()) synced_.push_back(*commit);
  kick();
}

void CommitGroups::start_transaction() {
  transaction_running_ = true;
  ride_due_ = false;
  loop_.cancel(ride_timer_);
  ++transactions_started_;
  while (Commit* commit = synced_.pop_front()) committing_.push_back(*commit);
  committing_ride_ = std::move(ride_);
  ride_ = IndexBatch();
  committing_drops_ = std::move(drops_);
  drops_.clear();
  if (tags_.empty()) {
    run_transaction();
    return;
  }
  std::vector<LogRecord> tags = std::move(tags_);
  tags_.clear();
  drive_.append_log(std::move(tags), tags_logged_);
}

void CommitGroups::on_tags_logged(Completion& done) {
  if (done.status.ok()) {
    run_transaction();
  } else {
    transaction_running_ = false;
    drive_.set_aside(done.status);
    answer(committing_, done.status);
  }
}

void CommitGroups::run_transaction() {
  IndexBatch batch = committing_ride_;
  for (Commit* c = committing_.front(); c != nullptr; c = committing_.next(*c)) {
    batch.add_rows.push_back(c->row);
    if (c->tag.tag.incarnation == 0) continue;
    batch.add_tags.push_back(c->tag);
    batch.lows.push_back({.incarnation = c->tag.tag.incarnation, .low = c->client_low});
  }
  // A client's several entries: one row, its highest low.
  std::sort(batch.lows.begin(), batch.lows.end(), [](const ClientLow& a, const ClientLow& b) {
    return a.incarnation != b.incarnation ? a.incarnation < b.incarnation : a.low > b.low;
  });
  const auto same = [](const ClientLow& a, const ClientLow& b) {
    return a.incarnation == b.incarnation;
  };
  batch.lows.erase(std::unique(batch.lows.begin(), batch.lows.end(), same), batch.lows.end());
  IndexDb* const index_db = drive_.index_db.get();
  drive_.run([index_db, batch = std::move(batch)] { return index_db->apply(batch); }, committed_);
}

void CommitGroups::on_committed(Completion& done) {
  const Status status = done.status;
  transaction_running_ = false;
  if (status.ok()) {
    ++commits;
    ++transactions;
    transactions_ended_ = transactions_started_;
    for (Commit* c = committing_.front(); c != nullptr; c = committing_.next(*c)) ++entries;
    unsynced_drops_.insert(unsynced_drops_.end(), committing_drops_.begin(),
                           committing_drops_.end());
    committing_drops_.clear();
    committing_ride_ = IndexBatch();
    answer(committing_, status);
    if (unsynced_drops_.empty() && !drops_sync_running_) {
      answer_flushes(status, transactions_ended_);
    } else if (!flushes_.empty()) {
      sync_drops();
    } else if (!drops_timer_.running()) {
      loop_.start(drops_timer_, kRideNs);
    }
    kick();
    return;
  }
  if (!status.is(StatusCode::no_space)) {
    drive_.set_aside(status.with("index.db"));
    answer(committing_, status);
    return;
  }
  take_back();
  answer(committing_, status);
  answer_flushes(status, transactions_started_);
  loop_.start(ride_timer_, kRetryNs);
}

void CommitGroups::on_drops_timer(Completion&) {
  sync_drops();
}

void CommitGroups::sync_drops() {
  if (!failed_.ok() || drops_sync_running_ || unsynced_drops_.empty()) return;
  loop_.cancel(drops_timer_);
  drops_sync_running_ = true;
  drops_syncing_through_ = transactions_ended_;
  syncing_drops_ = std::move(unsynced_drops_);
  unsynced_drops_.clear();
  IndexDb* const index_db = drive_.index_db.get();
  drive_.run([index_db] { return index_db->sync(); }, drops_synced_);
}

void CommitGroups::on_drops_synced(Completion& done) {
  drops_sync_running_ = false;
  if (!done.status.ok()) {
    drive_.set_aside(done.status.with("sync index.db"));
    return;
  }
  for (const Slot slot : syncing_drops_) drive_.free_when_unread(slot);
  syncing_drops_.clear();
  const bool all = unsynced_drops_.empty();
  answer_flushes(Status(), all ? transactions_ended_ : drops_syncing_through_);
  if (all) return;
  if (!flushes_.empty()) {
    sync_drops();
  } else if (!drops_timer_.running()) {
    loop_.start(drops_timer_, kRideNs);
  }
}

// What the failed transaction carried for nobody goes with a later one.
void CommitGroups::take_back() {
  const auto put_first = [](auto& back, auto& front) {
    front.insert(front.end(), back.begin(), back.end());
    back = std::move(front);
    front.clear();
  };
  put_first(ride_.remove_places, committing_ride_.remove_places);
  put_first(ride_.remove_tags, committing_ride_.remove_tags);
  put_first(ride_.remove_fences, committing_ride_.remove_fences);
  put_first(ride_.remove_clients, committing_ride_.remove_clients);
  put_first(ride_.add_fences, committing_ride_.add_fences);
  put_first(ride_.lows, committing_ride_.lows);
  put_first(drops_, committing_drops_);
}

void CommitGroups::answer(CommitList& list, const Status& status) {
  while (Commit* commit = list.pop_front()) loop_.complete(commit->done, status);
}

// Those that wait for a transaction up to this one.
void CommitGroups::answer_flushes(const Status& status, uint64_t through) {
  std::erase_if(flushes_, [&](const FlushWait& wait) {
    if (wait.transaction > through) return false;
    loop_.complete(*wait.done, status);
    return true;
  });
}

void CommitGroups::fail_all(const Status& status) {
  failed_ = status;
  answer(written_, status);
  answer(syncing_, status);
  answer(synced_, status);
  answer(committing_, status);
  answer_flushes(status, UINT64_MAX);
  loop_.cancel(ride_timer_);
  loop_.cancel(drops_timer_);
  loop_.cancel(gather_timer_);
}

}  // namespace gd2fs
