// `gd2fs put SOURCE... TARGET`: copies local files and directories into the cluster.
//
// A directory is copied *as* TARGET; with a slash behind TARGET, or several sources, *into* it.
// Each directory gets a manifest, written last, so that it is complete when it has one.
#include <filesystem>
#include <unistd.h>

#include "cli/command.h"
#include "cli/copy.h"
#include "cli/local_tree.h"
#include "cli/manifest.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

struct PutOptions {
  std::vector<std::string> paths;  // the last one is the target
};

// What one source becomes.
struct Source {
  std::string local;
  std::string remote;
  bool directory = false;
  size_t first_job = 0;
  size_t end_job = 0;
};

Result<std::string> target_of(Files& files, const std::string& local, const std::string& typed,
                              bool several, bool directory) {
  GD2FS_ASSIGN(std::string target, plain_path(typed));
  bool into = several || typed.ends_with('/');
  if (!into && !directory) {
    const Result<FileStat> there = files.stat(target);
    into = there && there->directory;
  }
  if (!into) return target;
  std::string name = std::filesystem::absolute(local).lexically_normal().string();
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  return join_path(target, base_name(name));
}

Status plan_source(Files& files, const std::string& typed_target, bool several, Source& source,
                   std::vector<CopyJob>* jobs, uint64_t* size_bytes) {
  GD2FS_ASSIGN(const std::vector<LocalEntry> entries, list_local(source.local));
  source.directory = entries.size() != 1 || !entries[0].name.empty();
  GD2FS_ASSIGN(source.remote,
               target_of(files, source.local, typed_target, several, source.directory));
  if (source.directory) {
    GD2FS_TRY(files.mkdir_all(source.remote));
    // While the directory changes it is not complete.
    const Status gone = files.unlink(join_path(source.remote, kManifestName));
    if (!gone.ok() && !gone.is(StatusCode::not_found)) return gone;
  }
  source.first_job = jobs->size();
  for (const LocalEntry& entry : entries) {
    const std::string remote = join_path(source.remote, entry.name);
    if (entry.directory) {
      GD2FS_TRY(files.mkdir_all(remote));
      continue;
    }
    CopyJob job;
    job.kind = CopyJob::Kind::put;
    job.local = entry.name.empty() ? source.local : source.local + "/" + entry.name;
    job.remote = remote;
    job.name = entry.name;
    jobs->push_back(std::move(job));
    *size_bytes += entry.size_bytes;
  }
  source.end_job = jobs->size();
  return {};
}

Status leave_manifest(Files& files, const Source& source, const std::vector<CopyJob>& jobs) {
  Manifest manifest;
  for (size_t i = source.first_job; i < source.end_job; ++i) {
    manifest.entries.push_back({jobs[i].name, jobs[i].sha256});
    manifest.size_bytes += jobs[i].moved_bytes;
  }
  return files.write_small(join_path(source.remote, kManifestName),
                           write_manifest(std::move(manifest)));
}

void print_result(const Invocation& invocation, const std::vector<CopyJob>& jobs,
                  const Progress& progress) {
  if (invocation.output == OutputFormat::json) {
    Table table({{"path", "PATH"}, {"size_bytes", "SIZE"}, {"sha256", "SHA256"}});
    for (const CopyJob& job : jobs) {
      table.add({Cell::text(job.remote), Cell::size(job.moved_bytes), Cell::text(job.sha256)});
    }
    table.print(invocation.output);
    return;
  }
  if (invocation.quiet) return;
  const double seconds = progress.seconds();
  std::printf("put %zu files, %s in %.2f s, %s\n", jobs.size(),
              readable_size(progress.done_bytes()).c_str(), seconds,
              readable_rate(static_cast<double>(progress.done_bytes()) / seconds).c_str());
}

Status put(const Invocation& invocation, const PutOptions& options) {
  if (options.paths.size() < 2) return {StatusCode::invalid, "put SOURCE... TARGET"};
  catch_interrupts();
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  const std::string& target = options.paths.back();
  std::vector<Source> sources;
  std::vector<CopyJob> jobs;
  uint64_t size_bytes = 0;
  const bool several = options.paths.size() > 2;
  if (several || target.ends_with('/')) {
    GD2FS_ASSIGN(const std::string folder, plain_path(target));
    GD2FS_TRY(files->mkdir_all(folder));
  }
  for (size_t i = 0; i + 1 < options.paths.size(); ++i) {
    Source& source = sources.emplace_back();
    source.local = options.paths[i];
    GD2FS_TRY(plan_source(*files, target, several, source, &jobs, &size_bytes));
  }
  RealClock clock;
  Progress progress(clock, !invocation.quiet && isatty(STDERR_FILENO) == 1, "put", jobs.size(),
                    size_bytes);
  GD2FS_TRY(run_copies(*files, jobs, copy_options(invocation.config), progress));
  for (const Source& source : sources) {
    if (source.directory) GD2FS_TRY(leave_manifest(*files, source, jobs));
  }
  print_result(invocation, jobs, progress);
  return {};
}

}  // namespace

void add_put(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<PutOptions>();
  CLI::App* verb = app.add_subcommand("put", "Copy local files and directories into the cluster");
  verb->add_option("PATHS", options->paths, "SOURCE... TARGET")
      ->required()
      ->type_name("SOURCE... TARGET");
  when_named(verb, chosen, options, put);
}

}  // namespace gd2fs::cli
