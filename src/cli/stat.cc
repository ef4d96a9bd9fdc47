// `gd2fs stat PATH...`: what is known of files.
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

Status stat(const Invocation& invocation, const std::vector<std::string>& typed) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  Table table({{"path", "PATH"},
               {"type", "TYPE"},
               {"size_bytes", "SIZE"},
               {"chunk_bytes", "CHUNK"},
               {"inode", "INODE"},
               {"generation", "GENERATION"},
               {"mtime_us", "CHANGED (UTC)"},
               {"ctime_us", "CREATED (UTC)"},
               {"pinned", "PINNED"}});
  for (const std::string& given : typed) {
    GD2FS_ASSIGN(const std::string path, plain_path(given));
    GD2FS_ASSIGN(const FileStat info, files->stat(path));
    table.add({Cell::text(path), Cell::text(info.directory ? "directory" : "file"),
               Cell::size(info.size_bytes), Cell::size(info.chunk_bytes), Cell::count(info.inode),
               Cell::count(info.generation), Cell::time(info.mtime_us), Cell::time(info.ctime_us),
               Cell::yes_no(info.pinned)});
  }
  if (table.rows() == 1) {
    table.print_record(invocation.output);
  } else {
    table.print(invocation.output);
  }
  return {};
}

}  // namespace

void add_stat(CLI::App& app, Chosen& chosen) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = app.add_subcommand("stat", "Show size, inode and times of files");
  verb->add_option("PATH", *paths, "Files or directories")->required();
  when_named(verb, chosen, paths, stat);
}

}  // namespace gd2fs::cli
