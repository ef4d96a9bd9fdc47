#include "meta/value_cache.h"

namespace gd2fs {

const std::optional<std::string>* ValueCache::find(const std::string& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  ages_.splice(ages_.begin(), ages_, found->second);
  return &found->second->value;
}

void ValueCache::put(const std::string& key, const std::optional<std::string>& value) {
  auto [at, fresh] = entries_.try_emplace(key);
  if (fresh) {
    ages_.emplace_front();
    at->second = ages_.begin();
    at->second->key = &at->first;  // map nodes stay where they are
  } else {
    bytes_ -= cost(*at->second);
    ages_.splice(ages_.begin(), ages_, at->second);
  }
  at->second->value = value;
  bytes_ += cost(*at->second);
  shrink();
}

void ValueCache::clear() {
  entries_.clear();
  ages_.clear();
  bytes_ = 0;
}

void ValueCache::shrink() {
  while (bytes_ > bytes_max_ && !ages_.empty()) {
    bytes_ -= cost(ages_.back());
    entries_.erase(*ages_.back().key);
    ages_.pop_back();
  }
}

}  // namespace gd2fs
