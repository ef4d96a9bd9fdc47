// ValueCache: the newest committed values of recently used keys, also that a key is not there, in a
// bounded amount of memory. One thread.
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gd2fs {

class ValueCache {
 public:
  explicit ValueCache(size_t bytes_max) : bytes_max_(bytes_max) {}

  // nullptr: not known. Else the value, or nullopt for a key that is not there; valid until the
  // next call.
  const std::optional<std::string>* find(const std::string& key);
  void put(const std::string& key, const std::optional<std::string>& value);
  void clear();
  size_t bytes() const { return bytes_; }
  size_t keys() const { return entries_.size(); }

 private:
  // What a key costs beside its bytes: list and map nodes, two strings.
  static constexpr size_t kEntryBytes = 192;
  struct Entry {
    const std::string* key = nullptr;  // the map's
    std::optional<std::string> value;
  };
  using Ages = std::list<Entry>;  // the most recent first
  static size_t cost(const Entry& entry) {
    return kEntryBytes + entry.key->size() + (entry.value ? entry.value->size() : 0);
  }
  void shrink();

  size_t bytes_max_;
  size_t bytes_ = 0;
  Ages ages_;
  std::unordered_map<std::string, Ages::iterator> entries_;
};

}  // namespace gd2fs
