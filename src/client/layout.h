// Layout: what the client knows of one file, as the controller last said it, and the cache of them.
//
// A cached layout may be old: the servers refuse requests with an old generation, and whatever a
// request concludes from an *absence* (no such file, the end of the file) counts only if the
// controller was asked after the request began. `asked` numbers the questions for that.
// Belongs to one loop.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "wire/ids.h"
#include "wire/messages_generated.h"

namespace gd2fs::client {

struct Layout {
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t size_bytes = 0;
  uint64_t reserved_bytes = 0;
  uint64_t namespace_epoch = 0;
  uint64_t map_version = 0;
  uint64_t mtime_us = 0;
  uint64_t ctime_us = 0;
  FileType type = FileType::none;
  bool pinned = false;
  uint8_t chunk_log2 = 0;
  bool may_write = false;
  std::vector<std::byte> capability;
  uint64_t capability_number = 0;  // differs for every capability that we were given; 0: none
  uint64_t expires_ns = 0;         // of the capability, by the loop's clock, with a margin
  uint64_t asked = 0;              // the number of the question that this answers
  uint64_t next_read = 0;          // where the last read ended, to see sequential readers
};

// Checks what a controller answered: io if it cannot be the layout of anything.
Result<Layout> layout_from(const msg::FileInfo* info, bool may_write, uint64_t now_ns,
                           uint64_t asked);

// Shared: the cache drops a layout when it is old while requests still work with it.
using LayoutRef = std::shared_ptr<Layout>;

class LayoutCache {
 public:
  static constexpr size_t kLayoutsMax = 65536;  // the longest unused is dropped

  // nullptr if there is none that is good for this use now.
  LayoutRef find(std::string_view path, bool write, uint64_t now_ns);
  // Merges a newer answer: the same inode is updated in place, so that all who hold it see it. An
  // answer to a reader never takes the right to write from who holds it: of the same generation it
  // brings facts but no capability while the one to write is good; of another one it stands beside.
  LayoutRef put(std::string_view path, Layout layout, uint64_t now_ns);
  void forget(std::string_view path);
  // The path and everything below it: after a rename.
  void forget_tree(std::string_view path);
  size_t size() const { return by_path_.size(); }

 private:
  struct Entry {
    std::string path;
    LayoutRef layout;
  };
  using Order = std::list<Entry>;
  void erase(Order::iterator at);
  static LayoutRef overtaken(const LayoutRef& known, Layout layout);

  Order by_use_;                                                   // longest unused first
  std::unordered_map<std::string_view, Order::iterator> by_path_;  // keys live in the entries
  uint64_t last_capability_ = 0;
};

}  // namespace gd2fs::client
