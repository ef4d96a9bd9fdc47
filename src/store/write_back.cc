#include "store/write_back.h"

#include "base/check.h"

namespace gd2fs {

uint64_t WriteBack::begin(SlabPage& page) {
  const uint64_t bytes = uint64_t{page.blocks()} * kBlockBytes;
  if (slab_.dirty_bytes() + bytes > dirty_max_bytes_) return 0;
  slab_.set_dirty(page, true);
  under_way_bytes_ += bytes;
  under_way_.insert(next_number_);
  return next_number_++;
}

void WriteBack::end(uint64_t number, SlabPage& page, const Status& status) {
  CHECK(under_way_.erase(number) == 1);
  under_way_bytes_ -= uint64_t{page.blocks()} * kBlockBytes;
  if (status.ok()) {
    slab_.set_dirty(page, false);
  } else {
    failure_ = status;
  }
  answer();
}

void WriteBack::flush(Completion& done) {
  done.start();
  flushes_.push_back({next_number_ - 1, &done});
  answer();
}

void WriteBack::answer() {
  const uint64_t first = under_way_.empty() ? UINT64_MAX : *under_way_.begin();
  std::erase_if(flushes_, [&](const Flush& flush) {
    if (flush.number >= first) return false;
    loop_.complete(*flush.done, outcome());
    return true;
  });
}

Status WriteBack::outcome() const {
  if (stranded_bytes() == 0) return {};
  const StatusCode code = failure_.is(StatusCode::no_space) ? StatusCode::no_space : StatusCode::io;
  return {code, std::to_string(stranded_bytes()) +
                    " bytes that were acknowledged are in memory only: "
                    "no drive took them"};
}

}  // namespace gd2fs
