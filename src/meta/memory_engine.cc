#include "meta/memory_engine.h"

namespace gd2fs {

MemoryMetaStore::MemoryMetaStore(Loop& loop, Reads reads)
    : OptimisticStore(loop, 1), reads_(reads) {
  write_.bind<&MemoryMetaStore::on_write>(this);
}

void MemoryMetaStore::answer(MetaRead& read) const {
  read.revision = revision();
  read.values.clear();
  read.found.clear();
  for (const std::string& key : read.keys) {
    const auto found = map_.find(key);
    if (found == map_.end()) {
      read.values.emplace_back(std::nullopt);
    } else {
      read.values.emplace_back(found->second);
    }
  }
  if (read.limit == 0) return;
  for (auto at = map_.lower_bound(read.begin); at != map_.end() && at->first < read.end; ++at) {
    if (read.found.size() == read.limit) break;
    read.found.push_back({at->first, at->second});
  }
}

bool MemoryMetaStore::read_now(MetaRead& read) {
  if (reads_ == Reads::later) return false;
  answer(read);
  return true;
}

void MemoryMetaStore::read(MetaRead& read, Completion& done) {
  done.start();
  answer(read);
  loop().complete(done, Status());
}

void MemoryMetaStore::write(std::span<const MetaWrite>) {
  loop().complete(write_, Status());
}

// The map changes here and not in write(), so that revision() always says what it holds.
void MemoryMetaStore::written(std::span<const MetaWrite> writes) {
  for (const MetaWrite& write : writes) {
    if (write.value) {
      map_.insert_or_assign(write.key, *write.value);
    } else {
      map_.erase(write.key);
    }
  }
}

Task<Status> MemoryMetaStore::close() {
  co_await drain();
  co_return Status();
}

}  // namespace gd2fs
