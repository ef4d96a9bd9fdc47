// How far devices are apart, over a tree as sysfs has it.
#include "verbs/pci_place.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace gd2fs::verbs {
namespace {

namespace fs = std::filesystem;

class PciPlaceTest : public testing::Test {
 protected:
  PciPlaceTest() {
    std::string name = fs::temp_directory_path() / "gd2fs-pci-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root = name;
  }
  ~PciPlaceTest() override { fs::remove_all(root); }
  // A device below bridges, and the link by which programs find it.
  PciPlace device(const std::string& path, const std::string& node) {
    const fs::path folder = root / "devices" / path;
    fs::create_directories(folder);
    if (!node.empty()) std::ofstream(folder / "numa_node") << node << "\n";
    const fs::path link = root / ("link" + std::to_string(++links));
    fs::create_directory_symlink(folder, link);
    return place_of(link);
  }
  fs::path root;
  int links = 0;
};

TEST_F(PciPlaceTest, a_common_bridge_is_nearer_than_a_common_node_and_that_than_any_other) {
  const PciPlace gpu =
      device("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0/0000:03:00.0", "0");
  const PciPlace beside =
      device("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0/0000:04:00.0", "0");
  const PciPlace same_node = device("pci0000:00/0000:00:02.0/0000:05:00.0", "0");
  // Another socket numbers its ports alike.
  const PciPlace other_socket = device("pci0000:80/0000:00:01.0/0000:81:00.0", "1");
  EXPECT_EQ(gpu.node, 0);
  EXPECT_EQ(distance_between(gpu, beside), PciDistance::bridge);
  EXPECT_EQ(distance_between(gpu, same_node), PciDistance::node);
  EXPECT_EQ(distance_between(gpu, other_socket), PciDistance::far);
  EXPECT_LT(PciDistance::bridge, PciDistance::node);
  EXPECT_LT(PciDistance::node, PciDistance::far);
}

TEST_F(PciPlaceTest, what_is_not_known_is_far) {
  const PciPlace one = device("pci0000:00/0000:00:01.0/0000:01:00.0", "-1");
  const PciPlace other = device("pci0000:00/0000:00:02.0/0000:02:00.0", "-1");
  EXPECT_EQ(distance_between(one, other), PciDistance::far);
  EXPECT_EQ(device("pci0000:00/0000:00:03.0/0000:03:00.0", "").node, -1);
  const PciPlace nowhere = place_of(root / "not_there");
  EXPECT_TRUE(nowhere.path.empty());
  EXPECT_EQ(distance_between(nowhere, nowhere), PciDistance::far);
  // A device that is no PCI device (soft-RoCE's, for instance).
  EXPECT_TRUE(device("virtual/net/d0", "0").path.empty());
}

}  // namespace
}  // namespace gd2fs::verbs
