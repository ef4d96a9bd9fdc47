// Path: the rules for names, the same in clients (refused at submit) and controllers (which trust
// no client). API.md section 4: absolute; no empty component, no trailing slash on a file, no "."
// or
// "..", no NUL; a component of at most kNameMaxBytes, a path of at most kPathMaxBytes. Bytes
// otherwise: no encoding is asked for. Pure functions; any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"

namespace gd2fs {

inline constexpr size_t kPathMaxBytes = 4096;
inline constexpr size_t kNameMaxBytes = 255;
inline constexpr size_t kClusterNameMaxBytes = 64;

enum class PathKind : uint8_t {
  file,       // "/" and a trailing slash are invalid
  directory,  // "/" and one trailing slash are fine
  any,        // "/" is fine, a trailing slash is not
};

// The components in order, pointing into `path`; none for "/". invalid with EINVAL or ENAMETOOLONG.
Result<std::vector<std::string_view>> split_path(std::string_view path, PathKind kind);
// The same rules without the allocation.
Status check_path(std::string_view path, PathKind kind);
// One component.
Status check_name(std::string_view name);
// 1..64 of [A-Za-z0-9._-], not beginning with '.' or '-'.
Status check_cluster_name(std::string_view name);

}  // namespace gd2fs
