// A directory is not moved while a change below it waits for servers.
#include "meta/namespace_fixture.h"

namespace gd2fs {
namespace {

class HeldBelow : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    for (const char* path : {"/d", "/d/s", "/d/s/t", "/other"}) ASSERT_EQ(mkdir(path), 0);
    for (const char* path : {"/f", "/d/f", "/d/s/t/f", "/other/f"}) ASSERT_EQ(create(path), 0);
  }
  // What was done is not settled.
  void expect_busy(const Result<Mutated>& open) {
    ASSERT_TRUE(open.has_value());
    ASSERT_FALSE(open->intents.empty());
    EXPECT_EQ(rename("/d", "/e"), EAGAIN);
    EXPECT_EQ(rename("/other", "/elsewhere"), 0);
    EXPECT_EQ(rename("/elsewhere", "/other"), 0);
    ASSERT_TRUE(wait(names().settle_intents(open->intents)).ok());
    EXPECT_EQ(rename("/d", "/e"), 0);
  }
};

TEST_P(HeldBelow, an_unlink) {
  expect_busy(wait(names().unlink(cluster_, "/d/f", tag())));
}

TEST_P(HeldBelow, an_unlink_far_below) {
  expect_busy(wait(names().unlink(cluster_, "/d/s/t/f", tag())));
}

TEST_P(HeldBelow, a_rename_into_it) {
  expect_busy(wait(names().rename(cluster_, "/f", "/d/f", tag())));
}

TEST_P(HeldBelow, a_rename_out_of_it) {
  expect_busy(wait(names().rename(cluster_, "/d/s/t/f", "/f", tag())));
}

TEST_P(HeldBelow, a_rename_of_a_directory_in_it) {
  expect_busy(wait(names().rename(cluster_, "/d/s/t", "/d/u", tag())));
}

TEST_P(HeldBelow, what_is_held_elsewhere_does_not_matter) {
  const auto open = wait(names().unlink(cluster_, "/other/f", tag()));
  ASSERT_TRUE(open.has_value());
  EXPECT_EQ(rename("/d", "/e"), 0);
  EXPECT_EQ(rename("/e/s", "/s"), 0);
  EXPECT_EQ(rename("/other", "/elsewhere"), EAGAIN);
}

// More directories with open intents than one transaction may look at.
TEST_P(HeldBelow, what_cannot_be_told_is_busy_until_it_is_settled) {
  std::vector<Intent> intents;
  for (int i = 0; i < 60; ++i) {
    const std::string directory = "/x" + std::to_string(i);
    ASSERT_EQ(mkdir(directory), 0);
    ASSERT_EQ(create(directory + "/f"), 0);
    const auto open = wait(names().unlink(cluster_, directory + "/f", tag()));
    ASSERT_TRUE(open.has_value());
    intents.insert(intents.end(), open->intents.begin(), open->intents.end());
  }
  EXPECT_EQ(rename("/d", "/e"), EAGAIN);
  ASSERT_TRUE(wait(names().settle_intents(intents)).ok());
  EXPECT_EQ(rename("/d", "/e"), 0);
}

GD2FS_OVER_ENGINES(HeldBelow);

}  // namespace
}  // namespace gd2fs
