// meta_bench: durable creates per second of the embedded metadata store, beside what the same drive
// does in plain 4 KiB write + fdatasync in the same run.
//
//   meta_bench DIRECTORY [clients=4] [seconds=3] [rounds=3]
//
// Each client is a coroutine that creates one file after another (depth 1), all in one directory.
// Rounds alternate between the drive alone and the store.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

#include "base/random.h"
#include "disk/disk.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include "meta/namespace.h"
#include "meta/sqlite_engine.h"

namespace gd2fs {
namespace {

struct Round {
  std::vector<double> us;
  double seconds = 0;
  double per_second() const { return static_cast<double>(us.size()) / seconds; }
  double percentile(double part) {
    if (us.empty()) return 0;
    std::sort(us.begin(), us.end());
    return us[static_cast<size_t>(part * static_cast<double>(us.size() - 1))];
  }
};

struct Bench {
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  std::unique_ptr<Disk> disk;
  std::unique_ptr<SqliteMetaStore> store;
  std::unique_ptr<Namespace> names;
  uint16_t cluster = 0;
  uint64_t files = 0;
  uint64_t end_ns = 0;
  int running = 0;
  Status failure;
};

template <class T>
Task<void> keep(Bench* bench, Task<T> task, std::optional<T>* out) {
  out->emplace(co_await task);
  bench->loop.stop();
}

[[noreturn]] void die(const Status& why) {
  std::fprintf(stderr, "meta_bench: %s\n", why.to_string().c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe): nothing of ours is needed any more
}

// Ends the program if the step failed.
template <class T>
T must(Bench& bench, Task<Result<T>> task) {
  std::optional<Result<T>> out;
  bench.loop.spawn(keep(&bench, std::move(task), &out));
  while (!out) bench.loop.turn(UINT64_MAX);
  if (!*out) die(out->error());
  return std::move(**out);
}

Task<void> create_files(Bench* bench, uint64_t client, Round* round) {
  MutationTag tag{.incarnation = client, .sequence = 0, .low = 0};
  while (bench->clock.now_ns() < bench->end_ns) {
    tag.low = ++tag.sequence;
    const uint64_t begin_ns = bench->clock.now_ns();
    std::string path = "/bench/file-" + std::to_string(bench->files++);
    auto made = co_await bench->names->create(bench->cluster, std::move(path), {}, tag);
    if (!made) {
      bench->failure = made.error();
      break;
    }
    round->us.push_back(static_cast<double>(bench->clock.now_ns() - begin_ns) / 1000);
  }
  --bench->running;
}

Round run_creates(Bench& bench, int clients, uint64_t seconds, uint64_t first_client) {
  Round round;
  const uint64_t begin_ns = bench.clock.now_ns();
  bench.end_ns = begin_ns + seconds * kSecond;
  bench.running = clients;
  for (int i = 0; i < clients; ++i) {
    bench.loop.spawn(create_files(&bench, first_client + static_cast<uint64_t>(i), &round));
  }
  while (bench.running > 0) bench.loop.turn(UINT64_MAX);
  round.seconds = static_cast<double>(bench.clock.now_ns() - begin_ns) / 1e9;
  return round;
}

Round run_syncs(Bench& bench, uint64_t seconds) {
  Round round;
  auto file = bench.disk->open("sync-baseline", OpenMode::create, OpenKind::cached);
  if (!file) die(file.error());
  std::vector<std::byte> page(4096, std::byte{7});
  constexpr uint64_t kPages = 1024;
  // Written once before, so that the rounds overwrite: no size and no extent changes.
  for (uint64_t i = 0; i < kPages; ++i) {
    const Status status = (*file)->write_at(i * page.size(), page);
    if (!status.ok()) die(status);
  }
  const Status synced = (*file)->sync();
  if (!synced.ok()) die(synced);
  const uint64_t begin_ns = bench.clock.now_ns();
  for (uint64_t i = 0; bench.clock.now_ns() < begin_ns + seconds * kSecond; ++i) {
    const uint64_t start_ns = bench.clock.now_ns();
    Status status = (*file)->write_at(i % kPages * page.size(), page);
    if (status.ok()) status = (*file)->sync();
    if (!status.ok()) die(status);
    round.us.push_back(static_cast<double>(bench.clock.now_ns() - start_ns) / 1000);
  }
  round.seconds = static_cast<double>(bench.clock.now_ns() - begin_ns) / 1e9;
  return round;
}

void print(const char* what, Round& round) {
  std::printf("%-28s %9.0f /s   p50 %7.0f us   p99 %7.0f us\n", what, round.per_second(),
              round.percentile(0.50), round.percentile(0.99));
  std::fflush(stdout);
}

int bench_main(const std::string& directory, int clients, uint64_t seconds, int rounds) {
  std::filesystem::create_directories(directory);
  Bench bench;
  auto disk = open_disk(bench.loop, directory, DiskEngine::threads);
  if (!disk) {
    std::fprintf(stderr, "meta_bench: %s\n", disk.error().to_string().c_str());
    return 1;
  }
  bench.disk = std::move(*disk);
  ThreadWorker worker("meta-bench");
  SqliteMetaOptions options;
  options.file.new_deployment_id = 1;
  bench.store = must(bench, SqliteMetaStore::open(bench.loop, *bench.disk, worker, options));
  bench.names = must(bench, Namespace::open(bench.loop, *bench.store));
  const uint64_t session = Random(Random::seed_from_kernel()).next() | 1;
  MutationTag tag{.incarnation = session, .sequence = 1, .low = 1};
  Cluster cluster =
      must(bench, bench.names->create_cluster("b" + std::to_string(session), {}, "", tag));
  bench.cluster = cluster.id;
  tag.low = ++tag.sequence;
  must(bench, bench.names->mkdir(bench.cluster, "/bench", tag));
  std::vector<double> ratios;
  for (int i = 0; i < rounds; ++i) {
    Round syncs = run_syncs(bench, seconds);
    print("write 4 KiB + fdatasync", syncs);
    Round creates =
        run_creates(bench, clients, seconds, session + 1000 * static_cast<uint64_t>(i + 1));
    print("durable creates", creates);
    if (!bench.failure.ok()) {
      std::fprintf(stderr, "meta_bench: %s\n", bench.failure.to_string().c_str());
      return 1;
    }
    ratios.push_back(creates.per_second() / syncs.per_second());
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("creates per fdatasync, median of %d rounds: %.2f\n", rounds,
              ratios[ratios.size() / 2]);
  Task<Status> close = bench.store->close();
  std::optional<Status> closed;
  bench.names.reset();
  bench.loop.spawn(keep(&bench, std::move(close), &closed));
  while (!closed) bench.loop.turn(UINT64_MAX);
  return closed->ok() ? 0 : 1;
}

}  // namespace
}  // namespace gd2fs

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: meta_bench DIRECTORY [clients=4] [seconds=3] [rounds=3]\n");
    return 2;
  }
  const int clients = argc > 2 ? std::atoi(argv[2]) : 4;
  const int seconds = argc > 3 ? std::atoi(argv[3]) : 3;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 3;
  if (clients < 1 || seconds < 1 || rounds < 1) return 2;
  return gd2fs::bench_main(argv[1], clients, static_cast<uint64_t>(seconds), rounds);
}
