// Where a fuzzer begins: `NAME_fuzz --seeds=FOLDER` writes its seeds, one file each, and ends. They
// are made by the code that is fuzzed, from fixed values, so they are the same in every run and as
// new as the formats. Only fuzzers include this.
//
//   void seeds(gd2fs::SeedFolder& folder) { folder.add(encoded); }
//   extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
//     return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
//   }
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace gd2fs {

class SeedFolder {
 public:
  explicit SeedFolder(std::string path) : path_(std::move(path)) {}

  void add(std::string_view bytes) {
    const std::string name = path_ + "/seed-" + std::to_string(count_++);
    std::FILE* file = std::fopen(name.c_str(), "wb");
    const bool written =
        file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    if (!written || std::fclose(file) != 0) {
      std::perror(name.c_str());
      std::abort();
    }
  }
  void add(ConstBytes bytes) {
    add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  // For fuzzers whose first byte picks what the rest is.
  void add(uint8_t pick, ConstBytes bytes) {
    std::string whole(1, static_cast<char>(pick));
    whole.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    add(whole);
  }

 private:
  std::string path_;
  size_t count_ = 0;
};

inline int write_seeds_if_asked(int argc, char** argv, void (*seeds)(SeedFolder&)) {
  constexpr std::string_view kOption = "--seeds=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with(kOption)) continue;
    SeedFolder folder{std::string(word.substr(kOption.size()))};
    seeds(folder);
    std::exit(0);  // NOLINT(concurrency-mt-unsafe): no thread has begun
  }
  return 0;
}

}  // namespace gd2fs
