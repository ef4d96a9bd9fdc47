// `gd2fs mv FROM TO`: renames a file or a directory.
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

struct MvOptions {
  std::string from;
  std::string to;
};

Status mv(const Invocation& invocation, const MvOptions& options) {
  GD2FS_ASSIGN(const std::string from, plain_path(options.from));
  GD2FS_ASSIGN(std::string to, plain_path(options.to));
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  const Result<FileStat> target = files->stat(to);
  if (target && target->directory) to = join_path(to, base_name(from));
  return files->rename(from, to);
}

}  // namespace

void add_mv(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<MvOptions>();
  CLI::App* verb = app.add_subcommand("mv", "Rename a file or a directory");
  verb->add_option("FROM", options->from, "What to rename")->required();
  verb->add_option("TO", options->to, "Its new path, or the directory to move it into")->required();
  when_named(verb, chosen, options, mv);
}

}  // namespace gd2fs::cli
