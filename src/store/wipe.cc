#include "store/wipe.h"

#include <algorithm>

namespace gd2fs {

Wipe::Wipe() {
  written_.bind<&Wipe::on_written>(this);
  synced_.bind<&Wipe::on_synced>(this);
}

void Wipe::start(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots, Completion& done) {
  done.start();
  core_ = &core;
  unit_ = &unit;
  slots_ = std::move(slots);
  done_ = &done;
  written_.start();
  join_.reset(written_);
  join_.add(static_cast<uint32_t>(slots_.size()) + 1);
  pieces_.clear();
  for (const Slot slot : slots_) {
    const uint8_t slot_class = unit.drive.slots.file(slot.file).slot_class;
    const uint32_t length_bytes = class_descriptor_bytes(slot_class);
    std::shared_ptr<AlignedBuffer> buffer = core.buffer(length_bytes);
    encode_wiped(buffer->bytes());
    Transfer write;
    write.kind = DiskOp::Kind::write;
    write.file = slot.file;
    write.offset_bytes = unit.drive.offset_of(slot);
    write.buffer = buffer;
    write.add(buffer->data(), length_bytes);
    Completion& piece = pieces_.emplace_back();
    piece.bind<&Wipe::on_piece>(this);
    unit.drive.transfer(write, piece);
  }
  join_.done(core.loop, Status());
}

void Wipe::on_piece(Completion& done) {
  join_.done(core_->loop, done.status);
}

void Wipe::on_written(Completion& done) {
  if (!done.status.ok()) {
    unit_->drive.set_aside(done.status);
    core_->loop.complete(*done_, done.status);
    return;
  }
  std::vector<uint16_t> files;
  files.reserve(slots_.size());
  for (const Slot slot : slots_) files.push_back(slot.file);
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  synced_.start();
  join_.reset(synced_);
  join_.add(static_cast<uint32_t>(files.size()) + 1);
  pieces_.clear();
  for (const uint16_t file : files) {
    Completion& piece = pieces_.emplace_back();
    piece.bind<&Wipe::on_piece>(this);
    unit_->drive.transfer({.kind = DiskOp::Kind::sync, .file = file}, piece);
  }
  join_.done(core_->loop, Status());
}

void Wipe::on_synced(Completion& done) {
  if (done.status.ok()) {
    for (const Slot slot : slots_) unit_->drive.slots.settled(slot);
  } else {
    unit_->drive.set_aside(done.status);
  }
  core_->loop.complete(*done_, done.status);
}

}  // namespace gd2fs
