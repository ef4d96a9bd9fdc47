// What durability memory adds to a write: it shows and is answered before a drive has it.
#include "base/log.h"
#include "store/write_op.h"

namespace gd2fs {

// From here on readers see it. Not while too much is dirty: then it is answered when it is durable.
void StoreWriteState::acknowledge() {
  write_back_ = core_->write_back.begin(*page_);
  if (write_back_ == 0) return;
  core_->slab.show(*page_, update_.first_block, update_.blocks);
  StoreWrite& write = *write_;
  own_.key = write.key;
  own_.chunk_log2 = write.chunk_log2;
  own_.offset_bytes = write.offset_bytes;
  own_.length_bytes = write.length_bytes;
  own_.generation = write.generation;
  own_.tag = write.tag;
  write.version = version_;
  write.buffer = {};
  of(write) = nullptr;
  write_ = &own_;
  core_->loop.complete(write.done, Status());
}

// The index has no room. Somebody was told that this write happened, so it is not given up at once.
bool StoreWriteState::try_commit_again() {
  constexpr uint32_t kTriesMax = 50;
  constexpr uint64_t kPauseNs = 100 * kMs;
  if (write_back_ == 0 || core_->closing || ++commit_tries_ == kTriesMax) return false;
  core_->loop.start(retry_, kPauseNs);
  return true;
}

void StoreWriteState::on_retry(Completion&) {
  unit_->groups.add(commit_);
}

void StoreWriteState::end_write_back(const Status& status) {
  core_->write_back.end(write_back_, *page_, status);
  if (status.ok()) return;
  GD2FS_LOG_ERROR(
      "write-back failed: inode {} chunk {} blocks {} to {} were acknowledged and are in memory "
      "only: {}",
      write_->key.inode, write_->key.chunk, update_.first_block, update_.end_block() - 1,
      status.to_string());
}

}  // namespace gd2fs
