#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include <sys/statvfs.h>

#include "cli/bench/bench_rows.h"

namespace gd2fs {
namespace {

constexpr uint64_t kSmallWritesBytes = 256 * kMiB;  // of the file of their baseline

struct Shape {
  uint32_t passes;  // over the rows of large transfers
  std::vector<uint64_t> large_sizes;
  std::vector<uint32_t> large_samples;  // of a pass
  uint32_t small_count;
  uint32_t kv_clients;
  uint32_t kv_rounds;
  uint32_t creates;
};

Shape shape_of(const BenchOptions& options) {
  if (options.quick) return {1, {64 * kMiB}, {3}, 500, 4, 3, 1000};
  return {3, {64 * kMiB, 256 * kMiB, 1024 * kMiB}, {8, 4, 2}, 5000, 8, 20, 20000};
}

bool chose(const BenchOptions& options, const char* row) {
  const std::vector<std::string>& chosen = options.rows;
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), row) != chosen.end();
}

bool wants_large_files(const BenchOptions& options) {
  return chose(options, "write") || chose(options, "miss") || chose(options, "hit");
}

// Ours and the baseline's large files, and room for what is removed and not given back yet.
uint64_t drive_bytes(const BenchOptions& options, const Shape& shape) {
  uint64_t bytes = kSmallWritesBytes + 3 * shape.large_sizes.back();
  if (!wants_large_files(options)) return bytes;
  for (size_t i = 0; i < shape.large_sizes.size(); ++i) {
    bytes += 2 * shape.passes * (shape.large_samples[i] + 1) * shape.large_sizes[i];
  }
  return bytes;
}

Status check_room(const BenchOptions& options, const Shape& shape) {
  struct statvfs drive{};
  if (statvfs(options.folder.c_str(), &drive) != 0) {
    return Status::from_errno(errno, options.folder);
  }
  const uint64_t free_bytes = drive.f_bavail * drive.f_frsize;
  const uint64_t needed_bytes = drive_bytes(options, shape);
  if (free_bytes >= needed_bytes) return {};
  const auto gib = [](uint64_t bytes) { return std::to_string(bytes / kGiB) + " GiB"; };
  return {StatusCode::no_space,
          options.folder + " has " + gib(free_bytes) + " free, and these rows need " +
              gib(needed_bytes + kGiB - 1) + ": --dir names another drive, --quick needs less",
          ENOSPC};
}

std::vector<LargeTransfers> sizes_of(const Shape& shape) {
  std::vector<LargeTransfers> sizes;
  sizes.reserve(shape.large_sizes.size());
  for (size_t i = 0; i < shape.large_sizes.size(); ++i) {
    sizes.emplace_back(shape.large_sizes[i], shape.large_samples[i]);
  }
  return sizes;
}

Result<std::vector<LargeTransfers>> large_transfers(Bench& bench, const Shape& shape) {
  // Twice over the same files: of 1 GiB a drive has room for few.
  constexpr int kColdTurns = 2;
  const bool cold = chose(bench.options, "miss");
  const bool hot = chose(bench.options, "hit");
  std::vector<LargeTransfers> sizes = sizes_of(shape);
  for (uint32_t pass = 0; pass < shape.passes; ++pass) {
    for (LargeTransfers& size : sizes) GD2FS_TRY(size.write(bench));
    for (int turn = 0; cold && turn < kColdTurns; ++turn) {
      GD2FS_TRY(bench.server.restart());
      for (LargeTransfers& size : sizes) GD2FS_TRY(size.read_cold(bench));
    }
    if (!hot) continue;
    for (LargeTransfers& size : sizes) GD2FS_TRY(size.read_hot(bench));
  }
  return sizes;
}

