#include "store/extent_read.h"

#include "base/check.h"
#include "base/crc32c.h"

namespace gd2fs {

ExtentRead::ExtentRead() {
  descriptor_read_.bind<&ExtentRead::on_piece>(this);
  data_read_.bind<&ExtentRead::on_piece>(this);
  read_.bind<&ExtentRead::on_read>(this);
  check_.bind<&ExtentRead::on_checked>(this);
}

void ExtentRead::start(Loop& loop, SlicePool& checks, Drive& drive, const Range& range,
                       std::byte* into, SlabPage* page, std::shared_ptr<AlignedBuffer> buffer,
                       Completion& done) {
  CHECK(range.blocks > 0 && range.first_block >= range.extent.first_block &&
        range.first_block + range.blocks <= range.extent.end_block());
  done.start();
  loop_ = &loop;
  checks_ = &checks;
  drive_ = &drive;
  range_ = range;
  into_ = into;
  page_ = page;
  buffer_ = std::move(buffer);
  done_ = &done;
  again_ = false;
  drive.hold({range.extent.at.file, range.extent.at.slot});
  submit();
}

void ExtentRead::submit() {
  const Slot slot{range_.extent.at.file, range_.extent.at.slot};
  const uint8_t slot_class = drive_->slots.file(slot.file).slot_class;
  const uint64_t slot_at = drive_->offset_of(slot);
  const uint32_t descriptor_bytes = class_descriptor_bytes(slot_class);
  // The former one may still be in the hands of the disk, if that did not answer in time.
  descriptor_bytes_ = std::make_shared<AlignedBuffer>(descriptor_bytes);
  const uint64_t length_bytes = uint64_t{range_.blocks} * kBlockBytes;
  const uint64_t skip = uint64_t{range_.first_block - range_.extent.first_block} * kBlockBytes;

  read_.start();
  join_.reset(read_);
  const auto transfer_at = [&](uint64_t offset_bytes) {
    Transfer transfer;
    transfer.file = slot.file;
    transfer.offset_bytes = slot_at + offset_bytes;
    return transfer;
  };
  Transfer descriptor = transfer_at(0);
  descriptor.descriptor = descriptor_bytes_;
  descriptor.add(descriptor_bytes_->data(), descriptor_bytes);
  // The data lie right behind the descriptor: from their beginning, one transfer reads both.
  const bool together = skip == 0;
  Transfer data = together ? descriptor : transfer_at(descriptor_bytes + skip);
  data.page = page_;
  data.buffer = buffer_;
  data.left_bytes = range_.left_bytes;
  data.add(into_, length_bytes);
  join_.add(together ? 1 : 2);
  if (!together) drive_->transfer(descriptor, descriptor_read_);
  drive_->transfer(data, data_read_);
}

void ExtentRead::on_piece(Completion& done) {
  join_.done(*loop_, done.status);
}

void ExtentRead::on_read(Completion& done) {
  if (done.status.ok()) return verify();
  end(done.status);
}

bool ExtentRead::descriptor_matches() {
  const ConstBytes bytes(descriptor_bytes_->data(), descriptor_bytes_->size());
  const DescriptorVerdict verdict = parse_descriptor(bytes, &descriptor_);
  const SlotMap::File& file = drive_->slots.file(range_.extent.at.file);
  const SlotDescriptor& d = descriptor_;
  if (verdict != DescriptorVerdict::valid) {
    reason_ = verdict == DescriptorVerdict::empty ? "descriptor is gone" : "descriptor is damaged";
    return false;
  }
  // A write or read that went to the wrong place, or an older write that was never replaced.
  const bool same = d.key == range_.key && d.version == range_.extent.version &&
                    d.first_block == range_.extent.first_block &&
                    d.blocks == range_.extent.blocks && d.drive_tag == drive_->uuid.tag() &&
                    d.slot_class == file.slot_class && d.file_number == file.number &&
                    d.slot == range_.extent.at.slot;
  if (!same) reason_ = "descriptor tells of something else";
  return same;
}

void ExtentRead::Check::make(uint64_t begin, uint64_t end) {
  const size_t first = begin / kBlockBytes;
  const size_t blocks = (end - begin) / kBlockBytes;
  crc32c_blocks({bytes + begin, end - begin}, kBlockBytes, std::span(crcs).subspan(first, blocks));
}

void ExtentRead::verify() {
  bad_.assign(range_.blocks, false);
  bad_count_ = 0;
  if (!descriptor_matches()) {
    bad_.assign(range_.blocks, true);
    bad_count_ = range_.blocks;
    return on_verified();
  }
  check_.bytes = into_;
  check_.crcs.resize(range_.blocks);
  check_.length_bytes = uint64_t{range_.blocks} * kBlockBytes;
  if (check_.length_bytes >= kCheckBySlicesBytes) return checks_->submit(check_);
  check_.make(0, check_.length_bytes);
  on_checked(check_);
}

void ExtentRead::on_checked(SliceJob&) {
  for (uint32_t i = 0; i < range_.blocks; ++i) {
    if (check_.crcs[i] == crc(range_.first_block + i)) continue;
    bad_[i] = true;
    ++bad_count_;
    reason_ = "crc";
  }
  on_verified();
}

void ExtentRead::on_verified() {
  if (bad_count_ == 0 || again_) return end(Status());
  again_ = true;
  submit();
}

void ExtentRead::end(const Status& status) {
  drive_->unhold({range_.extent.at.file, range_.extent.at.slot});
  buffer_.reset();
  loop_->complete(*done_, status);
}

}  // namespace gd2fs
