// `gd2fs du [PATH...]`: how many files and bytes are below a path.
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

Status du(const Invocation& invocation, const std::vector<std::string>& typed) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  Table table({{"size_bytes", "SIZE"},
               {"files", "FILES"},
               {"directories", "DIRECTORIES"},
               {"path", "PATH"}});
  for (const std::string& given : typed) {
    GD2FS_ASSIGN(const std::string path, plain_path(given));
    GD2FS_ASSIGN(const std::vector<TreeEntry> tree, list_tree(*files, path));
    uint64_t size_bytes = 0;
    uint64_t directories = 0;
    for (const TreeEntry& found : tree) {
      size_bytes += found.entry.size_bytes;
      directories += found.entry.directory ? 1 : 0;
    }
    table.add({Cell::size(size_bytes), Cell::count(tree.size() - directories),
               Cell::count(directories), Cell::text(path)});
  }
  table.print(invocation.output);
  return {};
}

}  // namespace

void add_du(CLI::App& app, Chosen& chosen) {
  auto paths = std::make_shared<std::vector<std::string>>(1, "/");
  CLI::App* verb = app.add_subcommand("du", "Sum up files and bytes below a path");
  verb->add_option("PATH", *paths, "Files or directories; the top if none is given");
  when_named(verb, chosen, paths, du);
}

}  // namespace gd2fs::cli
