#include "store/s3_fifo.h"

#include "base/random.h"

namespace gd2fs {
namespace {

// Held pages are passed over; this bounds how many one call looks at.
constexpr int kLooksMax = 256;

}  // namespace

uint64_t S3Fifo::name_of(const SlabPage& page) {
  return mix64(mix64(page.key_.inode) + (uint64_t{page.key_.chunk} << 16) + page.first_block_);
}

void S3Fifo::insert(SlabPage& page) {
  page.uses_ = 0;
  page.in_main_ = ghost_count_.contains(name_of(page));
  if (page.in_main_) {
    main_.push_back(page);
    main_blocks_ += page.blocks_;
  } else {
    small_.push_back(page);
    small_blocks_ += page.blocks_;
  }
}

void S3Fifo::remove(SlabPage& page) {
  if (!page.linked()) return;
  page.unlink();
  (page.in_main_ ? main_blocks_ : small_blocks_) -= page.blocks_;
}

void S3Fifo::remember(uint64_t name) {
  if (ghosts_.size() < kGhostsMax) {
    ghosts_.push_back(name);
  } else {
    const auto old = ghost_count_.find(ghosts_[ghost_next_]);
    if (old != ghost_count_.end() && --old->second == 0) ghost_count_.erase(old);
    ghosts_[ghost_next_] = name;
    ghost_next_ = (ghost_next_ + 1) % kGhostsMax;
  }
  ++ghost_count_[name];
}

SlabPage* S3Fifo::victim_of_small() {
  for (int looks = 0; looks < kLooksMax; ++looks) {
    SlabPage* const page = small_.front();
    if (page == nullptr) return nullptr;
    if (page->held()) {
      small_.push_back(*page);
    } else if (page->uses_ > 0) {
      remove(*page);
      page->uses_ = 0;
      page->in_main_ = true;
      main_.push_back(*page);
      main_blocks_ += page->blocks_;
    } else {
      remove(*page);
      remember(name_of(*page));
      return page;
    }
  }
  return nullptr;
}

SlabPage* S3Fifo::victim_of_main() {
  for (int looks = 0; looks < kLooksMax; ++looks) {
    SlabPage* const page = main_.front();
    if (page == nullptr) return nullptr;
    if (page->held() || page->uses_ > 0) {
      if (page->uses_ > 0) --page->uses_;
      main_.push_back(*page);
    } else {
      remove(*page);
      return page;
    }
  }
  return nullptr;
}

SlabPage* S3Fifo::victim() {
  const bool small_first = small_blocks_ * 10 > small_blocks_ + main_blocks_;
  SlabPage* page = small_first ? victim_of_small() : victim_of_main();
  if (page == nullptr) page = small_first ? victim_of_main() : victim_of_small();
  return page;
}

}  // namespace gd2fs
