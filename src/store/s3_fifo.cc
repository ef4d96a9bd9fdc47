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

void S3Fifo::remember(const SlabPage& page) {
  ghosts_.push_back({name_of(page), page.blocks_});
  ghost_blocks_ += page.blocks_;
  ++ghost_count_[ghosts_.back().name];
  while (ghosts_.size() > kGhostsMax || ghost_blocks_ > small_blocks_ + main_blocks_) {
    forget_oldest();
  }
}

void S3Fifo::forget_oldest() {
  const Ghost ghost = ghosts_.front();
  ghosts_.pop_front();
  ghost_blocks_ -= ghost.blocks;
  const auto count = ghost_count_.find(ghost.name);
  if (--count->second == 0) ghost_count_.erase(count);
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
      remember(*page);
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
