// Manifest: which files belong to a directory that `put` wrote, and their SHA-256.
//
// It lies in the directory itself as `.gd2fs-manifest.sha256` and is the last thing that `put`
// writes, under a temporary name that is renamed: a directory with a manifest is complete. Its
// format is that of sha256sum, so that `sha256sum -c .gd2fs-manifest.sha256` checks a copy that
// left GD2FS; the first line is a comment with the number of files and of bytes:
//
//   # gd2fs manifest 1, 3 files, 4096 bytes
//   e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  config.json
//   \01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b  odd\nname
//
// Names are relative, sorted bytewise; as sha256sum does, a line whose name holds a newline,
// carriage return or backslash begins with a backslash and escapes them. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace gd2fs::cli {

inline constexpr std::string_view kManifestName = ".gd2fs-manifest.sha256";
inline constexpr size_t kManifestMaxBytes = 256 << 20;

struct ManifestEntry {
  std::string name;    // "shard/model.safetensors"
  std::string sha256;  // 64 lower-case hexadecimal digits
  friend auto operator<=>(const ManifestEntry&, const ManifestEntry&) = default;
};

struct Manifest {
  uint64_t size_bytes = 0;             // of all files
  std::vector<ManifestEntry> entries;  // sorted by name
};

std::string write_manifest(Manifest manifest);
// corrupt, with the line, if it is none, is cut off, or names what lies outside its directory.
Result<Manifest> read_manifest(std::string_view text);

// SHA-256 of a stream of bytes.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(ConstBytes bytes);
  std::string hex();  // ends it

 private:
  void* state_;  // EVP_MD_CTX
};

}  // namespace gd2fs::cli
