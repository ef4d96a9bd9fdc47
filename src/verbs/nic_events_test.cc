// What a device says by itself, over the fake ones.
#include "verbs/nic.h"
#include "verbs/test_verbs.h"

namespace gd2fs::verbs {
namespace {

TEST(NicEvents, a_device_tells_of_its_port_and_of_its_end) {
  TestVerbs& fake = TestVerbs::instance();
  fake.reset();
  const std::shared_ptr<Nic> nic = *Nic::open("127.0.0.1");
  const ibv_qp* pair = nullptr;
  EXPECT_EQ(nic->take_event(&pair), Nic::Event::none);
  fake.set_port(1, 0);  // another device
  fake.set_port(0, 0);
  fake.set_port(0, 1);
  fake.fail_device(0);
  EXPECT_EQ(nic->take_event(&pair), Nic::Event::port_down);
  EXPECT_EQ(nic->take_event(&pair), Nic::Event::port_up);
  EXPECT_EQ(nic->take_event(&pair), Nic::Event::device_failed);
  EXPECT_EQ(nic->take_event(&pair), Nic::Event::none);
  fake.reset();
}

}  // namespace
}  // namespace gd2fs::verbs
