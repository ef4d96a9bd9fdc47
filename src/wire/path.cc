#include "wire/path.h"

#include <algorithm>
#include <cerrno>

namespace gd2fs {

namespace {

Status bad(std::string_view why) {
  return {StatusCode::invalid, why, EINVAL};
}

// Calls visit(component) for each; stops at the first status that is not ok.
template <class Visit>
Status visit_path(std::string_view path, PathKind kind, Visit visit) {
  if (path.size() > kPathMaxBytes) {
    return {StatusCode::invalid, "path over 4096 bytes", ENAMETOOLONG};
  }
  if (path.empty() || path.front() != '/') return bad("path is not absolute");
  if (path == "/") return kind == PathKind::file ? bad("\"/\" is not a file") : Status();
  if (path.back() == '/') {
    if (kind != PathKind::directory) return bad("path ends in a slash");
    path.remove_suffix(1);
  }
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view name = path.substr(at + 1, end - at - 1);
    GD2FS_TRY(check_name(name));
    visit(name);
    at = end;
  }
  return {};
}

}  // namespace

Status check_name(std::string_view name) {
  if (name.empty()) return bad("empty component in path");
  if (name.size() > kNameMaxBytes) {
    return {StatusCode::invalid, "component over 255 bytes", ENAMETOOLONG};
  }
  if (name == "." || name == "..") return bad("\".\" or \"..\" in path");
  if (name.find('/') != std::string_view::npos) return bad("slash in a component");
  if (name.find('\0') != std::string_view::npos) return bad("NUL in path");
  return {};
}

Result<std::vector<std::string_view>> split_path(std::string_view path, PathKind kind) {
  std::vector<std::string_view> names;
  GD2FS_TRY(visit_path(path, kind, [&](std::string_view name) { names.push_back(name); }));
  return names;
}

Status check_path(std::string_view path, PathKind kind) {
  return visit_path(path, kind, [](std::string_view) {});
}

Status check_cluster_name(std::string_view name) {
  if (name.empty() || name.size() > kClusterNameMaxBytes) {
    return bad("a cluster name has 1 to 64 bytes");
  }
  const bool good = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (!good || name.front() == '.' || name.front() == '-') {
    return bad("a cluster name is made of A-Z a-z 0-9 . _ - and begins with none of . -");
  }
  return {};
}

}  // namespace gd2fs
