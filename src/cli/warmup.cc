// `gd2fs warmup PATH`: brings files into the servers' memory before somebody waits for them.
#include <unistd.h>

#include "cli/cached_files.h"
#include "cli/command.h"
#include "cli/progress.h"

namespace gd2fs::cli {
namespace {

constexpr uint64_t kStretchBytes = 64 * kMiB;  // one request's
constexpr size_t kStretchesMax = 4;            // in flight

struct WarmupOptions {
  std::string path;
  bool check = false;
  bool evict = false;
};

// All of one file, in order, a few stretches at a time.
Status fetch(Files& files, CachedFile* file, Progress& progress) {
  Files::Lane lane(files);
  file->resident_bytes = 0;
  uint64_t next = 0;
  for (size_t in_flight = 0; next < file->size_bytes || in_flight > 0;) {
    if (next < file->size_bytes && in_flight < kStretchesMax) {
      xfer_gd2fs_op op = {};
      op.opcode = XFER_GD2FS_OP_ADVISE;
      op.advice = XFER_GD2FS_ADVICE_PREFETCH;
      op.off = next;
      op.size = std::min(kStretchBytes, file->size_bytes - next);
      GD2FS_TRY(lane.submit(op, op.size, file->path));
      next += op.size;
      ++in_flight;
      continue;
    }
    GD2FS_ASSIGN(const Files::Lane::Ended ended, lane.wait());
    if (!ended.status.ok()) return ended.status.with(file->path);
    --in_flight;
    file->resident_bytes += ended.value;
    progress.add_bytes(ended.number);
    progress.show();
  }
  return {};
}

Status handle(Files& files, const WarmupOptions& options, CachedFile* file, Progress& progress) {
  if (options.check) return ask_residency(files, file);
  if (options.evict) {
    const Result<uint64_t> dropped = files.advise(file->path, XFER_GD2FS_ADVICE_DROP);
    if (!dropped) return dropped.error();
    return ask_residency(files, file);
  }
  return fetch(files, file, progress);
}

// Whether all is as it was asked for: in memory, or (evict) out of it.
Result<bool> warmup(const Invocation& invocation, const WarmupOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  GD2FS_ASSIGN(std::vector<CachedFile> found, files_below(*files, options.path));
  uint64_t size_bytes = 0;
  for (const CachedFile& file : found) size_bytes += file.size_bytes;
  RealClock clock;
  const char* const what = options.check ? "check" : options.evict ? "evict" : "warmup";
  Progress progress(clock, !invocation.quiet && isatty(STDERR_FILENO) == 1, what, found.size(),
                    size_bytes);
  Table table({{"size_bytes", "SIZE"}, {"resident_bytes", "IN MEMORY"}, {"path", "PATH"}});
  uint64_t resident_bytes = 0;
  for (CachedFile& file : found) {
    const Status status = handle(*files, options, &file, progress);
    if (!status.ok()) {
      progress.finish();
      return fail(status);
    }
    progress.add_file();
    progress.show();
    resident_bytes += file.resident_bytes;
    table.add(
        {Cell::size(file.size_bytes), Cell::size(file.resident_bytes), Cell::text(file.path)});
  }
  progress.finish();
  if (!invocation.quiet || invocation.output == OutputFormat::json) table.print(invocation.output);
  return options.evict ? resident_bytes == 0 : resident_bytes == size_bytes;
}

}  // namespace

void add_warmup(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<WarmupOptions>();
  CLI::App* verb = app.add_subcommand("warmup", "Bring files into the servers' memory");
  verb->add_option("PATH", options->path, "A file, or a directory with all below it")->required();
  CLI::Option* check = verb->add_flag("--check", options->check, "Only look what is there");
  verb->add_flag("--evict", options->evict, "Drop them from there instead")->excludes(check);
  verb->callback([&chosen, options] {
    chosen.run = [options](const Invocation& invocation) -> int {
      const Result<bool> whole = warmup(invocation, *options);
      if (!whole) return report_failure(whole.error());
      return *whole ? kExitOk : kExitDamaged;
    };
  });
}

}  // namespace gd2fs::cli
