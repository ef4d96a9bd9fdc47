// RdmaMemory, over the fake NICs.
#include "fabric/rdma_memory.h"

#include <filesystem>
#include <unistd.h>
#include <vector>

#include "verbs/test_verbs.h"

namespace gd2fs {
namespace {

// A session remembers what it found; keys that were withdrawn may not be among that.
TEST(RdmaMemory, what_a_session_knows_is_forgotten_with_every_change) {
  verbs::TestVerbs::instance().reset();
  const std::shared_ptr<const verbs::Nic> nic = *verbs::Nic::open("127.0.0.1");
  RdmaMemory memory;
  memory.add_nic(nic);
  std::vector<std::byte> bytes(1 << 20);
  FabricMemory first{.address = bytes.data(), .length_bytes = 64 * 1024, .region = 1};
  FabricMemory second{.address = bytes.data() + first.length_bytes, .length_bytes = 4096};
  RdmaMemory::Known known;
  EXPECT_EQ(memory.find(*nic, bytes.data(), 100, 1, known).length_bytes, 0u);
  ASSERT_TRUE(memory.add(first).ok());
  const auto part = memory.find(*nic, bytes.data() + 60'000, 10'000, 1, known);
  EXPECT_EQ(part.length_bytes, first.length_bytes - 60'000);
  const auto again = memory.find(*nic, bytes.data(), 100, 1, known);
  EXPECT_EQ(again.length_bytes, 100u);
  EXPECT_EQ(again.remote_key, part.remote_key);
  // Another region at the same address, and what lies behind the end, are asked for anew.
  EXPECT_EQ(memory.find(*nic, bytes.data(), 100, 2, known).length_bytes, 0u);
  EXPECT_EQ(memory.find(*nic, bytes.data(), 100, 1, known).length_bytes, 100u);
  EXPECT_EQ(memory.find(*nic, second.address, 100, 1, known).length_bytes, 0u);
  ASSERT_TRUE(memory.add(second).ok());
  EXPECT_TRUE(memory.covers(*nic, second.address, 4096, 0, known));
  EXPECT_FALSE(memory.covers(*nic, second.address, 4097, 0, known));

  EXPECT_EQ(memory.find(*nic, bytes.data(), 100, 1, known).length_bytes, 100u);
  memory.remove(first);
  EXPECT_EQ(memory.find(*nic, bytes.data(), 100, 1, known).length_bytes, 0u);
  ASSERT_TRUE(memory.add(first).ok());
  const auto anew = memory.find(*nic, bytes.data(), 100, 1, known);
  EXPECT_EQ(anew.length_bytes, 100u);
  EXPECT_NE(anew.remote_key, part.remote_key);
  memory.remove(first);
  memory.remove(second);
}

// Named before the fake library looks for it; empty but for the test below.
const std::string& sysfs() {
  static const std::string folder =
      std::filesystem::temp_directory_path() / ("gd2fs-sysfs-" + std::to_string(getpid()));
  return folder;
}
[[maybe_unused]] const int kNamed = setenv("FAKE_VERBS_SYSFS", sysfs().c_str(), 1);  // NOLINT

TEST(RdmaMemory, keys_of_gpu_memory_say_how_far_their_nic_is) {
  namespace fs = std::filesystem;
  verbs::TestVerbs::instance().reset();
  const auto device = [](const std::string& path) {
    const std::string folder = sysfs() + "/devices/" + path;
    fs::create_directories(folder);
    return folder;
  };
  const auto nic_at = [&](int number, const std::string& path) {
    const std::string entry = sysfs() + "/fake" + std::to_string(number);
    fs::create_directories(entry);
    fs::create_directory_symlink(device(path), entry + "/device");
    return *verbs::Nic::open("127.0.0." + std::to_string(number + 1));
  };
  const auto near = nic_at(0, "pci0000:00/0000:00:01.0/0000:01:00.0");
  const auto far = nic_at(2, "pci0000:80/0000:80:01.0/0000:81:00.0");
  RdmaMemory memory;
  memory.add_nic(near);
  memory.add_nic(far);
  std::vector<std::byte> bytes(4096);  // stand for a GPU's
  FabricMemory of_gpu{.address = bytes.data(), .length_bytes = bytes.size(), .region = 1};
  of_gpu.for_peers = true;
  of_gpu.gpu = device("pci0000:00/0000:00:01.0/0000:02:00.0");
  ASSERT_TRUE(memory.add(of_gpu).ok());
  EXPECT_EQ(memory.find(*near, bytes.data(), 1, 1).distance, verbs::PciDistance::bridge);
  EXPECT_EQ(memory.find(*far, bytes.data(), 1, 1).distance, verbs::PciDistance::far);
  memory.remove(of_gpu);
  fs::remove_all(sysfs());
}

}  // namespace
}  // namespace gd2fs
