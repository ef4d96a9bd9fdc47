#include "cli/registered_arenas.h"

#include "base/log.h"
#include "base/quiet_thread.h"
#include "cli/units.h"

namespace gd2fs::cli {

RegisteredArenas::RegisteredArenas(std::unique_ptr<ArenaSource> source, RdmaFabric& fabric)
    : source_(std::move(source)), fabric_(&fabric) {}

void RegisteredArenas::forget_fabric() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  fabric_ = nullptr;
}

Result<ArenaSource::Arena> RegisteredArenas::make(size_t length_bytes) {
  GD2FS_ASSIGN(Arena arena, source_->make(length_bytes));
  if (fabric_ == nullptr) return arena;
  FabricMemory memory;
  memory.address = arena.data;
  memory.length_bytes = arena.length_bytes;
  if (!fabric_->has_nics()) {
    register_now(memory);  // only noted, for NICs that come later
    return arena;
  }
  std::lock_guard lock(mutex_);
  waiting_.push_back(memory);
  changed_.notify_all();
  if (thread_.joinable()) return arena;
  thread_ = start_quiet_thread("gd2fs-register", [this] { run(); });
  return arena;
}

void RegisteredArenas::destroy(Arena& arena) {
  if (fabric_ != nullptr) {
    FabricMemory memory;
    memory.address = arena.data;
    {
      std::unique_lock lock(mutex_);
      std::erase_if(waiting_, [&](const FabricMemory& each) { return each.address == arena.data; });
      changed_.wait(lock, [&] { return under_way_ != arena.data; });
    }
    fabric_->remove_memory(memory);
  }
  source_->destroy(arena);
}

void RegisteredArenas::register_now(const FabricMemory& memory) {
  const Status added = fabric_->add_memory(memory);
  if (added.ok() || std::exchange(said_copied_, true)) return;
  GD2FS_LOG_WARN("an arena of {} is copied instead of moved by RDMA: {}",
                 readable_size(memory.length_bytes), added.to_string());
}

void RegisteredArenas::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const FabricMemory memory = waiting_.front();
    waiting_.pop_front();
    under_way_ = memory.address;
    lock.unlock();
    register_now(memory);
    lock.lock();
    under_way_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace gd2fs::cli
