// `gd2fs verify PATH`: reads every byte below a path and compares the files with the manifest.
//
// Without a manifest it still reads everything, and with it every checksum on the way is checked.
#include <unistd.h>

#include "cli/command.h"
#include "cli/copy.h"
#include "cli/remote_manifest.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

struct Finding {
  std::string path;
  std::string state;  // ok, damaged, missing, extra
  std::string sha256;
  uint64_t size_bytes = 0;
};

// How a file stands, of which the read ended with `job`.
std::string state_of(const CopyJob& job, bool manifest_there) {
  if (!job.status.ok()) return job.status.is(StatusCode::not_found) ? "missing" : "damaged";
  return manifest_there && job.wanted_sha256.empty() ? "extra" : "ok";
}

std::vector<CopyJob> plan(const std::string& path, const std::vector<TreeEntry>& tree,
                          const RemoteManifest& manifest, uint64_t* size_bytes) {
  std::vector<CopyJob> jobs;
  for (const TreeEntry& found : tree) {
    if (found.entry.directory || found.name == kManifestName) continue;
    CopyJob job;
    job.kind = CopyJob::Kind::check;
    job.remote = join_path(path, found.name);
    job.name = found.name;
    job.wanted_sha256 = manifest.sha256_of(found.name);
    jobs.push_back(std::move(job));
    *size_bytes += found.entry.size_bytes;
  }
  return jobs;
}

std::vector<Finding> findings_of(const std::string& path, const std::vector<CopyJob>& jobs,
                                 const RemoteManifest& manifest) {
  std::vector<Finding> findings;
  std::map<std::string, std::string> unseen = manifest.files();
  for (const CopyJob& job : jobs) {
    unseen.erase(job.name);
    findings.push_back({job.remote, state_of(job, manifest.there()), job.sha256, job.moved_bytes});
  }
  for (const auto& [name, hash] : unseen) {
    findings.push_back({join_path(path, name), "missing", hash, 0});
  }
  return findings;
}

void print_findings(const Invocation& invocation, const std::vector<Finding>& findings,
                    const std::vector<CopyJob>& jobs, bool manifest_there) {
  Table table({{"state", "STATE"}, {"size_bytes", "SIZE"}, {"sha256", "SHA256"}, {"path", "PATH"}});
  size_t bad = 0;
  for (const Finding& finding : findings) {
    const bool fine = finding.state == "ok";
    bad += finding.state == "damaged" || finding.state == "missing" ? 1 : 0;
    // A person wants to see what is not as it should be, a program everything.
    if (fine && invocation.output == OutputFormat::table) continue;
    table.add({Cell::text(finding.state), Cell::size(finding.size_bytes),
               Cell::text(finding.sha256), Cell::text(finding.path)});
  }
  if (invocation.output == OutputFormat::json || table.rows() > 0) table.print(invocation.output);
  for (const CopyJob& job : jobs) {
    if (!job.status.ok())
      std::fprintf(stderr, "gd2fs: %s\n", std::string(job.status.text()).c_str());
  }
  if (invocation.output == OutputFormat::table && !invocation.quiet) {
    std::printf("%zu files, %zu of them wrong%s\n", findings.size(), bad,
                manifest_there ? "" : "; there is no manifest, so the files were only read");
  }
}

// ok: nothing is wrong; corrupt with no text: it was printed.
Result<bool> verify(const Invocation& invocation, const std::string& typed) {
  catch_interrupts();
  GD2FS_ASSIGN(const std::string path, plain_path(typed));
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  GD2FS_ASSIGN(const std::vector<TreeEntry> tree, list_tree(*files, path));
  RemoteManifest manifest;
  const bool one_file = tree.size() == 1 && tree[0].name.empty();
  if (!one_file) {
    GD2FS_ASSIGN(manifest, RemoteManifest::find(*files, path));
  }
  uint64_t size_bytes = 0;
  std::vector<CopyJob> jobs = plan(path, tree, manifest, &size_bytes);
  RealClock clock;
  Progress progress(clock, !invocation.quiet && isatty(STDERR_FILENO) == 1, "verify", jobs.size(),
                    size_bytes);
  CopyOptions options = copy_options(invocation.config);
  options.stop_at_first_failure = false;
  const Status first = run_copies(*files, jobs, options, progress);
  if (first.is(StatusCode::canceled)) return fail(first);
  // The cluster's not being there says nothing of the files.
  if (first.is(StatusCode::unavailable) || first.is(StatusCode::timed_out)) return fail(first);
  const std::vector<Finding> findings = findings_of(path, jobs, manifest);
  print_findings(invocation, findings, jobs, manifest.there());
  return std::none_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.state == "damaged" || finding.state == "missing";
  });
}

}  // namespace

void add_verify(CLI::App& app, Chosen& chosen) {
  auto path = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("verify", "Read files and compare them with their manifest");
  verb->add_option("PATH", *path, "A directory that `put` wrote, or a file")->required();
  verb->callback([&chosen, path] {
    chosen.run = [path](const Invocation& invocation) -> int {
      const Result<bool> fine = verify(invocation, *path);
      if (!fine) return report_failure(fine.error());
      return *fine ? kExitOk : kExitDamaged;
    };
  });
}

}  // namespace gd2fs::cli
