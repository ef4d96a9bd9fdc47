// `gd2fs get SOURCE... [TARGET]`: copies files and directories out of the cluster.
//
// Targets are understood as by `put`; without one it is the current directory. Where a directory
// has a manifest, every file is checked against it.
#include <filesystem>
#include <unistd.h>

#include "cli/command.h"
#include "cli/copy.h"
#include "cli/remote_manifest.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

namespace fs = std::filesystem;

struct GetOptions {
  std::vector<std::string> paths;
};

std::string local_target(const std::string& remote, const std::string& typed, bool several,
                         bool directory) {
  std::error_code ignored;
  const bool into = several || typed.ends_with('/') || typed == "." ||
                    (!directory && fs::is_directory(typed, ignored));
  if (!into) return typed;
  const std::string name = base_name(remote);
  return name.empty() ? typed : (fs::path(typed) / name).string();
}

Status make_directory(const std::string& path) {
  std::error_code code;
  fs::create_directories(path, code);
  return code ? Status::from_errno(code.value(), path) : Status();
}

Status plan_source(Files& files, const std::string& remote, const std::string& target, bool several,
                   std::vector<CopyJob>* jobs, uint64_t* size_bytes) {
  GD2FS_ASSIGN(const std::vector<TreeEntry> tree, list_tree(files, remote));
  const bool directory = tree.size() != 1 || !tree[0].name.empty();
  const std::string top = local_target(remote, target, several, directory);
  RemoteManifest manifest;
  if (directory) {
    GD2FS_TRY(make_directory(top));
    GD2FS_ASSIGN(manifest, RemoteManifest::find(files, remote));
  }
  for (const TreeEntry& found : tree) {
    if (found.entry.directory) {
      GD2FS_TRY(make_directory((fs::path(top) / found.name).string()));
      continue;
    }
    if (found.name.ends_with(kPartSuffix)) continue;
    CopyJob job;
    job.kind = CopyJob::Kind::get;
    job.remote = join_path(remote, found.name);
    job.local = found.name.empty() ? top : (fs::path(top) / found.name).string();
    job.name = found.name;
    job.wanted_sha256 = manifest.sha256_of(found.name);
    jobs->push_back(std::move(job));
    *size_bytes += found.entry.size_bytes;
  }
  return manifest.check_complete(remote, tree);
}

void print_result(const Invocation& invocation, const std::vector<CopyJob>& jobs,
                  const Progress& progress) {
  if (invocation.output == OutputFormat::json) {
    Table table(
        {{"path", "PATH"}, {"local", "LOCAL"}, {"size_bytes", "SIZE"}, {"sha256", "SHA256"}});
    for (const CopyJob& job : jobs) {
      table.add({Cell::text(job.remote), Cell::text(job.local), Cell::size(job.moved_bytes),
                 Cell::text(job.sha256)});
    }
    table.print(invocation.output);
    return;
  }
  if (invocation.quiet) return;
  const double seconds = progress.seconds();
  std::printf("got %zu files, %s in %.2f s, %s\n", jobs.size(),
              readable_size(progress.done_bytes()).c_str(), seconds,
              readable_rate(static_cast<double>(progress.done_bytes()) / seconds).c_str());
}

Status get(const Invocation& invocation, const GetOptions& options) {
  catch_interrupts();
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  std::vector<std::string> sources = options.paths;
  std::string target = ".";
  if (sources.size() > 1) {
    target = sources.back();
    sources.pop_back();
  }
  const bool several = sources.size() > 1;
  if (several || target.ends_with('/')) GD2FS_TRY(make_directory(target));
  std::vector<CopyJob> jobs;
  uint64_t size_bytes = 0;
  for (const std::string& typed : sources) {
    GD2FS_ASSIGN(const std::string remote, plain_path(typed));
    GD2FS_TRY(plan_source(*files, remote, target, several, &jobs, &size_bytes));
  }
  RealClock clock;
  Progress progress(clock, !invocation.quiet && isatty(STDERR_FILENO) == 1, "get", jobs.size(),
                    size_bytes);
  GD2FS_TRY(run_copies(*files, jobs, copy_options(invocation.config), progress));
  print_result(invocation, jobs, progress);
  return {};
}

}  // namespace

void add_get(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<GetOptions>();
  CLI::App* verb = app.add_subcommand("get", "Copy files and directories out of the cluster");
  verb->add_option("PATHS", options->paths, "SOURCE... [TARGET]")
      ->required()
      ->type_name("SOURCE... [TARGET]");
  when_named(verb, chosen, options, get);
}

}  // namespace gd2fs::cli
