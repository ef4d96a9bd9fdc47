#include "cli/manifest.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace gd2fs::cli {
namespace {

const std::string kEmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Manifest, IsTheFormatOfSha256sum) {
  Manifest manifest;
  manifest.size_bytes = 12;
  manifest.entries = {
      {"odd\nname", kEmptyHash}, {"a/b.txt", kEmptyHash}, {"back\\slash", kEmptyHash}};
  EXPECT_EQ(write_manifest(manifest), "# gd2fs manifest 1, 3 files, 12 bytes\n" + kEmptyHash +
                                          "  a/b.txt\n\\" + kEmptyHash + "  back\\\\slash\n\\" +
                                          kEmptyHash + "  odd\\nname\n");
}

TEST(Manifest, WhatIsWrittenIsReadBack) {
  Random random(3);
  Manifest manifest;
  for (int i = 0; i < 200; ++i) {
    std::string name = std::to_string(i);
    for (uint64_t n = random.below(20); n > 0; --n) {
      const char c = static_cast<char>(random.between(1, 255));
      name += c == '/' ? '-' : c;
    }
    manifest.entries.push_back({name, kEmptyHash});
  }
  const Result<Manifest> read = read_manifest(write_manifest(manifest));
  ASSERT_TRUE(read.has_value()) << read.error().to_string();
  std::sort(manifest.entries.begin(), manifest.entries.end());
  EXPECT_EQ(read->entries, manifest.entries);
}

TEST(Manifest, CutOffOrForeignTextIsCorrupt) {
  Manifest manifest;
  manifest.entries = {{"a", kEmptyHash}, {"b", kEmptyHash}};
  const std::string whole = write_manifest(manifest);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(read_manifest(whole.substr(0, length)).has_value()) << length;
  }
  const std::string title = "# gd2fs manifest 1, 1 files, 0 bytes\n";
  for (const std::string name : {"../up", "/top", "a//b", "a/./b", ".", "", "a/"}) {
    const Result<Manifest> read = read_manifest(title + kEmptyHash + "  " + name + "\n");
    ASSERT_FALSE(read.has_value()) << name;
    EXPECT_TRUE(read.error().is(StatusCode::corrupt));
  }
  EXPECT_FALSE(read_manifest(title + std::string(64, 'Z') + "  a\n").has_value());
  EXPECT_FALSE(read_manifest(title + "\\" + kEmptyHash + "  a\\x\n").has_value());
}

TEST(Manifest, HashesAreThoseOfTheStandard) {
  EXPECT_EQ(Sha256().hex(), kEmptyHash);
  Sha256 hash;
  hash.update(as_bytes("a", 1));
  hash.update(as_bytes("bc", 2));
  EXPECT_EQ(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace gd2fs::cli
