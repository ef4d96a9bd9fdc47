#include "wire/token.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace gd2fs {
namespace {

class TokenFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "gd2fs-token-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory = name;
    path = directory + "/token";
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  void put(std::string_view text, mode_t mode) const {
    std::ofstream(path) << text;
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
  }
  std::string directory;
  std::string path;
};

TEST(Token, tokens_are_64_hexadecimal_digits_and_differ) {
  const std::string a = generate_token();
  const std::string b = generate_token();
  EXPECT_EQ(a.size(), 64u);
  EXPECT_NE(a, b);
  const auto key = key_from_token(a);
  ASSERT_TRUE(key.has_value());
  EXPECT_EQ(key->size(), kTokenKeyBytes);
  EXPECT_EQ(token_from_key(*key), a);
}

TEST(Token, white_space_around_a_token_and_capital_digits_are_fine_and_all_else_is_not) {
  const std::string good(62, 'a');
  EXPECT_TRUE(key_from_token("  " + good + "BC\r\n").has_value());
  EXPECT_FALSE(key_from_token("").has_value());
  EXPECT_FALSE(key_from_token(" \n").has_value());
  EXPECT_FALSE(key_from_token(good).has_value());
  EXPECT_FALSE(key_from_token(good + "aaa").has_value());
  EXPECT_FALSE(key_from_token(good + "0g").has_value());
  EXPECT_FALSE(key_from_token(good.substr(1) + " 00").has_value());
}

TEST_F(TokenFile, a_written_file_is_read_back_and_only_its_owner_may_read_it) {
  const std::string token = generate_token();
  ASSERT_TRUE(write_token_file(path, token).ok());
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto key = read_token_file(path);
  ASSERT_TRUE(key.has_value()) << key.error().to_string();
  EXPECT_EQ(token_from_key(*key), token);
  EXPECT_TRUE(write_token_file(path, generate_token()).is(StatusCode::exists));
  EXPECT_EQ(token_from_key(*read_token_file(path)), token);
}

TEST_F(TokenFile, a_file_that_others_may_read_or_write_is_denied_and_the_text_says_what_to_do) {
  for (const mode_t mode : {0640u, 0604u, 0620u, 0602u, 0644u}) {
    put(generate_token(), mode);
    const auto key = read_token_file(path);
    ASSERT_FALSE(key.has_value()) << mode;
    EXPECT_TRUE(key.error().is(StatusCode::denied));
    EXPECT_NE(key.error().text().find("chmod 600 " + path), std::string_view::npos);
  }
  put(generate_token(), 0400);
  EXPECT_TRUE(read_token_file(path).has_value());
}

TEST_F(TokenFile, what_is_no_token_file_is_refused_with_its_reason) {
  EXPECT_TRUE(read_token_file(path).error().is(StatusCode::not_found));
  put("hello", 0600);
  EXPECT_TRUE(read_token_file(path).error().is(StatusCode::invalid));
  put(std::string(1000, 'a'), 0600);
  EXPECT_TRUE(read_token_file(path).error().is(StatusCode::invalid));
  EXPECT_TRUE(read_token_file(directory).error().is(StatusCode::denied));
  const std::string pipe = directory + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(read_token_file(pipe).error().is(StatusCode::denied));
}

}  // namespace
}  // namespace gd2fs
