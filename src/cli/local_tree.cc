#include "cli/local_tree.h"

#include <algorithm>
#include <filesystem>

#include "cli/copy.h"
#include "cli/manifest.h"

namespace gd2fs::cli {
namespace {

namespace fs = std::filesystem;

Status from_code(const std::error_code& code, const std::string& path) {
  return Status::from_errno(code.value(), path);
}

bool left_out(const std::string& name) {
  return name.ends_with(kPartSuffix) || name == kManifestName;
}

Status add_entry(const fs::directory_entry& found, const std::string& name,
                 std::vector<LocalEntry>* entries) {
  std::error_code code;
  const fs::file_status link = found.symlink_status(code);
  const fs::file_status target = found.status(code);
  if (!fs::exists(target)) {
    return {StatusCode::not_found, found.path().string() + " is a link to nothing"};
  }
  if (fs::is_directory(target)) {
    if (fs::is_symlink(link)) {
      return {StatusCode::invalid,
              found.path().string() + " is a link to a directory; put that directory itself"};
    }
    entries->push_back({name, 0, true});
    return {};
  }
  if (!fs::is_regular_file(target)) {
    return {StatusCode::invalid, found.path().string() + " is neither a file nor a directory"};
  }
  const uint64_t size = found.file_size(code);
  if (code) return from_code(code, found.path().string());
  entries->push_back({name, size, false});
  return {};
}

}  // namespace

Result<std::vector<LocalEntry>> list_local(const std::string& path) {
  std::vector<LocalEntry> entries;
  std::error_code code;
  const fs::file_status top = fs::status(path, code);
  if (!fs::exists(top)) {
    return fail(code ? from_code(code, path) : Status(StatusCode::not_found, path));
  }
  if (!fs::is_directory(top)) {
    GD2FS_TRY(add_entry(fs::directory_entry(path, code), "", &entries));
    return entries;
  }
  fs::recursive_directory_iterator walk(path, code);
  const fs::recursive_directory_iterator end;
  for (; !code && walk != end; walk.increment(code)) {
    const std::string name = walk->path().lexically_relative(path).string();
    if (left_out(walk->path().filename().string())) continue;
    GD2FS_TRY(add_entry(*walk, name, &entries));
    if (entries.size() > kLocalFilesMax)
      return fail(StatusCode::invalid, path + ": too many files");
  }
  if (code) return fail(from_code(code, path));
  std::sort(entries.begin(), entries.end(),
            [](const LocalEntry& a, const LocalEntry& b) { return a.name < b.name; });
  return entries;
}

}  // namespace gd2fs::cli
