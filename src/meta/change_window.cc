#include "meta/change_window.h"

#include "base/check.h"

namespace gd2fs {

void ChangeWindow::add(uint64_t revision, std::string_view key) {
  CHECK(changes_.empty() || revision >= changes_.back().revision);
  auto found = last_.find(key);
  if (found == last_.end()) {
    found = last_.emplace(std::string(key), revision).first;
  } else {
    if (found->second == revision) return;
    found->second = revision;
  }
  changes_.push_back({revision, found});
  while (changes_.size() > keys_max_) forget_oldest();
}

bool ChangeWindow::changed_since(uint64_t revision, std::string_view key) const {
  if (revision < floor_) return true;
  const auto found = last_.find(key);
  return found != last_.end() && found->second > revision;
}

bool ChangeWindow::range_changed_since(uint64_t revision, std::string_view begin,
                                       std::string_view end) const {
  if (revision < floor_) return true;
  for (auto at = last_.lower_bound(begin); at != last_.end() && at->first < end; ++at) {
    if (at->second > revision) return true;
  }
  return false;
}

void ChangeWindow::forget_until(uint64_t revision) {
  while (!changes_.empty() && changes_.front().revision <= revision) forget_oldest();
}

void ChangeWindow::forget_all(uint64_t revision) {
  changes_.clear();
  last_.clear();
  floor_ = revision;
}

void ChangeWindow::forget_oldest() {
  const Change oldest = changes_.front();
  changes_.pop_front();
  floor_ = oldest.revision;
  if (oldest.key->second == oldest.revision) last_.erase(oldest.key);
}

}  // namespace gd2fs
