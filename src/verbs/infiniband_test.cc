// Ports of InfiniBand, over the fake NICs.
#include <cerrno>

#include "verbs/ipoib.h"
#include "verbs/queue_pair.h"
#include "verbs/test_interfaces.h"
#include "verbs/test_verbs.h"

namespace gd2fs::verbs {
namespace {

constexpr uint64_t kSubnet = 0xfe80'0000'0000'0000;
constexpr uint64_t kOtherSubnet = 0xfec0'0000'0000'0001;

class InfiniBandTest : public testing::Test {
 protected:
  TestVerbs& fake = TestVerbs::instance();
  InfiniBandTest() {
    fake.reset();
    fake.set_infiniband(0, 1);
    fake.set_infiniband(1, 1);
  }
  ~InfiniBandTest() override { fake.reset(); }
};

struct End {
  std::shared_ptr<Nic> nic;
  std::unique_ptr<CompletionChannel> channel;
  std::unique_ptr<CompletionQueue> queue;
  std::unique_ptr<QueuePair> pair;
  explicit End(const char* address) : nic(*Nic::open(address)) {
    channel = std::move(*CompletionChannel::make(nic));
    queue = std::move(*CompletionQueue::make(nic, 64, *channel));
    pair = std::move(*QueuePair::make(nic, *queue, {16, 16}, 7));
  }
  // An empty message to a peer without buffers: that it has none is an answer.
  ibv_wc_status knock() {
    ibv_send_wr wr{};
    wr.opcode = IBV_WR_SEND;
    wr.send_flags = IBV_SEND_SIGNALED;
    ibv_send_wr* bad = nullptr;
    EXPECT_EQ(ibv_post_send(pair->get(), &wr, &bad), 0);
    ibv_wc wc{};
    while (ibv_poll_cq(queue->get(), 1, &wc) == 0) {
    }
    return wc.status;
  }
};

TEST_F(InfiniBandTest, network_devices_name_the_ports_that_they_stand_on) {
  size_t found = 0;
  for (const IpoibAddress& one : ipoib_addresses()) {
    if (one.interface != "ib1") continue;
    ++found;
    EXPECT_EQ(std::memcmp(one.address.raw, gid_of("127.0.0.2")->raw, 16), 0);
    const uint8_t guid[8] = {2, 0, 0, 0, 0, 0, 0, 2};
    EXPECT_EQ(std::memcmp(&one.port_guid, guid, sizeof guid), 0);
  }
  EXPECT_EQ(found, 1u);  // the real ones have none
}

TEST_F(InfiniBandTest, a_port_is_found_by_the_address_of_its_network_device) {
  const auto nic = Nic::open("127.0.0.2");
  ASSERT_TRUE(nic.has_value()) << nic.error().to_string();
  EXPECT_EQ((*nic)->name(), "fake1 port 1");
  EXPECT_EQ((*nic)->link_layer(), LinkLayer::infiniband);
  fake.set_subnet(1, 0x20, kOtherSubnet);  // the same port, wherever a subnet manager puts it
  const auto place = (*nic)->find_again();
  ASSERT_TRUE(place.has_value()) << place.error().to_string();
  EXPECT_EQ(place->lid, 0x20);
  EXPECT_EQ(place->gid.raw[0], 0xfe);
  EXPECT_EQ(place->gid.raw[1], 0xc0);
  EXPECT_EQ(place->key_index, 1);  // of the first it is no full member
  EXPECT_EQ(Nic::open("127.0.0.3").value()->link_layer(), LinkLayer::ethernet);
}

TEST_F(InfiniBandTest, a_port_without_a_subnet_manager_says_so) {
  fake.set_subnet(0, 0, kSubnet);
  const auto nic = Nic::open("127.0.0.1");
  ASSERT_FALSE(nic.has_value());
  EXPECT_TRUE(nic.error().is(StatusCode::unavailable));
  EXPECT_NE(nic.error().text().find("subnet manager"), std::string_view::npos);
}

TEST_F(InfiniBandTest, pairs_reach_each_other_by_lid_and_beyond_a_router_by_gid_too) {
  for (const uint64_t subnet : {kSubnet, kOtherSubnet}) {
    fake.set_subnet(1, 0x30, subnet);
    End a("127.0.0.1");
    End b("127.0.0.2");
    EXPECT_EQ(b.pair->address().lid, 0x30);
    ASSERT_TRUE(a.pair->connect(b.pair->address()).ok());
    ASSERT_TRUE(b.pair->connect(a.pair->address()).ok());
    EXPECT_EQ(a.knock(), IBV_WC_RNR_RETRY_EXC_ERR);
  }
}

TEST_F(InfiniBandTest, a_pair_is_not_connected_to_one_of_ethernet) {
  End a("127.0.0.1");
  End b("127.0.0.3");
  for (End* one : {&a, &b}) {
    const Status status = one->pair->connect((one == &a ? b : a).pair->address());
    EXPECT_TRUE(status.is(StatusCode::unsupported)) << status.to_string();
    EXPECT_NE(status.text().find("InfiniBand"), std::string_view::npos);
    EXPECT_NE(status.text().find("Ethernet"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace gd2fs::verbs
