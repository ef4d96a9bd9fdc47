#include "store/slot_scan.h"

#include <algorithm>
#include <deque>

#include "store/wipe.h"

namespace gd2fs {
namespace {

void judge(const DriveUnit& unit, const AlignedBuffer& buffer, ScannedSlot& scanned) {
  scanned.verdict = parse_descriptor(ConstBytes(buffer.data(), buffer.size()), &scanned.descriptor);
  const SlotMap::File& file = unit.drive.slots.file(scanned.slot.file);
  const SlotDescriptor& d = scanned.descriptor;
  const bool whole =
      scanned.verdict == DescriptorVerdict::valid || scanned.verdict == DescriptorVerdict::torn;
  scanned.at_home = whole && d.drive_tag == unit.drive.uuid.tag() &&
                    d.slot_class == file.slot_class && d.file_number == file.number &&
                    d.slot == scanned.slot.slot;
}

}  // namespace

std::vector<std::vector<Slot>> scan_portions(const SlotMap& slots, uint16_t position,
                                             bool free_only) {
  std::vector<std::vector<Slot>> portions;
  const SlotMap::File& file = slots.file(position);
  for (uint32_t i = 0; file.present && !file.retired && i < file.slots; ++i) {
    const Slot slot{.file = position, .slot = static_cast<uint16_t>(i)};
    if (free_only && slots.is_taken(slot)) continue;
    if (portions.empty() || portions.back().size() == kSlotsPerScan) portions.emplace_back();
    portions.back().push_back(slot);
  }
  return portions;
}

Task<Status> scan_slots(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots,
                        std::vector<ScannedSlot>& scanned) {
  struct Read {
    Completion done;
    std::shared_ptr<AlignedBuffer> buffer;
    Join* join;
    Loop* loop;
    void on_done(Completion&) { join->done(*loop, Status()); }
  };
  scanned.clear();
  std::deque<Read> reads;
  Await all;
  Join join;
  all.done().start();
  join.reset(all.done());
  join.add(static_cast<uint32_t>(slots.size()) + 1);
  for (const Slot slot : slots) {
    Read& read = reads.emplace_back();
    read.join = &join;
    read.loop = &core.loop;
    read.done.bind<&Read::on_done>(&read);
    read.buffer = core.buffer(class_descriptor_bytes(unit.drive.slots.file(slot.file).slot_class));
    Transfer transfer;
    transfer.file = slot.file;
    transfer.offset_bytes = unit.drive.offset_of(slot);
    transfer.buffer = read.buffer;
    transfer.add(read.buffer->data(), read.buffer->size());
    unit.drive.transfer(transfer, read.done);
  }
  join.done(core.loop, Status());
  const Status waited = co_await all;
  GD2FS_CO_TRY(waited);
  if (!unit.drive.serving()) co_return Status(StatusCode::unavailable, "set aside while scanning");
  for (size_t i = 0; i < slots.size(); ++i) {
    ScannedSlot& slot = scanned.emplace_back();
    slot.slot = slots[i];
    slot.readable = reads[i].done.status.ok();
    if (slot.readable) judge(unit, *reads[i].buffer, slot);
  }
  co_return Status();
}

Task<Status> wipe_slots(StoreCore& core, DriveUnit& unit, std::vector<Slot> slots) {
  for (size_t at = 0; at < slots.size(); at += Wipe::kSlotsMax) {
    const size_t count = std::min(Wipe::kSlotsMax, slots.size() - at);
    std::vector<Slot> portion;
    for (size_t i = at; i < at + count; ++i) {
      if (unit.drive.slots.take_this(slots[i])) portion.push_back(slots[i]);
    }
    Wipe wipe;
    Await wiped;
    wipe.start(core, unit, portion, wiped.done());
    const Status status = co_await wiped;
    GD2FS_CO_TRY(status);
    for (const Slot slot : portion) unit.drive.slots.free(slot);
  }
  co_return Status();
}

Task<Result<bool>> write_whole_data_again(StoreCore& core, DriveUnit& unit, ChunkKey key,
                                          Extent extent) {
  constexpr uint32_t kStepBlocks = 16;
  const auto buffer = std::make_shared<AlignedBuffer>(uint64_t{kStepBlocks} * kBlockBytes);
  const Slot slot{extent.at.file, extent.at.slot};
  const uint64_t slot_at = unit.drive.offset_of(slot);
  const uint8_t slot_class = unit.drive.slots.file(slot.file).slot_class;
  const auto header = std::make_shared<AlignedBuffer>(class_descriptor_bytes(slot_class));
  for (uint32_t block = extent.first_block; block < extent.end_block(); block += kStepBlocks) {
    const uint32_t blocks = std::min(kStepBlocks, extent.end_block() - block);
    ExtentRead read;
    Await done;
    read.start(core.loop, core.checks, unit.drive,
               {.key = key, .extent = extent, .first_block = block, .blocks = blocks},
               buffer->data(), nullptr, buffer, done.done());
    const Status status = co_await done;
    if (status.is(StatusCode::io)) co_return false;
    GD2FS_CO_TRY(status);
    if (read.any_bad()) co_return false;
    encode_descriptor(read.descriptor(), header->bytes());
    Transfer data;
    data.kind = DiskOp::Kind::write;
    data.file = slot.file;
    data.offset_bytes =
        slot_at + header->size() + uint64_t{block - extent.first_block} * kBlockBytes;
    data.buffer = buffer;
    data.add(buffer->data(), uint64_t{blocks} * kBlockBytes);
    Await writing;
    unit.drive.transfer(data, writing.done());
    const Status written = co_await writing;
    GD2FS_CO_TRY(written);
  }
  Transfer descriptor;
  descriptor.kind = DiskOp::Kind::write;
  descriptor.file = slot.file;
  descriptor.offset_bytes = slot_at;
  descriptor.buffer = header;
  descriptor.add(header->data(), header->size());
  Await writing;
  unit.drive.transfer(descriptor, writing.done());
  const Status written = co_await writing;
  GD2FS_CO_TRY(written);
  co_return true;
}

}  // namespace gd2fs
