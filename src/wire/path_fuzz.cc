// Any bytes as a path: split_path and check_path agree, and accepted components join to the path.
#include <cstdlib>
#include <string>

#include "base/fuzz_seeds.h"
#include "wire/path.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  for (const char* path : {"/", "/a", "/a/b/c", "/a/b/", "a", "/a//b", "/a/../b", "/a/./b"}) {
    folder.add(path);
  }
  folder.add("/" + std::string(255, 'n') + "/" + std::string(256, 'n'));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gd2fs::PathKind;
  const std::string_view path(reinterpret_cast<const char*>(data), size);
  for (PathKind kind : {PathKind::file, PathKind::directory, PathKind::any}) {
    auto names = gd2fs::split_path(path, kind);
    const gd2fs::Status status = gd2fs::check_path(path, kind);
    if (names.has_value() != status.ok()) std::abort();
    if (!names) continue;
    std::string joined;
    for (std::string_view name : *names) {
      if (!gd2fs::check_name(name).ok()) std::abort();
      joined += "/";
      joined += name;
    }
    if (joined != path && joined + "/" != path) std::abort();
  }
  (void)gd2fs::check_cluster_name(path);
  return 0;
}
