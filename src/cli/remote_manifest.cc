#include "cli/remote_manifest.h"

#include <set>

namespace gd2fs::cli {

Result<RemoteManifest> RemoteManifest::find(Files& files, const std::string& directory) {
  RemoteManifest found;
  const std::string path = join_path(directory, kManifestName);
  const Result<std::string> text = files.read_small(path, kManifestMaxBytes);
  if (!text && text.error().is(StatusCode::not_found)) return found;
  if (!text) return fail(text.error());
  Result<Manifest> manifest = read_manifest(*text);
  if (!manifest) return fail(manifest.error().with(directory));
  found.there_ = true;
  for (ManifestEntry& entry : manifest->entries) {
    found.hashes_.emplace(std::move(entry.name), std::move(entry.sha256));
  }
  return found;
}

std::string RemoteManifest::sha256_of(const std::string& name) const {
  const auto found = hashes_.find(name);
  return found == hashes_.end() ? std::string() : found->second;
}

Status RemoteManifest::check_complete(const std::string& directory,
                                      const std::vector<TreeEntry>& tree) const {
  std::set<std::string_view> names;
  for (const TreeEntry& found : tree) names.insert(found.name);
  for (const auto& [name, hash] : hashes_) {
    if (!names.contains(name)) {
      return {StatusCode::corrupt,
              join_path(directory, name) + " is missing: the manifest names it"};
    }
  }
  return {};
}

}  // namespace gd2fs::cli
