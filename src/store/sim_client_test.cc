#include "store/sim_client.h"

#include "base/log.h"

namespace gd2fs {

SimRun::Client::Client(SimRun& run, uint64_t incarnation) : run_(run), incarnation_(incarnation) {}

void SimRun::Client::begin_life() {
  life_ = std::make_unique<Life>();
  life_->timer.bind<&Client::next>(this);
  if (unresolved_ && run_.random_.chance(1, 2)) {
    retry_ = true;
    copies_ = 1;
    run_.t_->loop->start(life_->timer, run_.random_.below(2 * kMs));
    return;
  }
  unresolved_ = false;
  pause();
}

void SimRun::Client::end_life() {
  if (life_ == nullptr) return;
  // A request on its way stays unanswered.
  if (life_->writes[0].done.pending() || life_->writes[1].done.pending()) unresolved_ = true;
  release_held();
  life_.reset();
}

void SimRun::Client::pause() {
  if (run_.life_ended_ || !run_.error_.empty()) {
    ++run_.idle_clients_;
    return;
  }
  const uint64_t delay_ns = run_.random_.chance(1, 4) ? 0 : run_.random_.below(2 * kMs);
  run_.t_->loop->start(life_->timer, delay_ns);
}

void SimRun::Client::next(Completion&) {
  if (retry_) {
    send_write();
    return;
  }
  if (run_.random_.chance(1, 30)) run_.t_->store->evict(UINT64_MAX);
  if (run_.memory_ && run_.random_.chance(1, 8)) {
    start_flush();
    return;
  }
  if (!done_.empty() && !run_.mutation_.no_tags && run_.random_.chance(1, 12)) {
    start_duplicate();
    return;
  }
  if (run_.random_.chance(2, 5)) {
    start_read();
  } else {
    start_write();
  }
}

ModelFile& SimRun::Client::pick_file() {
  return *run_.files_[run_.random_.below(run_.files_.size())];
}

// Now and then an old layout.
uint64_t SimRun::Client::pick_generation(const ModelFile& file) {
  if (run_.mutation_.blind_to_generations) return UINT64_MAX;
  if (file.gone) return file.generation - 1;  // nobody is told the last one
  return run_.random_.chance(1, 20) && file.generation > 1 ? file.generation - 1 : file.generation;
}

void SimRun::Client::count(const Status& status) {
  run_.counts_.stale += status.is(StatusCode::stale);
  run_.counts_.corrupt += status.is(StatusCode::corrupt);
  run_.counts_.busy += status.is(StatusCode::busy);
}

// --- reads -----------------------------------------------------------------------------------

void SimRun::Client::start_read() {
  release_held();
  ModelFile& file = pick_file();
  const uint32_t chunk_bytes = 1u << file.chunk_log2;
  read_file_ = &file;
  life_->read.key = {file.inode, static_cast<uint32_t>(run_.random_.below(file.chunks.size()))};
  life_->read.chunk_log2 = file.chunk_log2;
  life_->read.offset_bytes = static_cast<uint32_t>(run_.random_.below(chunk_bytes));
  const uint32_t rest = chunk_bytes - life_->read.offset_bytes;
  life_->read.length_bytes = static_cast<uint32_t>(
      run_.random_.chance(1, 2) ? 1 + run_.random_.below(std::min(rest, 9000u))
                                : 1 + run_.random_.below(rest));
  life_->read.sequential = run_.random_.chance(1, 2);
  life_->read.ahead_bytes =
      life_->read.sequential && life_->read.length_bytes < 9000 ? 8 * kMiB : 0;
  life_->read.left_bytes = run_.random_.chance(1, 2) ? run_.random_.below(kMiB) : UINT64_MAX;
  life_->read.fill_bytes_max =
      run_.random_.chance(1, 2) ? kBlockBytes << run_.random_.below(3) : kFillMaxBytes;
  life_->read.generation = pick_generation(file);
  ModelChunk& model = file.chunks[life_->read.key.chunk];
  read_before_ = model.acked().substr(life_->read.offset_bytes, life_->read.length_bytes);
  read_acks_before_ = model.acks();
  read_recorded_generation_ = file.generation;
  life_->read.done.bind<&Client::on_read>(this);
  run_.t_->store->read(life_->read);
}

void SimRun::Client::on_read(Completion&) {
  check_read();
  pause();
}

void SimRun::Client::check_read() {
  const Status& status = life_->read.done.status;
  ModelFile& file = *read_file_;
  const bool old = life_->read.generation < read_recorded_generation_;
  const std::string what = "read of inode " + std::to_string(file.inode) + " chunk " +
                           std::to_string(life_->read.key.chunk) + " at " +
                           std::to_string(life_->read.offset_bytes) + " + " +
                           std::to_string(life_->read.length_bytes);
  count(status);
  ++run_.counts_.reads;
  if (status.ok()) ++(life_->read.hit ? run_.counts_.hits : run_.counts_.misses);
  if (status.ok()) {
    if (old && !run_.mutation_.blind_to_generations) run_.fail(what + " with an old generation");
    held_ = TestStore::bytes_of(life_->read);
    const Seen seen{.offset_bytes = life_->read.offset_bytes, .bytes = held_};
    if (!file.chunks[life_->read.key.chunk].may_answer(seen, read_before_, read_acks_before_)) {
      run_.fail(what + ": wrong bytes");
    }
    if (run_.random_.chance(3, 4)) release_held();
    return;
  }
  if (status.is(StatusCode::stale)) {
    if (!stale_is_right(file, life_->read.generation)) run_.fail(what + " is stale without reason");
    return;
  }
  const uint32_t last = (life_->read.offset_bytes + life_->read.length_bytes - 1) / kBlockBytes;
  bool allowed = false;
  for (uint32_t block = life_->read.offset_bytes / kBlockBytes; block <= last; ++block) {
    allowed = allowed || run_.allowed(file, life_->read.key.chunk, block, status);
  }
  if (!allowed) run_.fail(what + ": " + status.to_string());
}

// Whatever happened to the chunk meanwhile, the slices still hold what they held.
void SimRun::Client::release_held() {
  if (!held_.empty() && TestStore::bytes_of(life_->read) != held_) {
    run_.fail("the bytes of a held read changed");
  }
  held_.clear();
  life_->read.release();
}

// --- writes ----------------------------------------------------------------------------------

void SimRun::Client::start_write() {
  Random& random = run_.random_;
  file_ = &pick_file();
  const uint32_t chunk_bytes = 1u << file_->chunk_log2;
  chunk_ = static_cast<uint32_t>(random.below(file_->chunks.size()));
  update_ = {.id = run_.next_id_++};
  switch (random.below(4)) {
    case 0:  // small, anywhere
      update_.offset_bytes = static_cast<uint32_t>(random.below(chunk_bytes - 5000));
      update_.length_bytes = static_cast<uint32_t>(1 + random.below(5000));
      break;
    case 1: {  // whole blocks
      const uint32_t blocks = chunk_bytes / kBlockBytes;
      const auto first = static_cast<uint32_t>(random.below(blocks));
      update_.offset_bytes = first * kBlockBytes;
      update_.length_bytes = static_cast<uint32_t>(1 + random.below(blocks - first)) * kBlockBytes;
      break;
    }
    case 2:  // the whole chunk
      update_.offset_bytes = 0;
      update_.length_bytes = chunk_bytes;
      break;
    default:  // any
      update_.offset_bytes = static_cast<uint32_t>(random.below(chunk_bytes));
      update_.length_bytes =
          static_cast<uint32_t>(1 + random.below(chunk_bytes - update_.offset_bytes));
  }
  ++sequence_;
  // The window: what a client may still ask about.
  const uint64_t width = random.below(6);
  low_ = std::max(low_, sequence_ > width ? sequence_ - width : 1);
  generation_ = pick_generation(*file_);
  copies_ = !run_.mutation_.no_tags && random.chance(1, 15) ? 2 : 1;
  send_write();
}

void SimRun::Client::send_write() {
  acked_ = outcome_unknown_ = false;
  copies_left_ = copies_;
  // Sent in an earlier life, and nobody has seen yet what came of it: no answer of now tells.
  outcome_unknown_before_ = file_->chunks[chunk_].is_under_way(update_.id);
  file_->chunks[chunk_].begin(update_);
  for (int copy = 0; copy < copies_; ++copy) {
    StoreWrite& w = life_->writes[copy];
    w.key = {file_->inode, chunk_};
    w.chunk_log2 = file_->chunk_log2;
    w.offset_bytes = update_.offset_bytes;
    w.length_bytes = update_.length_bytes;
    w.generation = generation_;
    w.tag = {.incarnation = run_.mutation_.no_tags ? 0 : incarnation_,
             .sequence = sequence_,
             .low = low_};
    w.ack_from_memory = run_.memory_ && update_.id % 4 != 0;
    if (copy == 0) {
      w.done.bind<&Client::on_reserved_0>(this);
    } else {
      w.done.bind<&Client::on_reserved_1>(this);
    }
    run_.t_->store->reserve(w);
  }
}

void SimRun::Client::on_reserved(int copy) {
  StoreWrite& w = life_->writes[copy];
  if (!w.done.status.ok() || w.replayed) {
    on_committed(copy);
    return;
  }
  if (w.buffer.size() != w.length_bytes) {
    run_.fail("a reserved buffer of the wrong size");
    return;
  }
  if (copies_ == 1 && !retry_ && run_.random_.chance(1, 25)) {
    run_.t_->store->abort(w);
    file_->chunks[chunk_].forget(update_.id);
    pause();
    return;
  }
  model_fill(update_.id, update_.offset_bytes, w.buffer);
  if (copy == 0) {
    w.done.bind<&Client::on_committed_0>(this);
  } else {
    w.done.bind<&Client::on_committed_1>(this);
  }
  outcome_unknown_ = true;  // until it is answered
  run_.t_->store->commit(w);
}

void SimRun::Client::on_committed(int copy) {
  const StoreWrite& w = life_->writes[copy];
  const Status& status = w.done.status;
  GD2FS_LOG_INFO(
      "{} us: write {} ({}/{} low {}) of inode {} chunk {} at {} + {}, generation {}: {}{}, "
      "version {}",
      run_.t_->world.clock().now_ns() / kUs, update_.id, incarnation_, sequence_, w.tag.low,
      file_->inode, chunk_, update_.offset_bytes, update_.length_bytes, generation_,
      status.to_string(), w.replayed ? ", replayed" : "", w.version);
  ModelChunk& model = file_->chunks[chunk_];
  count(status);
  ++run_.counts_.writes;
  run_.counts_.writes_ok += status.ok();
  run_.counts_.replayed += status.ok() && w.replayed;
  if (status.ok()) {
    if (acked_ && w.version != version_) run_.fail("two copies of a request, two versions");
    if (!acked_) {
      const bool done_before = run_.settled_applied_.contains(update_.id);
      const bool lost_before = run_.settled_dropped_.contains(update_.id);
      if (retry_ && w.replayed && lost_before) run_.fail("replayed, but it is not there");
      if (retry_ && !w.replayed && done_before) run_.fail("a retried request was executed twice");
      if (copies_ == 1 && !retry_ && w.replayed) run_.fail("a new request was taken for a retry");
      if (retry_ && w.replayed) {
        // It is in what was seen when the life began, unless nobody could look.
        if (!outcome_unknown_before_) model.forget(update_.id);
      } else {
        ModelUpdate acked = update_;
        acked.unflushed = w.ack_from_memory;
        model.ack(acked);
      }
    }
    if (!acked_) remember(w);
    acked_ = true;
    version_ = w.version;
  } else if (status.is(StatusCode::stale)) {
    if (!stale_is_right(*file_, generation_)) run_.fail("a write is stale without reason");
  } else {
    bool allowed = run_.trouble_allows(status);
    const uint32_t last = (update_.offset_bytes + update_.length_bytes - 1) / kBlockBytes;
    allowed = allowed || run_.allowed(*file_, chunk_, update_.offset_bytes / kBlockBytes, status) ||
              run_.allowed(*file_, chunk_, last, status);
    if (!allowed) run_.fail("write: " + status.to_string());
  }
  if (--copies_left_ == 0) on_written();
}

void SimRun::Client::on_written() {
  const Status& status = life_->writes[0].done.status;
  retry_ = false;
  if (acked_) {
    unresolved_ = false;
    pause();
    return;
  }
  const bool not_executed = status.is(StatusCode::stale) || status.is(StatusCode::no_space) ||
                            status.is(StatusCode::busy) || status.is(StatusCode::corrupt) ||
                            status.is(StatusCode::invalid) || !outcome_unknown_;
  if (not_executed) {
    unresolved_ = false;
    if (!outcome_unknown_before_) file_->chunks[chunk_].forget(update_.id);
    pause();
    return;
  }
  // It may have happened. Only the next life will tell.
  unresolved_ = true;
  run_.life_ended_ = true;
  ++run_.idle_clients_;
}

void SimRun::Client::remember(const StoreWrite& w) {
  low_executed_ = std::max(low_executed_, w.tag.low);
  done_.push_back({.key = w.key,
                   .chunk_log2 = w.chunk_log2,
                   .offset_bytes = w.offset_bytes,
                   .length_bytes = w.length_bytes,
                   .generation = w.generation,
                   .tag = w.tag,
                   .version = w.version,
                   .life = run_.life_});
  if (done_.size() > kDoneKept) done_.pop_front();
}

// --- flushes ---------------------------------------------------------------------------------

void SimRun::Client::start_flush() {
  flush_covers_.clear();
  run_.each_chunk([&](ModelChunk& chunk) { flush_covers_.emplace_back(&chunk, chunk.acks()); });
  life_->flushed.bind<&Client::on_flushed>(this);
  run_.t_->store->flush(life_->flushed);
}

void SimRun::Client::on_flushed(Completion&) {
  const Status& status = life_->flushed.status;
  ++run_.counts_.flushes;
  if (status.ok()) {
    for (const auto& [chunk, acks] : flush_covers_) chunk->flushed(acks);
  } else if (!run_.trouble_allows(status) && run_.trouble_ != Trouble::full && !run_.crashed()) {
    run_.fail("flush: " + status.to_string());
  }
  pause();
}

// --- duplicates ------------------------------------------------------------------------------

// A copy that was delayed on the way arrives after the answer, perhaps lives later.
void SimRun::Client::start_duplicate() {
  const Done& done = done_[run_.random_.below(done_.size())];
  StoreWrite& w = life_->duplicate;
  w.key = done.key;
  w.chunk_log2 = done.chunk_log2;
  w.offset_bytes = done.offset_bytes;
  w.length_bytes = done.length_bytes;
  w.generation = done.generation;
  w.tag = done.tag;
  duplicate_version_ = done.version;
  duplicate_may_be_lost_ = run_.memory_ && done.life != run_.life_;
  w.done.bind<&Client::on_duplicate>(this);
  run_.t_->store->reserve(w);
}

void SimRun::Client::on_duplicate(Completion&) {
  const Status& status = life_->duplicate.done.status;
  const uint64_t sequence = life_->duplicate.tag.sequence;
  GD2FS_LOG_INFO("{} us: duplicate {}/{} of inode {} chunk {}, version {}, low {}: {}",
                 run_.t_->world.clock().now_ns() / kUs, incarnation_, sequence,
                 life_->duplicate.key.inode, life_->duplicate.key.chunk, duplicate_version_, low_,
                 status.to_string());
  if (status.ok() && !life_->duplicate.replayed && duplicate_may_be_lost_) {
    run_.t_->store->abort(life_->duplicate);
    ++run_.counts_.lost_acks;
  } else if (status.ok()) {
    // What a crash took from memory may have been sent and executed once more.
    const bool same = life_->duplicate.version == duplicate_version_ || duplicate_may_be_lost_;
    if (!life_->duplicate.replayed || !same) {
      run_.fail("a duplicate was not recognised");
      run_.t_->store->abort(life_->duplicate);
    }
    // A drive that is away may have taken the low along; from memory it counts when it is durable.
    if (sequence < low_executed_ && !run_.some_drive_missing_ && !run_.memory_) {
      run_.fail("a duplicate from below the window was answered");
    }
    ++run_.counts_.replayed;
  } else if (status.is(StatusCode::stale)) {
    // Below what was ever sent as low it may be; with a drive away nobody knows of the tag. Nor
    // does anybody of what a crash took from memory: then a fence is in its way as in any late
    // write's.
    const bool lost = duplicate_may_be_lost_ && run_.fenced(life_->duplicate);
    if (lost) ++run_.counts_.lost_acks;
    if (sequence >= low_ && !run_.some_drive_missing_ && !lost) {
      run_.fail("a duplicate within the window is stale");
    }
    ++run_.counts_.duplicates_stale;
  } else if (!run_.trouble_allows(status)) {
    run_.fail("duplicate: " + status.to_string());
  }
  pause();
}

}  // namespace gd2fs
