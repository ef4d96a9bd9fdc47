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
             .low = sequence_};
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
  GD2FS_LOG_INFO("{} us: write {} of inode {} chunk {} at {} + {}, generation {}: {}{}, version {}",
                 run_.t_->world.clock().now_ns() / kUs, update_.id, file_->inode, chunk_,
                 update_.offset_bytes, update_.length_bytes, generation_, status.to_string(),
                 w.replayed ? ", replayed" : "", w.version);
  ModelChunk& model = file_->chunks[chunk_];
  if (status.ok()) {
    if (acked_ && w.version != version_) run_.fail("two copies of a request, two versions");
    if (!acked_) {
      const bool done_before = run_.settled_applied_.contains(update_.id);
      const bool lost_before = run_.settled_dropped_.contains(update_.id);
      if (retry_ && w.replayed && lost_before) run_.fail("replayed, but it is not there");
      if (retry_ && !w.replayed && done_before) run_.fail("a retried request was executed twice");
      if (copies_ == 1 && !retry_ && w.replayed) run_.fail("a new request was taken for a retry");
      if (retry_ && w.replayed) {
        model.forget(update_.id);
      } else {
        model.ack(update_);
      }
    }
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
    if (!run_.mutation_.no_tags && run_.random_.chance(1, 10)) {
      start_duplicate();
    } else {
      pause();
    }
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

// A copy that was delayed on the way arrives after the answer.
void SimRun::Client::start_duplicate() {
  life_->duplicate.key = {file_->inode, chunk_};
  life_->duplicate.chunk_log2 = file_->chunk_log2;
  life_->duplicate.offset_bytes = update_.offset_bytes;
  life_->duplicate.length_bytes = update_.length_bytes;
  life_->duplicate.generation = generation_;
  life_->duplicate.tag = life_->writes[0].tag;
  duplicate_version_ = version_;
  life_->duplicate.done.bind<&Client::on_duplicate>(this);
  run_.t_->store->reserve(life_->duplicate);
}

void SimRun::Client::on_duplicate(Completion&) {
  const Status& status = life_->duplicate.done.status;
  if (status.ok()) {
    if (!life_->duplicate.replayed || life_->duplicate.version != duplicate_version_) {
      run_.fail("a duplicate was not recognised");
      run_.t_->store->abort(life_->duplicate);
    }
  } else if (!run_.trouble_allows(status)) {
    run_.fail("duplicate: " + status.to_string());
  }
  pause();
}

// --- the administrator -----------------------------------------------------------------------

void SimRun::Administrator::begin_life() {
  life_ = std::make_unique<Life>();
  life_->timer.bind<&Administrator::next>(this);
  life_->done.bind<&Administrator::on_done>(this);
  life_->late_done.bind<&Administrator::on_late_done>(this);
  run_.t_->loop->start(life_->timer, pending_ ? 0 : run_.random_.below(10 * kMs));
}

void SimRun::Administrator::end_life() {
  life_.reset();
}

void SimRun::Administrator::next(Completion&) {
  if (run_.life_ended_ || !run_.error_.empty()) return;
  if (!pending_) draw_fence();
  send();
}

void SimRun::Administrator::draw_fence() {
  std::vector<ModelFile*> live;
  for (const auto& file : run_.files_) {
    if (!file->gone) live.push_back(file.get());
  }
  file_ = live[run_.random_.below(live.size())];
  const uint64_t chunk_bytes = uint64_t{1} << file_->chunk_log2;
  fence_ = {.inode = file_->inode,
            .generation = ++file_->fence_generation,
            .chunk_log2 = file_->chunk_log2};
  switch (run_.random_.below(5)) {
    case 0:  // a rename
      break;
    case 1:
      fence_.keep_bytes = 0;
      fence_.unlinked = true;
      break;
    case 2:
      fence_.keep_bytes =
          run_.random_.below(file_->chunks.size() * chunk_bytes / kBlockBytes) * kBlockBytes;
      break;
    default:
      fence_.keep_bytes = run_.random_.below(file_->chunks.size() * chunk_bytes);
  }
  pending_ = true;
  cut_id_ = run_.next_id_++;
}

void SimRun::Administrator::each_cut(
    const std::function<void(ModelChunk&, const ModelUpdate&)>& visit) {
  if (fence_.keep_bytes == UINT64_MAX) return;
  const uint64_t chunk_bytes = uint64_t{1} << file_->chunk_log2;
  for (size_t i = 0; i < file_->chunks.size(); ++i) {
    const uint64_t begin = i * chunk_bytes;
    if (begin + chunk_bytes <= fence_.keep_bytes) continue;
    const uint64_t keep = fence_.keep_bytes > begin ? fence_.keep_bytes - begin : 0;
    visit(file_->chunks[i], {.id = cut_id_,
                             .cut = true,
                             .offset_bytes = static_cast<uint32_t>(keep),
                             .length_bytes = static_cast<uint32_t>(chunk_bytes - keep)});
  }
}

void SimRun::Administrator::send() {
  each_cut([](ModelChunk& chunk, const ModelUpdate& cut) {
    chunk.forget(cut.id);
    chunk.begin(cut);
  });
  run_.t_->store->fence(fence_, life_->done);
}

void SimRun::Administrator::on_done(Completion& done) {
  const Status& status = done.status;
  GD2FS_LOG_INFO("{} us: fence of inode {} to generation {}, keeps {}: {}",
                 run_.t_->world.clock().now_ns() / kUs, file_->inode, fence_.generation,
                 fence_.keep_bytes, status.to_string());
  if (status.ok()) {
    each_cut([](ModelChunk& chunk, const ModelUpdate& cut) { chunk.ack(cut); });
    pending_ = false;
    file_->generation = fence_.generation;
    if (fence_.unlinked) {
      file_->gone = true;
      run_.new_file();
    }
    if (run_.random_.chance(1, 4) &&
        !life_->late_done.pending()) {  // a late copy of an older fence changes nothing
      late_ = fence_;
      late_.generation -= run_.random_.below(2);
      late_.keep_bytes = 0;
      run_.t_->store->fence(late_, life_->late_done);
    }
  } else if (!run_.trouble_allows(status) && !status.is(StatusCode::busy)) {
    run_.fail("fence: " + status.to_string());
  }
  if (!run_.life_ended_) run_.t_->loop->start(life_->timer, 1 * kMs + run_.random_.below(15 * kMs));
}

void SimRun::Administrator::on_late_done(Completion& done) {
  if (!done.status.ok() && !run_.trouble_allows(done.status)) {
    run_.fail("late fence: " + done.status.to_string());
  }
}

}  // namespace gd2fs
