#include "fabric/same_host.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fabric/test_directory.h"

namespace gd2fs {
namespace {

struct HostDoors : testing::Test {
  TestDirectory directory;
  std::string at(const std::string& name) { return directory.path() + "/" + name; }
  bool there(const std::string& name) { return std::filesystem::exists(at(name)); }
  void age(const std::string& name) {
    timespec times[2] = {};  // 1970
    ASSERT_EQ(utimensat(AT_FDCWD, (at(name) + "/secret").c_str(), times, 0), 0);
  }
};

TEST_F(HostDoors, AServerTakesAwayWhatKilledOnesLeftAndNothingElse) {
  for (const std::string name : {"gd2fs-dead", "gd2fs-young", "others-dead"}) {
    auto door = make_host_door(at(name));
    ASSERT_TRUE(door.has_value()) << door.error().to_string();
  }  // killed: its lock goes, its files stay
  auto living = make_host_door(at("gd2fs-living"));
  ASSERT_TRUE(living.has_value());
  for (const std::string name : {"gd2fs-dead", "gd2fs-living", "others-dead"}) age(name);
  std::filesystem::create_directory(at("gd2fs-no-door"));

  auto other = make_host_door(at("others-new"));  // its name does not say whose siblings are ours
  ASSERT_TRUE(other.has_value());
  EXPECT_TRUE(there("gd2fs-dead"));

  auto made = make_host_door(at("gd2fs-new"));
  ASSERT_TRUE(made.has_value()) << made.error().to_string();
  EXPECT_FALSE(there("gd2fs-dead"));
  for (const std::string name :
       {"gd2fs-young", "gd2fs-living", "gd2fs-new", "gd2fs-no-door", "others-dead", "others-new"}) {
    EXPECT_TRUE(there(name)) << name;
  }
  EXPECT_TRUE(find_host_door(at("gd2fs-living")).has_value());
  remove_host_door(*made);
  EXPECT_FALSE(there("gd2fs-new"));
}

TEST_F(HostDoors, AServerThatComesBackTakesItsOwnDoorAgain) {
  auto killed = make_host_door(at("gd2fs-1"));
  ASSERT_TRUE(killed.has_value());
  const std::string secret = killed->secret;
  killed->lock = Descriptor();
  auto made = make_host_door(at("gd2fs-1"));
  ASSERT_TRUE(made.has_value());
  EXPECT_NE(made->secret, secret);
  EXPECT_EQ(find_host_door(at("gd2fs-1"))->secret, made->secret);
}

}  // namespace
}  // namespace gd2fs
