// What SimRun compares: errors with what the seed's trouble explains, bytes with the model, and a
// quiet store's books with themselves.
#include <algorithm>

#include "store/sim_client.h"

namespace gd2fs {

// --- what an error may be ----------------------------------------------------------------------

bool SimRun::fenced(const StoreWrite& write) const {
  return std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
    return file->inode == write.key.inode && write.generation < file->fence_generation;
  });
}

bool SimRun::trouble_allows(const Status& status) const {
  if (status.is(StatusCode::busy)) return true;  // a small slab, and clients who hold on to pages
  switch (trouble_) {
    case Trouble::full:
      // A full drive may be set aside when its log or index finds no room.
      return status.is(StatusCode::no_space) || status.is(StatusCode::unavailable) ||
             status.is(StatusCode::busy);
    case Trouble::hang:
    case Trouble::io_errors:
    case Trouble::missing_drive:
      return status.is(StatusCode::unavailable) || status.is(StatusCode::io);
    case Trouble::flips:
    case Trouble::none:
      // Only while the power is already off and nobody knows it yet.
      return status.is(StatusCode::unavailable) && const_cast<SimRun*>(this)->crashed();
  }
  return false;
}

bool SimRun::allowed(const ModelFile& file, uint32_t chunk, uint32_t block,
                     const Status& status) const {
  if (trouble_allows(status)) return true;
  if (tainted_.contains({file.inode, chunk, block})) {
    return status.is(StatusCode::corrupt) || status.is(StatusCode::io);
  }
  if (!status.is(StatusCode::io) || !descriptor_flipped_) return false;
  // A drive that lost a descriptor and had to rebuild answers io for what no extent covers.
  const std::string& acked = file.chunks[chunk].acked();
  const auto begin = acked.begin() + static_cast<std::ptrdiff_t>(block) * kBlockBytes;
  return std::all_of(begin, begin + kBlockBytes, [](char c) { return c == 0; });
}

// --- comparing -----------------------------------------------------------------------------------

Seen SimRun::look(ModelFile& file, uint32_t chunk) {
  const uint32_t chunk_bytes = 1u << file.chunk_log2;
  Seen seen;
  StoreRead r;
  r.key = {file.inode, chunk};
  r.chunk_log2 = file.chunk_log2;
  r.length_bytes = chunk_bytes;
  r.generation = UINT64_MAX;
  r.sequential = random_.chance(1, 2);
  if (t_->read(r).ok()) {
    seen.bytes = TestStore::bytes_of(r);
    return seen;
  }
  seen.bytes.assign(chunk_bytes, '\0');
  seen.block_unknown.assign(chunk_bytes / kBlockBytes, false);
  for (uint32_t block = 0; block < chunk_bytes / kBlockBytes; ++block) {
    StoreRead one;
    one.key = r.key;
    one.chunk_log2 = file.chunk_log2;
    one.offset_bytes = block * kBlockBytes;
    one.length_bytes = kBlockBytes;
    one.generation = UINT64_MAX;
    const Status status = t_->read(one);
    if (status.ok()) {
      seen.bytes.replace(block * kBlockBytes, kBlockBytes, TestStore::bytes_of(one));
      continue;
    }
    seen.block_unknown[block] = true;
    counts_.corrupt += status.is(StatusCode::corrupt);
    if (!allowed(file, chunk, block, status)) {
      fail("after a restart inode " + std::to_string(file.inode) + " chunk " +
           std::to_string(chunk) + " block " + std::to_string(block) + ": " + status.to_string());
    }
  }
  return seen;
}

// The writes whose bytes a block begins and ends with, for a message.
std::string SimRun::who_wrote(const std::string& bytes, uint32_t block) const {
  const auto at = [&](size_t offset_bytes) -> std::string {
    const std::string here = bytes.substr(offset_bytes, 64);
    if (here == std::string(64, '\0')) return "none";
    for (uint64_t id = 1; id < next_id_; ++id) {
      std::string theirs(64, '\0');
      model_fill(id, static_cast<uint32_t>(offset_bytes), as_writable_bytes(theirs.data(), 64));
      if (here == theirs) return std::to_string(id);
    }
    return "?";
  };
  return at(block * kBlockBytes) + ".." + at((block + 1) * kBlockBytes - 64);
}

void SimRun::check_chunk(ModelFile& file, uint32_t chunk, bool settle) {
  ModelChunk& model = file.chunks[chunk];
  const Seen seen = look(file, chunk);
  if (!error_.empty() || crashed()) return;
  // From memory it is the same as from the drive.
  if (random_.chance(1, 4) && look(file, chunk).bytes != seen.bytes) {
    fail("two reads of what nobody writes differ");
  }
  ModelChunk::Settled settled;
  // What could not be read can still tell later.
  ModelChunk attempt = model;
  if (!attempt.settle(seen, &settled)) {
    std::string text = "after a restart inode " + std::to_string(file.inode) + " chunk " +
                       std::to_string(chunk) + " holds what was never there;";
    for (uint32_t block = 0; block * kBlockBytes < seen.bytes.size(); ++block) {
      text += " block " + std::to_string(block) + ": write " + who_wrote(seen.bytes, block) +
              ", not " + who_wrote(model.acked(), block) + ";";
    }
    text += " under way:" + model.under_way_text();
    fail(text);
    return;
  }
  if (!settle || !seen.block_unknown.empty()) return;
  model = attempt;
  counts_.lost_acks += settled.lost;
  settled_applied_.insert(settled.applied.begin(), settled.applied.end());
  settled_dropped_.insert(settled.dropped.begin(), settled.dropped.end());
}

void SimRun::check_all(bool settle) {
  settled_applied_.clear();
  settled_dropped_.clear();
  for (const auto& file : files_) {
    for (uint32_t chunk = 0; chunk < file->chunks.size() && error_.empty(); ++chunk) {
      check_chunk(*file, chunk, settle);
    }
  }
}

// No descriptors left to wipe, no slot taken that no extent has, no page held.
void SimRun::check_quiet() {
  if (!error_.empty() || crashed()) return;
  for (const auto& client : clients_) client->end_life();
  const StoreStats stats = t_->store->stats();
  if (stats.slots_taken != stats.extents) {
    fail("slots leak: " + std::to_string(stats.slots_taken) + " taken, " +
         std::to_string(stats.extents) + " extents");
  }
  if (stats.slots_unwiped != 0) fail("descriptors left to wipe");
  for (const uint64_t inode : t_->store->inodes()) {
    const bool gone = std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
      return file->inode == inode && file->gone;
    });
    if (gone) fail("an unlinked file still takes space: inode " + std::to_string(inode));
  }
  if (stats.pages_held != 0) fail("pages are still held: " + std::to_string(stats.pages_held));
}

}  // namespace gd2fs
