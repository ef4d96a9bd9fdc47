// `gd2fs mkdir PATH...`
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

struct MkdirOptions {
  std::vector<std::string> paths;
  bool parents = false;
};

Status mkdir(const Invocation& invocation, const MkdirOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  for (const std::string& given : options.paths) {
    GD2FS_ASSIGN(const std::string path, plain_path(given));
    GD2FS_TRY(options.parents ? files->mkdir_all(path) : files->mkdir(path));
  }
  return {};
}

}  // namespace

void add_mkdir(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<MkdirOptions>();
  CLI::App* verb = app.add_subcommand("mkdir", "Make directories");
  verb->add_option("PATH", options->paths, "Directories to make")->required();
  verb->add_flag("-p", options->parents, "Also those above; one that exists is no error");
  when_named(verb, chosen, options, mkdir);
}

}  // namespace gd2fs::cli
