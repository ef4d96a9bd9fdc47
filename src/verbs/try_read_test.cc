// Whether a NIC finds out what it cannot reach, over the fake ones.
#include "verbs/try_read.h"

#include <vector>

#include "verbs/test_verbs.h"

namespace gd2fs::verbs {
namespace {

class TryReadTest : public testing::Test {
 protected:
  TestVerbs& fake = TestVerbs::instance();
  TryReadTest() { fake.reset(); }
  ~TryReadTest() override { fake.reset(); }
  std::shared_ptr<Nic> nic = *Nic::open("127.0.0.1");
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
};

TEST_F(TryReadTest, memory_that_answers_is_told_from_memory_that_does_not) {
  const auto region = *nic->register_memory(memory.data(), memory.size(), Use::data_for_peers);
  EXPECT_EQ(try_read(nic, *region, memory.data()), Reach::reached);
  // What the key does not open is refused, as what the bus does not.
  EXPECT_EQ(try_read(nic, *region, memory.data() + memory.size()), Reach::refused);
  EXPECT_EQ(fake.counts(0).queue_pairs, 0u);
  EXPECT_EQ(fake.counts(0).regions, 1u);
}

TEST_F(TryReadTest, a_nic_that_moves_nothing_at_all_says_nothing_about_the_memory) {
  const auto region = *nic->register_memory(memory.data(), memory.size(), Use::data_for_peers);
  fake.lose(1);  // what it reads of host memory
  EXPECT_EQ(try_read(nic, *region, memory.data()), Reach::unsure);
  fake.set_port(0, 0);
  EXPECT_EQ(try_read(nic, *region, memory.data()), Reach::unsure);
}

}  // namespace
}  // namespace gd2fs::verbs
