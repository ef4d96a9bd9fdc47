// A cluster in memory over TCP, for the ABI programs to talk to: prints its address and serves
// until its standard input ends.
#include "sim/memory_cluster.h"

#include <cstdio>
#include <unistd.h>

#include <sys/epoll.h>

#include "base/log.h"
#include "fabric/tcp_fabric.h"
#include "wire/token.h"

int main() {
  using namespace gd2fs;  // NOLINT: a main
  set_log_level(LogLevel::error);
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  ThreadWorker worker("resolver");
  const auto place = [&] {
    return MemoryCluster::Place{
        &loop, "tcp://127.0.0.1:0", [&] { return std::make_unique<TcpFabric>(loop, worker); }, {}};
  };
  MemoryCluster cluster(place(), place());
  std::printf("%s c %s\n", cluster.controller_address().c_str(),
              token_from_key(MemoryCluster::key()).c_str());
  std::fflush(stdout);
  struct Stop {
    Loop* loop;
    void on_input(uint32_t) { loop->stop(); }
  } stop{&loop};
  Watch input;
  input.bind<&Stop::on_input>(&stop);
  CHECK(loop.watch(input, STDIN_FILENO, EPOLLIN).ok());
  loop.run();
  loop.unwatch(input);
  return 0;
}
