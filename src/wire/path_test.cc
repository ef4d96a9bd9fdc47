#include "wire/path.h"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

using Names = std::vector<std::string_view>;

TEST(Path, splits_into_components) {
  EXPECT_EQ(split_path("/", PathKind::any).value(), Names{});
  EXPECT_EQ(split_path("/a", PathKind::file).value(), (Names{"a"}));
  EXPECT_EQ(split_path("/kv/97f1226c", PathKind::file).value(), (Names{"kv", "97f1226c"}));
  EXPECT_EQ(split_path("/a/b/", PathKind::directory).value(), (Names{"a", "b"}));
  EXPECT_EQ(split_path("/...", PathKind::file).value(), (Names{"..."}));
  EXPECT_EQ(split_path("/.a/..b", PathKind::file).value(), (Names{".a", "..b"}));
}

TEST(Path, what_api_section_4_forbids_is_einval) {
  for (const char* path :
       {"", "a", "a/b", "//", "//a", "/a//b", "/a//", "/.", "/..", "/a/./b", "/a/../b", "/a/.."}) {
    for (PathKind kind : {PathKind::file, PathKind::directory, PathKind::any}) {
      EXPECT_EQ(check_path(path, kind), Status(StatusCode::invalid, EINVAL)) << path;
    }
  }
  EXPECT_EQ(check_path(std::string_view("/a\0b", 4), PathKind::file).errno_value(), EINVAL);
}

TEST(Path, only_directories_may_end_in_a_slash_and_only_files_may_not_be_the_root) {
  EXPECT_FALSE(check_path("/a/", PathKind::file).ok());
  EXPECT_FALSE(check_path("/a/", PathKind::any).ok());
  EXPECT_TRUE(check_path("/a/", PathKind::directory).ok());
  EXPECT_FALSE(check_path("/", PathKind::file).ok());
  EXPECT_TRUE(check_path("/", PathKind::any).ok());
  EXPECT_TRUE(check_path("/", PathKind::directory).ok());
}

TEST(Path, lengths_end_exactly_at_their_limits) {
  const std::string longest_name(kNameMaxBytes, 'n');
  EXPECT_TRUE(check_path("/" + longest_name, PathKind::file).ok());
  EXPECT_EQ(check_path("/" + longest_name + "n", PathKind::file).errno_value(), ENAMETOOLONG);

  std::string longest_path;
  while (longest_path.size() < kPathMaxBytes) longest_path += "/" + longest_name;
  EXPECT_EQ(longest_path.size(), kPathMaxBytes);
  EXPECT_TRUE(check_path(longest_path, PathKind::file).ok());
  EXPECT_EQ(check_path(longest_path + "/n", PathKind::file).errno_value(), ENAMETOOLONG);
}

TEST(Path, cluster_names_are_plain) {
  for (const char* name : {"deepseek-r1", "gd2fs-cluster0", "a", "A_b.c"}) {
    EXPECT_TRUE(check_cluster_name(name).ok()) << name;
  }
  for (const char* name : {"", ".a", "-a", "a b", "a/b", "ä"}) {
    EXPECT_EQ(check_cluster_name(name).errno_value(), EINVAL) << name;
  }
  EXPECT_TRUE(check_cluster_name(std::string(64, 'a')).ok());
  EXPECT_FALSE(check_cluster_name(std::string(65, 'a')).ok());
}

}  // namespace
}  // namespace gd2fs
