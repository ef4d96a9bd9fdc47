#include "store/fill.h"

namespace gd2fs {

Fill::Fill(StoreCore& core, const ExtentRead::Range& range, SlabPage& page)
    : core_(core), range_(range), page_(page) {
  read_done_.bind<&Fill::on_read>(this);
}

Fill& Fill::start(StoreCore& core, const ExtentRead::Range& range, SlabPage& page) {
  Fill& fill = *new Fill(core, range, page);
  core.begin_operation(fill);
  core.active.add_fill(range.key, fill);
  fill.read_.start(core.loop, core.checks, core.unit(range.extent).drive, range, page.data(), &page,
                   nullptr, fill.read_done_);
  return fill;
}

Fill* Fill::find(StoreCore& core, const ChunkKey& key, const Extent& extent, uint32_t block) {
  const std::vector<Fill*>* const fills = core.active.fills(key);
  if (fills == nullptr) return nullptr;
  for (Fill* fill : *fills) {
    if (fill->range_.extent == extent && fill->first_block() <= block &&
        block < fill->end_block()) {
      return fill;
    }
  }
  return nullptr;
}

void Fill::join(FillWait& wait) {
  wait.done.start();
  waits_.push_back(wait);
}

Status Fill::status_for(const FillWait& wait) const {
  for (uint32_t block = wait.first_block; block < wait.first_block + wait.blocks; ++block) {
    if (read_.bad(block)) return Status(StatusCode::corrupt, "a block is damaged");
  }
  return {};
}

// What is still the chunk's content becomes the cached content; the rest serves only the readers
// who asked while it was.
void Fill::publish() {
  uint32_t begin = range_.first_block;
  const auto flush = [&](uint32_t end) {
    if (end > begin) core_.slab.show(page_, begin, end - begin);
    begin = end + 1;
  };
  for (uint32_t block = range_.first_block; block < end_block(); ++block) {
    if (read_.bad(block)) {
      core_.report_bad(read_, block, "read");
      flush(block);
      continue;
    }
    page_.set_crc(block, read_.crc(block));
    if (core_.slab.map().page_of(range_.key, block) != nullptr ||
        !core_.shows(range_.key, range_.extent, block)) {
      flush(block);
    }
  }
  flush(end_block());
}

void Fill::on_read(Completion& done) {
  const Status status = done.status;
  core_.active.remove_fill(range_.key, *this);
  if (status.ok()) publish();
  while (FillWait* wait = waits_.pop_front()) {
    const Status answer = status.ok() ? status_for(*wait) : status;
    if (answer.ok()) {
      wait->page = &page_;
      core_.slab.hold(page_);
    }
    core_.loop.complete(wait->done, answer);
  }
  core_.slab.unhold(page_);
  StoreCore& core = core_;
  delete this;
  core.end_operation();
}

}  // namespace gd2fs
