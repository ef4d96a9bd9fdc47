#include "store/active.h"

#include <algorithm>

#include "base/check.h"

namespace gd2fs {

void ActiveChunks::enter(ChunkUpdate& update) {
  update.started = false;
  update.drive = ChunkUpdate::kNoDrive;
  update.turn.start();
  Chunk& chunk = chunks_[update.key];
  chunk.updates.push_back(update);
  start_ready(chunk);
}

// An update starts when nothing before it in the list, started or not, overlaps it.
void ActiveChunks::start_ready(Chunk& chunk) {
  for (ChunkUpdate* update = chunk.updates.front(); update != nullptr;
       update = chunk.updates.next(*update)) {
    if (update->started) continue;
    bool blocked = false;
    for (ChunkUpdate* before = chunk.updates.front(); before != update && !blocked;
         before = chunk.updates.next(*before)) {
      blocked =
          before->first_block < update->end_block() && update->first_block < before->end_block();
    }
    if (blocked) continue;
    update->started = true;
    loop_.complete(update->turn, Status());
  }
}

void ActiveChunks::leave(ChunkUpdate& update) {
  const auto found = chunks_.find(update.key);
  CHECK(found != chunks_.end() && update.started);
  update.unlink();
  update.started = false;
  start_ready(found->second);
  drop_if_quiet(update.key);
}

uint32_t ActiveChunks::started(const ChunkUpdate& but) {
  const auto found = chunks_.find(but.key);
  if (found == chunks_.end()) return 0;
  uint32_t count = 0;
  for (ChunkUpdate* update = found->second.updates.front(); update != nullptr;
       update = found->second.updates.next(*update)) {
    if (update->started && update != &but) ++count;
  }
  return count;
}

uint16_t ActiveChunks::drive_of(const ChunkKey& key) {
  const auto found = chunks_.find(key);
  if (found == chunks_.end()) return ChunkUpdate::kNoDrive;
  List<ChunkUpdate>& updates = found->second.updates;
  for (ChunkUpdate* update = updates.front(); update != nullptr; update = updates.next(*update)) {
    if (update->drive != ChunkUpdate::kNoDrive) return update->drive;
  }
  return ChunkUpdate::kNoDrive;
}

void ActiveChunks::drop_if_quiet(const ChunkKey& key) {
  const auto found = chunks_.find(key);
  if (found->second.updates.empty() && found->second.fills.empty()) chunks_.erase(found);
}

void ActiveChunks::add_fill(const ChunkKey& key, Fill& fill) {
  chunks_[key].fills.push_back(&fill);
}

void ActiveChunks::remove_fill(const ChunkKey& key, Fill& fill) {
  std::erase(chunks_[key].fills, &fill);
  drop_if_quiet(key);
}

const std::vector<Fill*>* ActiveChunks::fills(const ChunkKey& key) const {
  const auto found = chunks_.find(key);
  return found == chunks_.end() ? nullptr : &found->second.fills;
}

void ActiveChunks::end(InodeUpdate& update) {
  update.unlink();
  check_waiter(update.inode);
}

void ActiveChunks::wait_for_older(uint64_t inode, uint64_t generation, Completion& done) {
  done.start();
  Inode& active = inodes_[inode];
  CHECK(active.waiter == nullptr);
  active.waiter = &done;
  active.generation = generation;
  check_waiter(inode);
}

void ActiveChunks::check_waiter(uint64_t inode) {
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) return;
  Inode& active = found->second;
  bool older = false;
  for (InodeUpdate* u = active.updates.front(); u != nullptr; u = active.updates.next(*u)) {
    older = older || u->generation < active.generation;
  }
  if (active.waiter != nullptr && !older) {
    loop_.complete(*active.waiter, Status());
    active.waiter = nullptr;
  }
  if (active.waiter == nullptr && active.updates.empty()) inodes_.erase(found);
}

}  // namespace gd2fs
