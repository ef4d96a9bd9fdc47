// A write whose page is whole: onto its drive, into the index, and into the slab.
#include "base/crc32c.h"
#include "store/write_op.h"

namespace gd2fs {

void StoreWriteState::write_slot() {
  const StoreWrite& w = *write_;
  const SlotMap::File& file = unit_->drive.slots.file(slot_.file);
  SlotDescriptor d;
  d.key = w.key;
  d.chunk_log2 = w.chunk_log2;
  d.first_block = static_cast<uint16_t>(update_.first_block);
  d.blocks = static_cast<uint16_t>(update_.blocks);
  d.version = version_;
  d.generation = w.generation;
  d.group = w.group;
  d.epoch = w.epoch;
  d.tag = w.tag;
  d.settled_version = core_->versions.settled();
  d.drive_tag = unit_->drive.uuid.tag();
  d.slot_class = file.slot_class;
  d.file_number = file.number;
  d.slot = slot_.slot;
  d.block_crcs.reserve(update_.blocks);
  for (uint32_t block = update_.first_block; block < update_.end_block(); ++block) {
    const uint32_t crc = w.block_crcs.empty() ? crc32c(ConstBytes(page_->block(block), kBlockBytes))
                                              : w.block_crcs[block - update_.first_block];
    page_->set_crc(block, crc);
    d.block_crcs.push_back(crc);
  }
  const std::shared_ptr<AlignedBuffer> buffer =
      core_->buffer(class_descriptor_bytes(file.slot_class));
  encode_descriptor(d, buffer->bytes());

  commit_.slot = slot_;
  commit_.row = index_row(unit_->drive.place_of(slot_), d);
  commit_.tag = {.tag = w.tag, .key = w.key, .version = version_};
  commit_.client_low = w.tag.low;
  commit_.patient = uint64_t{update_.blocks} * kBlockBytes >= core_->options.patient_bytes;
  // Set aside while edges were read: what it refuses is not acknowledged.
  if (w.ack_from_memory && unit_->drive.serving()) acknowledge();

  Transfer transfer;
  transfer.kind = DiskOp::Kind::write;
  transfer.file = slot_.file;
  transfer.offset_bytes = unit_->drive.offset_of(slot_);
  transfer.page = page_;
  transfer.buffer = buffer;
  transfer.add(buffer->data(), buffer->size());
  transfer.add(page_->data(), uint64_t{update_.blocks} * kBlockBytes);
  unit_->groups.expect(commit_);
  unit_->drive.transfer(transfer, written_);
}

void StoreWriteState::on_written(Completion& done) {
  if (done.status.ok()) {
    unit_->groups.add(commit_);
  } else {
    unit_->groups.give_up(commit_);
    // Part of it may have reached the drive, which is set aside.
    outcome_unknown();
    finish(Status(StatusCode::unavailable, "the drive failed during the write"));
  }
}

void StoreWriteState::on_committed(Completion& done) {
  failure_ = done.status;
  if (failure_.ok()) {
    publish();
    finish(Status());
  } else if (failure_.is(StatusCode::no_space)) {
    if (try_commit_again()) return;
    // Whole on the drive, but not in the index: a rebuild must not find it.
    wipe_.start(*core_, *unit_, {slot_}, wiped_);
  } else {
    outcome_unknown();
    finish(failure_);
  }
}

// The version stays in flight for good, and so does what it may have left on the drive.
void StoreWriteState::outcome_unknown() {
  versioned_ = false;
  core_->put_in_limbo(write_->tag, write_->key);
  ChunkIndex::View view;
  if (!core_->index.find(write_->key, &view)) core_->put_in_limbo(write_->key);
}

void StoreWriteState::on_wiped(Completion& done) {
  if (done.status.ok()) {
    finish(failure_);
    return;
  }
  // It may be there at the next start: nobody may be told that it did not happen.
  outcome_unknown();
  finish(Status(StatusCode::unavailable, "the drive failed during the write"));
}

void StoreWriteState::publish() {
  const StoreWrite& w = *write_;
  if (w.tag.incarnation != 0) {
    std::vector<DedupWindow::Forgotten> forgotten;
    core_->dedup.record(commit_.tag, unit_->drive.index(), core_->loop.now_ns(), &forgotten);
    core_->forget_tags(forgotten);
  }
  unit_->drive.slots.settled(slot_);
  const Extent extent{.version = version_,
                      .at = {unit_->drive.index(), slot_.file, slot_.slot},
                      .first_block = static_cast<uint16_t>(update_.first_block),
                      .blocks = static_cast<uint16_t>(update_.blocks)};
  core_->add_extent(w.key, w.chunk_log2, extent);
  if (write_back_ == 0) core_->slab.show(*page_, update_.first_block, update_.blocks);
  write_->version = version_;
  unit_ = nullptr;  // the slot is the extent's now
}

}  // namespace gd2fs
