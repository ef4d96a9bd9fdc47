// Paths as people type them, and trees of files.
#include <algorithm>

#include "cli/files.h"

namespace gd2fs::cli {

std::string join_path(const std::string& directory, std::string_view name) {
  if (name.empty()) return directory;
  return (directory == "/" ? "" : directory) + "/" + std::string(name);
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string parent_path(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

Result<std::string> plain_path(const std::string& typed) {
  if (typed.empty() || typed[0] != '/') {
    return fail(StatusCode::invalid, "'" + typed + "': paths in a cluster begin with '/'");
  }
  std::string plain;
  for (char c : typed) {
    if (c == '/' && !plain.empty() && plain.back() == '/') continue;
    plain += c;
  }
  if (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}

namespace {

Status add_tree(Files& files, const std::string& root, const std::string& below,
                std::vector<TreeEntry>* tree) {
  GD2FS_ASSIGN(std::vector<FileEntry> entries, files.list(join_path(root, below)));
  for (FileEntry& entry : entries) {
    const std::string name = below.empty() ? entry.name : below + "/" + entry.name;
    const bool directory = entry.directory;
    tree->push_back({name, std::move(entry)});
    if (!directory) continue;
    // Somebody may have removed it meanwhile.
    const Status added = add_tree(files, root, name, tree);
    if (!added.ok() && !added.is(StatusCode::not_found)) return added;
  }
  return {};
}

}  // namespace

Result<std::vector<TreeEntry>> list_tree(Files& files, const std::string& path) {
  GD2FS_ASSIGN(const FileStat info, files.stat(path));
  std::vector<TreeEntry> tree;
  if (!info.directory) {
    tree.push_back({"",
                    {.name = base_name(path),
                     .size_bytes = info.size_bytes,
                     .mtime_us = info.mtime_us,
                     .inode = info.inode,
                     .directory = false}});
    return tree;
  }
  GD2FS_TRY(add_tree(files, path, "", &tree));
  return tree;
}

}  // namespace gd2fs::cli
