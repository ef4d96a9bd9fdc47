// RegisteredArenas: an ArenaSource whose arenas the fabric knows, so that NICs move their bytes.
//
// Where there are NICs a thread registers each arena after it was handed out: pinning 1 GiB takes
// up to 300 ms. Until then its bytes go without keys. The loop's thread, but for what that thread
// does.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "fabric/rdma_fabric.h"
#include "store/store.h"

namespace gd2fs::cli {

class RegisteredArenas final : public ArenaSource {
 public:
  RegisteredArenas(std::unique_ptr<ArenaSource> source, RdmaFabric& fabric);
  ~RegisteredArenas() override { forget_fabric(); }
  // The fabric ends before the store does; its end takes all registrations back.
  void forget_fabric();

  void prepare(size_t length_bytes, size_t count) override {
    source_->prepare(length_bytes, count);
  }
  Result<Arena> make(size_t length_bytes) override;
  void destroy(Arena& arena) override;

 private:
  void run();
  void register_now(const FabricMemory& memory);

  std::unique_ptr<ArenaSource> source_;
  RdmaFabric* fabric_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FabricMemory> waiting_;
  void* under_way_ = nullptr;  // the address of what the thread registers
  bool stopping_ = false;
  bool said_copied_ = false;
  std::thread thread_;
};

}  // namespace gd2fs::cli
