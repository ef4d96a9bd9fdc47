#include "base/log.h"
#include "store/sim_client.h"

namespace gd2fs {

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
  run_.counts_.fences += status.ok();
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
