// The fake's engine: ctxs, registrations, completion queues, and the thread that ends operations.
//
// One lock guards everything; the thread takes it for each operation. Handles are numbers that are
// never used twice, so that a stale one is always found out.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <xfer/gd2fs.h>

#include "fake_names.h"

namespace fake {

struct Iomem {
  uint64_t address;
  uint64_t length;
};

struct Queue {
  Queue();
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  void push(const xfer_gd2fs_completion& completion);
  int take(xfer_gd2fs_completion* completions, int count);

  int fd;
  bool destroyed = false;
  std::deque<xfer_gd2fs_completion> ended;
};

struct Operation {
  xfer_gd2fs_op op;
  std::string path;
  std::string other;
  std::vector<xfer_gd2fs_sge> sges;
  std::shared_ptr<Queue> queue;
  uint64_t number;
  bool pin = false;  // of a setattr
  bool canceled = false;
  unsigned canceled_detail = 0;
};

struct Ctx {
  uint64_t handle;
  std::string cluster;
  bool closed = false;
  std::map<uint64_t, Iomem> iomems;
  std::map<uint64_t, std::shared_ptr<Queue>> queues;  // 0: the default one
  std::list<Operation> running;
  unsigned canceled = 0;  // of those
  unsigned unreaped = 0;  // accepted and not reaped
};

class Engine {
 public:
  static Engine& instance();

  std::mutex& mutex() { return mutex_; }
  bool forked() const;

  // All of these with the mutex held.
  Ctx* find(const void* handle, int* error);
  uint64_t new_handle() { return ++last_handle_ << 4; }
  std::shared_ptr<Ctx> connect(const std::string& cluster);
  void accept(Ctx& ctx, Operation operation);
  void cancel(Ctx& ctx, Operation& operation, unsigned detail);
  // Marks what `which` chooses as canceled and waits until it has completed.
  template <class Which>
  void cancel_and_wait(std::unique_lock<std::mutex>& lock, Ctx& ctx, unsigned detail, Which which);
  void changed() { condition_.notify_all(); }
  // Waits for a change; false when the time has passed.
  bool wait(std::unique_lock<std::mutex>& lock, int timeout_ms);

  // What tests set.
  bool hold = false;
  unsigned steps = 0;
  bool hold_cancels = false;
  unsigned requests_max = XFER_GD2FS_REQUESTS_MAX;
  std::map<unsigned, unsigned> fail_next;
  std::map<std::string, Names> clusters;
  std::map<uint64_t, std::shared_ptr<Ctx>> ctxs;
  std::set<uint64_t> closed_ctxs;

 private:
  Engine();

  void run();
  // Ends one operation, if one may end now.
  bool end_one();
  bool end_canceled(Ctx& ctx, std::list<Operation>::iterator operation);
  void end(Ctx& ctx, std::list<Operation>::iterator operation, Outcome outcome);
  Outcome execute(Ctx& ctx, Operation& operation);

  std::mutex mutex_;
  std::condition_variable condition_;
  uint64_t last_handle_ = 0;
  std::mt19937 random_{1};
  const int process_;
  std::thread thread_;
};

template <class Which>
void Engine::cancel_and_wait(std::unique_lock<std::mutex>& lock, Ctx& ctx, unsigned detail,
                             Which which) {
  for (Operation& operation : ctx.running) {
    if (which(operation)) cancel(ctx, operation, detail);
  }
  condition_.wait(lock, [&] {
    for (const Operation& operation : ctx.running) {
      if (which(operation)) return false;
    }
    return true;
  });
}

}  // namespace fake
