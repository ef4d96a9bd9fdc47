// RdmaMemory, over the fake NICs.
#include "fabric/rdma_memory.h"

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

}  // namespace
}  // namespace gd2fs
