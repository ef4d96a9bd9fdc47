// `gd2fs ls [PATH]`: what is in a directory.
#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

struct LsOptions {
  std::string path = "/";
  bool details = false;
  bool recursive = false;
};

Result<std::vector<TreeEntry>> entries_of(Files& files, const std::string& path, bool recursive) {
  if (recursive) return list_tree(files, path);
  GD2FS_ASSIGN(const FileStat info, files.stat(path));
  if (!info.directory) return list_tree(files, path);
  std::vector<TreeEntry> entries;
  GD2FS_ASSIGN(std::vector<FileEntry> listed, files.list(path));
  for (FileEntry& entry : listed) {
    const std::string name = entry.name;
    entries.push_back({name, std::move(entry)});
  }
  return entries;
}

Status ls(const Invocation& invocation, const LsOptions& options) {
  GD2FS_ASSIGN(const std::string path, plain_path(options.path));
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  GD2FS_ASSIGN(const std::vector<TreeEntry> entries, entries_of(*files, path, options.recursive));
  if (invocation.output == OutputFormat::table && !options.details) {
    for (const TreeEntry& found : entries) {
      const std::string& name = found.name.empty() ? path : found.name;
      std::printf("%s%s\n", printable(name).c_str(), found.entry.directory ? "/" : "");
    }
    return {};
  }
  Table table({{"type", "TYPE"},
               {"size_bytes", "SIZE"},
               {"mtime_us", "CHANGED (UTC)"},
               {"inode", "INODE"},
               {"name", "NAME"}});
  for (const TreeEntry& found : entries) {
    const FileEntry& entry = found.entry;
    table.add({Cell::text(entry.directory ? "directory" : "file"), Cell::size(entry.size_bytes),
               Cell::time(entry.mtime_us), Cell::count(entry.inode),
               Cell::text(found.name.empty() ? path : found.name)});
  }
  table.print(invocation.output);
  return {};
}

}  // namespace

void add_ls(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<LsOptions>();
  CLI::App* verb = app.add_subcommand("ls", "List a directory");
  verb->add_option("PATH", options->path, "Directory or file; the top if it is not given");
  verb->add_flag("-l", options->details, "With size, time and inode");
  verb->add_flag("-r,-R,--recursive", options->recursive, "And everything below");
  when_named(verb, chosen, options, ls);
}

}  // namespace gd2fs::cli
