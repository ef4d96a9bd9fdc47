// A thread of ours in somebody's process: all signals are blocked in it, since they are for the
// threads that asked for them.
#pragma once

#include <csignal>
#include <cstring>
#include <pthread.h>
#include <string>
#include <thread>
#include <utility>

namespace gd2fs {

// `name` is what the system's tools show, 15 characters of it. Throws std::system_error where the
// system gives us no thread.
template <class Run>
std::thread start_quiet_thread(const char* name, Run run) {
  struct Blocked {  // a thread inherits the mask of who makes it
    Blocked() {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    ~Blocked() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    sigset_t before;
  };
  const Blocked blocked;
  std::thread thread(std::move(run));
  pthread_setname_np(thread.native_handle(), std::string(name, strnlen(name, 15)).c_str());
  return thread;
}

}  // namespace gd2fs
