// loop_bench: what the lent loop costs and gains, beside blocking sockets in the same run.
//
// Over loopback TCP: 4 KiB reads at depth 1 (blocking sockets, the caller drives the loop, only the
// I/O thread drives it), and 256 MiB in 512 KiB stripes over 1, 2 and 4 lanes (blocking sockets
// with a thread per lane and side; one loop for the client, a loop per core for the server).
// Servers are processes of their own. Modes take turns; each figure is the median of the rounds,
// each ratio the median of the rounds' ratios.
//
//   loop_bench [--rounds N] [--reads N] [--lanes N] [--window N]
//              [--server-loops N] [--congestion NAME] [--client-spin-us N]
//              [--server-spin-us N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench/blocking_peer.h"
#include "bench/loop_client.h"
#include "bench/loop_peer.h"

namespace gd2fs::bench {
namespace {

RealClock g_clock;

struct Settings {
  uint64_t rounds = 5;
  uint64_t reads = 5000;
  uint64_t lanes = 0;   // 0: 1, 2 and 4
  uint64_t window = 2;  // stripes asked for and not yet here, per lane
  uint64_t server_loops = std::max(1U, std::thread::hardware_concurrency());
  uint64_t client_spin_us = 50;
  uint64_t server_spin_us = 50;
  std::string congestion;  // empty: the kernel's default
};

LoopClient::Settings client_settings(const Settings& settings, uint32_t lanes) {
  return {.lanes = lanes,
          .window = static_cast<uint32_t>(settings.window),
          .spin_ns = settings.client_spin_us * kUs};
}

Bytes touched_memory(uint64_t length_bytes) {
  void* memory = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  CHECK(memory != MAP_FAILED);
  return as_writable_bytes(memory, length_bytes);
}

// A server process; killed when this object or the bench ends.
class Server {
 public:
  template <class Serve>
  explicit Server(std::string_view congestion, Serve serve) {
    Fd listener = listen_on_loopback(&port_, congestion);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Bytes memory = touched_memory(kBulkBytes);
      for (uint64_t at = 0; at < memory.size(); at += 8) store_le<uint64_t>(&memory[at], at);
      serve(std::move(listener), memory);
    }
  }
  ~Server() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  uint16_t port() const { return port_; }
  uint64_t cpu_ns() const {
    clockid_t clock = 0;
    CHECK(clock_getcpuclockid(pid_, &clock) == 0);
    timespec time{};
    CHECK(clock_gettime(clock, &time) == 0);
    return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
  }