Status run_rows(Bench& bench, const Shape& shape, std::vector<BenchRow>* rows, double* creates) {
  const bool show = !bench.options.json;
  const auto keep = [&](Result<BenchRow> row) -> Status {
    if (!row) return row.error();
    row->path = bench.options.path;
    if (bench.options.device >= 0) row->path += " " + bench.options.device_name;
    rows->push_back(*row);
    if (show) {
      const std::string table = bench_rows_table({*row});
      const size_t header = table.find('\n') + 1;
      std::fputs((rows->size() == 1 ? table : table.substr(header)).c_str(), stdout);
      std::fflush(stdout);
    }
    return {};
  };
  const auto wants = [&](const char* name) { return chose(bench.options, name); };
  // The rows of writes make the files that the others read.
  if (wants_large_files(bench.options)) {
    GD2FS_ASSIGN(const std::vector<LargeTransfers> sizes, large_transfers(bench, shape));
    for (const LargeTransfers& size : sizes) {
      GD2FS_TRY(keep(size.write_row()));
      if (wants("miss")) GD2FS_TRY(keep(size.miss_row()));
      if (wants("hit")) GD2FS_TRY(keep(size.hit_row()));
    }
  } else if (wants("small")) {
    LargeTransfers size(shape.large_sizes.front(), 1);
    GD2FS_TRY(size.write(bench));
    GD2FS_TRY(keep(size.write_row()));
  }
  if (wants("memory")) {
    const char* const before = std::getenv("GD2FS_TOKEN_FILE");  // NOLINT(concurrency-mt-unsafe)
    const std::string token = before != nullptr ? before : "";
    GD2FS_ASSIGN(const std::string other, bench.server.add_memory_cluster());
    setenv("GD2FS_TOKEN_FILE", other.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): no client now
    std::vector<LargeTransfers> sizes = sizes_of(shape);
    for (uint32_t pass = 0; pass < shape.passes; ++pass) {
      for (LargeTransfers& size : sizes) GD2FS_TRY(size.write_memory(bench));
    }
    for (const LargeTransfers& size : sizes) GD2FS_TRY(keep(size.memory_write_row()));
    setenv("GD2FS_TOKEN_FILE", token.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  }
  if (wants("small")) {
    bench.server.rest();
    for (uint32_t size : {4096u, 1u << 20}) {
      for (uint32_t depth : {1u, 32u}) {
        const uint32_t count = size == 4096 ? shape.small_count * 4 : shape.small_count / 5;
        GD2FS_TRY(keep(small_hit_row(bench, size, depth, count)));
      }
    }
    GD2FS_TRY(keep(small_write_row(bench, 32, shape.small_count * 2)));
  }
  if (wants("kv")) {
    GD2FS_ASSIGN(const std::vector<BenchRow> kv,
                 kv_cache_rows(bench, shape.kv_clients, shape.kv_rounds));
    for (const BenchRow& row : kv) GD2FS_TRY(keep(row));
  }
  if (wants("create")) {
    GD2FS_ASSIGN(*creates, creates_per_second(bench, 4, shape.creates));
  }
  return {};
}

Status run(const BenchOptions& options, std::vector<BenchRow>* rows, double* creates) {
  const Shape shape = shape_of(options);
  GD2FS_TRY(check_room(options, shape));
  // NOLINTBEGIN(concurrency-mt-unsafe): before threads. A path that cannot be had is an error, not
  // another path's figures.
  if (options.path == "shm") {
    setenv("GD2FS_REQUIRE", "shm", 1);
  } else {
    setenv("GD2FS_SHM", "off", 1);
  }
  // NOLINTEND(concurrency-mt-unsafe)
  const uint64_t largest = shape.large_sizes.back();
  // The raw sender forks first, while this process has one thread.
  GD2FS_ASSIGN(RawSockets sockets, RawSockets::start(options.lanes, largest));
  // Of a slab, a quarter may be acknowledged from memory and not be on the drive yet: that bound is
  // not what the rows of durability memory are to show.
  const uint64_t slab = options.slab_bytes != 0 ? options.slab_bytes : 5 * largest + 512 * kMiB;
  GD2FS_ASSIGN(BenchServer server, BenchServer::start(options.program, options.folder, slab));
  GD2FS_ASSIGN(RawDrive drive, RawDrive::open(server.folder() + "/baseline", kSmallWritesBytes));
  BenchBuffer data(largest);
  BenchBuffer memory(std::max(largest, 2 * kSmallFileBytes));
  Random random(options.seed != 0 ? options.seed : Random::seed_from_kernel());
  random.fill(data.bytes());
  Bench bench{options, server, sockets, drive, data, memory, random.fork()};
  return run_rows(bench, shape, rows, creates);
}

}  // namespace

int run_bench(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  double creates = 0;
  if (!options.json) {
    std::printf("baselines: %s for hits, O_DIRECT of %s for misses and writes\n",
                options.path == "shm"
                    ? "memcpy by one thread or two"
                    : ("raw sockets (" + std::to_string(options.lanes) + " lanes)").c_str(),
                options.folder.c_str());
  }
  const Status status = run(options, &rows, &creates);
  if (!status.ok()) {
    std::fprintf(stderr, "gd2fs bench: %s\n", status.to_string().c_str());
    return 1;
  }
  if (options.json) {
    std::fputs(bench_rows_json(rows).c_str(), stdout);
    if (creates > 0) {
      std::fprintf(stderr, "durable creates/s, 4 clients at depth 1: %.0f\n", creates);
    }
  } else if (creates > 0) {
    std::printf("durable creates/s, 4 clients at depth 1: %.0f\n", creates);
  }
  return 0;
}

}  // namespace gd2fs
