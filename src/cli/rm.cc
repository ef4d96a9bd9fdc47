// `gd2fs rm [-r] PATH...`
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

struct RmOptions {
  std::vector<std::string> paths;
  bool recursive = false;
  bool force = false;
};

Status remove_tree(Files& files, const std::string& path) {
  GD2FS_ASSIGN(const std::vector<TreeEntry> tree, list_tree(files, path));
  // From the back: what is in a directory goes before it.
  for (auto found = tree.rbegin(); found != tree.rend(); ++found) {
    const std::string name = join_path(path, found->name);
    const Status removed = found->entry.directory ? files.rmdir(name) : files.unlink(name);
    if (!removed.ok() && !removed.is(StatusCode::not_found)) return removed;
  }
  return {};
}

Status remove_one(Files& files, const std::string& path, const RmOptions& options) {
  const Result<FileStat> info = files.stat(path);
  if (!info && info.error().is(StatusCode::not_found) && options.force) return {};
  if (!info) return info.error();
  if (!info->directory) return files.unlink(path);
  if (!options.recursive) return {StatusCode::invalid, path + " is a directory; rm -r", EISDIR};
  GD2FS_TRY(remove_tree(files, path));
  return path == "/" ? Status() : files.rmdir(path);
}

Status rm(const Invocation& invocation, const RmOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  for (const std::string& given : options.paths) {
    GD2FS_ASSIGN(const std::string path, plain_path(given));
    GD2FS_TRY(remove_one(*files, path, options));
  }
  return {};
}

}  // namespace

void add_rm(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<RmOptions>();
  CLI::App* verb = app.add_subcommand("rm", "Remove files, with -r directories");
  verb->add_option("PATH", options->paths, "What to remove")->required();
  verb->add_flag("-r,-R,--recursive", options->recursive, "Directories with all that is in them");
  verb->add_flag("-f,--force", options->force, "What is not there is no error");
  when_named(verb, chosen, options, rm);
}

}  // namespace gd2fs::cli
