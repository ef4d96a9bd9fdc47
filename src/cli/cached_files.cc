#include "cli/cached_files.h"

namespace gd2fs::cli {

Result<std::vector<CachedFile>> files_below(Files& files, const std::string& typed) {
  GD2FS_ASSIGN(const std::string path, plain_path(typed));
  GD2FS_ASSIGN(const std::vector<TreeEntry> tree, list_tree(files, path));
  std::vector<CachedFile> found;
  for (const TreeEntry& entry : tree) {
    if (entry.entry.directory) continue;
    found.push_back({.path = entry.name.empty() ? path : join_path(path, entry.name),
                     .size_bytes = entry.entry.size_bytes});
  }
  return found;
}

Status ask_residency(Files& files, CachedFile* file) {
  GD2FS_ASSIGN(const FileStat stat, files.stat(file->path));
  GD2FS_ASSIGN(file->resident_bytes, files.advise(file->path, XFER_GD2FS_ADVICE_QUERY));
  file->size_bytes = stat.size_bytes;
  file->pinned = stat.pinned;
  return {};
}

}  // namespace gd2fs::cli