 private:
  uint16_t port_ = 0;
  pid_t pid_ = 0;
};

uint64_t own_cpu_ns() {
  timespec time{};
  CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
  return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void check_bytes(ConstBytes bytes, uint64_t offset) {
  for (uint64_t at = 0; at < bytes.size(); at += 8) {
    CHECK(load_le<uint64_t>(&bytes[at]) == offset + at);
  }
}

struct Latency {
  double p50_us;
  double p99_us;
  double mean_us;
};

// Times `read(offset)` for reads spread over the server's memory.
template <class Read>
Latency time_reads(uint64_t reads, Read read) {
  std::vector<double> times_us;
  uint64_t offset = 0;
  for (uint64_t i = 0; i < reads + reads / 10; ++i) {
    offset = (offset + 1031 * kSmallReadBytes) % kBulkBytes;
    const uint64_t from_ns = g_clock.now_ns();
    read(offset);
    const uint64_t ns = g_clock.now_ns() - from_ns;
    if (i >= reads / 10) times_us.push_back(static_cast<double>(ns) / 1000);
  }
  std::sort(times_us.begin(), times_us.end());
  const double sum_us = std::accumulate(times_us.begin(), times_us.end(), 0.0);
  const size_t count = times_us.size();
  return {times_us[count / 2], times_us[count * 99 / 100], sum_us / static_cast<double>(count)};
}

Latency blocking_reads(const Settings& settings, uint16_t port, Bytes memory) {
  const Fd fd = connect_to(port);
  return time_reads(settings.reads, [&](uint64_t offset) {
    read_blocking(fd.get(), offset, memory.subspan(offset, kSmallReadBytes));
  });
}

void blocking_stripes(uint16_t port, uint32_t lanes, uint32_t window, Bytes memory) {
  std::vector<std::thread> threads;
  threads.reserve(lanes);
  for (uint32_t i = 0; i < lanes; ++i) {
    threads.emplace_back([=] {
      const Fd fd = connect_to(port);
      read_stripes_blocking(fd.get(), memory, i, lanes, window);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void bench_latency(const Settings& settings, const Server& blocking, const Server& loop,
                   Bytes memory) {
  struct Row {
    const char* name;
    std::vector<double> p50;
    std::vector<double> p99;
    std::vector<double> mean;
    std::vector<double> ratio;
  };
  Row rows[4] = {{"blocking sockets", {}, {}, {}, {}},
                 {"caller drives", {}, {}, {}, {}},
                 {"caller drives, no spin", {}, {}, {}, {}},
                 {"I/O thread only", {}, {}, {}, {}}};
  for (uint64_t round = 0; round < settings.rounds; ++round) {
    Latency measured[4];
    measured[0] = blocking_reads(settings, blocking.port(), memory);
    {
      LoopClient client(client_settings(settings, 1), loop.port(), memory);
      measured[1] = time_reads(settings.reads, [&](uint64_t at) { client.read_driving(at); });
    }
    {
      Settings no_spin = settings;
      no_spin.client_spin_us = 0;
      LoopClient client(client_settings(no_spin, 1), loop.port(), memory);
      measured[2] = time_reads(settings.reads, [&](uint64_t at) { client.read_driving(at); });
    }
    {
      LoopClient client(client_settings(settings, 1), loop.port(), memory);
      measured[3] = time_reads(settings.reads, [&](uint64_t at) { client.read_by_io_thread(at); });
    }
    for (int i = 0; i < 4; ++i) {
      rows[i].p50.push_back(measured[i].p50_us);
      rows[i].p99.push_back(measured[i].p99_us);
      rows[i].mean.push_back(measured[i].mean_us);
      rows[i].ratio.push_back(measured[i].p50_us / measured[0].p50_us);
    }
  }
  std::printf("4 KiB reads, depth 1        p50 us   p99 us  mean us   p50 / blocking\n");
  for (const Row& row : rows) {
    std::printf("  %-24s %7.1f  %7.1f  %7.1f  %7.2f\n", row.name, median(row.p50), median(row.p99),
                median(row.mean), median(row.ratio));
  }
}

struct Bulk {
  double gb_per_s;
  double cpu_s_per_gb;  // both sides
};

template <class Read>
Bulk time_bulk(const Server& server, Read read) {
  const uint64_t cpu_ns = own_cpu_ns() + server.cpu_ns();
  const uint64_t from_ns = g_clock.now_ns();
  read();
  const auto ns = static_cast<double>(g_clock.now_ns() - from_ns);
  const auto used_ns = static_cast<double>(own_cpu_ns() + server.cpu_ns() - cpu_ns);
  return {kBulkBytes / ns, used_ns / kBulkBytes};
}

void bench_stripes(const Settings& settings, const Server& blocking, const Server& loop,
                   Bytes memory) {
  const auto window = static_cast<uint32_t>(settings.window);
  std::printf(
      "256 MiB in 512 KiB stripes  blocking GB/s  CPU s/GB   loop GB/s  CPU s/GB   ratio\n");
  for (const uint32_t lanes : {1U, 2U, 4U}) {
    if (settings.lanes != 0 && settings.lanes != lanes) continue;
    std::vector<double> raw;
    std::vector<double> raw_cpu;
    std::vector<double> ours;
    std::vector<double> ours_cpu;
    std::vector<double> ratio;
    for (uint64_t round = 0; round < settings.rounds; ++round) {
      const Bulk a =
          time_bulk(blocking, [&] { blocking_stripes(blocking.port(), lanes, window, memory); });
      check_bytes(memory, 0);
      std::memset(memory.data(), 0, memory.size());
      LoopClient client(client_settings(settings, lanes), loop.port(), memory);
      const Bulk b = time_bulk(loop, [&] { client.read_stripes(); });
      check_bytes(memory, 0);
      std::memset(memory.data(), 0, memory.size());
      raw.push_back(a.gb_per_s);
      raw_cpu.push_back(a.cpu_s_per_gb);
      ours.push_back(b.gb_per_s);
      ours_cpu.push_back(b.cpu_s_per_gb);
      ratio.push_back(b.gb_per_s / a.gb_per_s);
    }
    std::printf("  %u lanes                      %9.2f  %12.3f  %9.2f  %8.3f  %6.2f\n", lanes,
                median(raw), median(raw_cpu), median(ours), median(ours_cpu), median(ratio));
  }
}

void bench_idle(const Settings& settings, const Server& loop, Bytes memory) {
  LoopClient client(client_settings(settings, 1), loop.port(), memory);
  client.read_driving(0);
  const uint64_t server_ns = loop.cpu_ns();
  const uint64_t client_ns = own_cpu_ns();
  timespec second{.tv_sec = 1, .tv_nsec = 0};
  nanosleep(&second, nullptr);
  std::printf("idle for 1 s, connected     server %.3f%%  client %.3f%% of a core\n",
              static_cast<double>(loop.cpu_ns() - server_ns) / 1e7,
              static_cast<double>(own_cpu_ns() - client_ns) / 1e7);
}

int run(const Settings& settings) {
  const uint64_t server_spin_ns = settings.server_spin_us * kUs;
  const auto server_loops = static_cast<uint32_t>(settings.server_loops);
  Server blocking(settings.congestion,
                  [](Fd listener, ConstBytes memory) { serve_blocking(listener, memory); });
  Server loop(settings.congestion, [=](Fd listener, ConstBytes memory) {
    serve_on_loops(std::move(listener), memory, server_loops, server_spin_ns);
  });
  const Bytes memory = touched_memory(kBulkBytes);
  bench_latency(settings, blocking, loop, memory);
  bench_stripes(settings, blocking, loop, memory);
  bench_idle(settings, loop, memory);
  return 0;
}

}  // namespace
}  // namespace gd2fs::bench

int main(int argc, char** argv) {
  gd2fs::bench::Settings settings;
  const struct {
    const char* flag;
    uint64_t* value;
  } flags[] = {{"--rounds", &settings.rounds},
               {"--reads", &settings.reads},
               {"--lanes", &settings.lanes},
               {"--window", &settings.window},
               {"--server-loops", &settings.server_loops},
               {"--client-spin-us", &settings.client_spin_us},
               {"--server-spin-us", &settings.server_spin_us}};
  for (int i = 1; i < argc; i += 2) {
    bool known = false;
    if (i + 1 < argc && std::strcmp(argv[i], "--congestion") == 0) {
      settings.congestion = argv[i + 1];
      known = true;
    }
    for (const auto& flag : flags) {
      if (i + 1 >= argc || std::strcmp(argv[i], flag.flag) != 0) continue;
      *flag.value = std::strtoull(argv[i + 1], nullptr, 10);
      known = true;
    }
    if (!known) {
      std::fprintf(stderr, "unknown or unfinished option %s\n", argv[i]);
      return 2;
    }
  }
  if (settings.window == 0 || settings.window > gd2fs::bench::kWindowMax) {
    std::fprintf(stderr, "--window is 1 to %u\n", gd2fs::bench::kWindowMax);
    return 2;
  }
  return gd2fs::bench::run(settings);
}
