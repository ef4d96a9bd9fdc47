// Dump and load: the whole metadata as JSON lines, one per record, in the order of the keys,
// between a header and an end line. docs/on_disk_meta.md describes them. A loaded store is equal to
// the dumped one byte for byte, answers to retries and open intents included. A dump holds the
// clusters' tokens: keep it secret. The controller's own table (servers, groups, capability keys)
// is no part of it: servers register anew.
//
// Page by page: dump_metadata(store, "", n), then with `next` until `more` is false. Exact while
// nothing changes; the end line says whether anything has, and a load refuses one that says so.
//
// A load takes an empty store (a fresh Namespace::open has run, no more), serves nobody meanwhile,
// and marks it, so that a load that was cut off is never served: Namespace::open refuses it.
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "loop/task.h"
#include "meta/meta_store.h"

namespace gd2fs {

struct DumpPage {
  std::vector<std::string> lines;  // without line feeds
  std::string next;                // printable
  bool more = false;
};
inline constexpr size_t kDumpPageMax = 1000;

// invalid: `after` is not what a page answered. corrupt: names the damaged record.
Task<Result<DumpPage>> dump_metadata(MetaStore& store, std::string after, size_t limit);

class MetaLoad {
 public:
  // invalid unless the store is empty.
  static Task<Result<MetaLoad>> begin(MetaStore& store);
  // The next lines, in order. invalid with the number of the line that is wrong.
  Task<Status> add(std::vector<std::string> lines);
  // After the last: checks that nothing is missing and that the records agree with each other; only
  // then the store may be opened.
  Task<Status> end();
  uint64_t records() const { return records_; }
  // The end line was read: nothing may follow but end().
  bool complete() const { return end_seen_; }

 private:
  explicit MetaLoad(MetaStore& store) : store_(&store) {}
  Status read_line(const std::string& line, std::vector<KeyValue>* batch);
  MetaStore* store_;
  uint64_t lines_ = 0;
  uint64_t records_ = 0;
  bool header_seen_ = false;
  bool end_seen_ = false;
};

}  // namespace gd2fs
