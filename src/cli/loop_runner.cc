#include "cli/loop_runner.h"

#include <pthread.h>

namespace gd2fs::cli {

LoopRunner::LoopRunner(Clock& clock, const std::string& thread_name, uint64_t spin_ns)
    : loop_(clock, Loop::Waits::epoll), thread_([this, spin_ns] { loop_.run(spin_ns); }) {
  pthread_setname_np(thread_.native_handle(), thread_name.substr(0, 15).c_str());
}

LoopRunner::~LoopRunner() {
  stop();
}

void LoopRunner::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

}  // namespace gd2fs::cli
