#include "cli/data_dir.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace gd2fs::cli {
namespace {

class DataDirTest : public ::testing::Test {
 protected:
  DataDirTest() {
    std::string pattern = ::testing::TempDir() + "/gd2fs-data-XXXXXX";
    path_ = std::string(::mkdtemp(pattern.data())) + "/deep/data";
  }
  ~DataDirTest() override {
    std::filesystem::remove_all(std::filesystem::path(path_).parent_path().parent_path());
  }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(path_ + "/" + name) << text;
  }
  std::string path_;
};

TEST_F(DataDirTest, IsMadeAndKeepsItsId) {
  {
    const auto made = DataDir::open(path_, 42);
    ASSERT_TRUE(made.has_value()) << made.error().to_string();
    EXPECT_TRUE(made->is_new());
    EXPECT_EQ(made->deployment_id(), 42u);
    struct stat info{};
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0700U);
  }
  const auto again = DataDir::open(path_, 43);
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->is_new());
  EXPECT_EQ(again->deployment_id(), 42u);
}

TEST_F(DataDirTest, TheSecondUserIsRefusedAndToldWhoHasIt) {
  const auto first = DataDir::open(path_, 1);
  ASSERT_TRUE(first.has_value());
  const auto second = DataDir::open(path_, 1);
  ASSERT_FALSE(second.has_value());
  EXPECT_TRUE(second.error().is(StatusCode::busy));
  EXPECT_NE(second.error().text().find(std::to_string(::getpid())), std::string::npos);
}

TEST_F(DataDirTest, ANewerVersionIsRefused) {
  {
    ASSERT_TRUE(DataDir::open(path_, 1).has_value());
  }
  write("deployment", "gd2fs data directory\nversion 2\nsomething else\n");
  const auto opened = DataDir::open(path_, 1);
  ASSERT_FALSE(opened.has_value());
  EXPECT_TRUE(opened.error().is(StatusCode::unsupported));
}

TEST_F(DataDirTest, ADamagedOrMissingDeploymentFileIsRefused) {
  {
    ASSERT_TRUE(DataDir::open(path_, 1).has_value());
  }
  const std::string whole = write_deployment(0x1234);
  for (size_t length = 0; length < whole.size(); ++length) {
    write("deployment", whole.substr(0, length));
    const auto opened = DataDir::open(path_, 1);
    ASSERT_FALSE(opened.has_value()) << length;
    EXPECT_TRUE(opened.error().is(StatusCode::corrupt));
  }
  std::filesystem::remove(path_ + "/deployment");
  std::filesystem::create_directory(path_ + "/meta");
  const auto opened = DataDir::open(path_, 1);
  ASSERT_FALSE(opened.has_value());
  EXPECT_TRUE(opened.error().is(StatusCode::corrupt));
}

TEST_F(DataDirTest, OneThatOthersMayWriteToIsRefused) {
  std::filesystem::create_directories(path_);
  ASSERT_EQ(::chmod(path_.c_str(), 0777), 0);
  const auto opened = DataDir::open(path_, 1);
  ASSERT_FALSE(opened.has_value());
  EXPECT_TRUE(opened.error().is(StatusCode::denied));
}

TEST_F(DataDirTest, APrivateFileIsReplacedAndOnlyItsOwnersToRead) {
  ASSERT_TRUE(make_private_directory(path_).ok());
  ASSERT_TRUE(write_private_file(path_ + "/x", "one").ok());
  ASSERT_TRUE(write_private_file(path_ + "/x", "two").ok());
  struct stat info{};
  ASSERT_EQ(::stat((path_ + "/x").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  std::string text;
  std::ifstream(path_ + "/x") >> text;
  EXPECT_EQ(text, "two");
}

}  // namespace
}  // namespace gd2fs::cli
