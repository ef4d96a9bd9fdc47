// Sessions over ports of InfiniBand, over the fake NICs.
#include "fabric/rdma_world.h"
#include "verbs/test_interfaces.h"

namespace gd2fs {
namespace {

constexpr uint64_t kSubnet = 0xfe80'0000'0000'0000;
constexpr uint64_t kOtherSubnet = 0xfec0'0000'0000'0001;

class RdmaInfiniBand : public RdmaWorld {
 protected:
  RdmaInfiniBand() {
    fake.set_infiniband(kClient, 1);
    fake.set_infiniband(kServer, 1);
  }
  // NICs move all bytes of a request, to the client and from it.
  void there_and_back() {
    auto ours = random_bytes(random, 1 << 20);
    const std::vector<std::byte> original = ours;
    std::vector<std::byte> theirs(ours.size());
    const Registered client_memory(fabric, ours, true);
    const Registered server_memory(fabric, theirs, false);
    const RdmaCounters before = fabric.counters();
    Window source;
    const uint64_t written = request(source, Window::Direction::source, ours);
    PullFlag pull(written, 0, theirs);
    server().session->pull(pull);
    ASSERT_TRUE(until([&] { return pull.finished; }));
    EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
    ASSERT_NO_FATAL_FAILURE(give_back(source));
    EXPECT_TRUE(theirs == original);
    std::ranges::fill(ours, std::byte{0});
    Window sink;
    const uint64_t read = request(sink, Window::Direction::sink, ours);
    PushFlag push(read, 0, theirs);
    server().session->push(push);
    ASSERT_TRUE(until([&] { return push.finished; }));
    EXPECT_TRUE(push.status.ok()) << push.status.to_string();
    ASSERT_NO_FATAL_FAILURE(give_back(sink));
    EXPECT_TRUE(ours == original);
    EXPECT_EQ(fabric.counters().written_bytes - before.written_bytes, ours.size());
    EXPECT_EQ(fabric.counters().read_bytes - before.read_bytes, ours.size());
  }
};

TEST_F(RdmaInfiniBand, nics_move_the_bytes_of_both_directions) {
  ASSERT_NO_FATAL_FAILURE(join());
  there_and_back();
}

TEST_F(RdmaInfiniBand, the_way_to_another_subnet_is_a_global_one) {
  fake.set_subnet(kServer, 0x44, kOtherSubnet);
  ASSERT_NO_FATAL_FAILURE(join());
  there_and_back();
}

TEST_F(RdmaInfiniBand, a_port_that_goes_down_ends_its_sessions_and_serves_when_it_is_back) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.set_port(kClient, 0);
  ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
  EXPECT_NE(client.closed->text().find("port went down"), std::string_view::npos);
  fake.set_port(kClient, 1);
  ASSERT_NO_FATAL_FAILURE(connect_again());
}

TEST_F(RdmaInfiniBand, a_port_that_got_another_lid_is_found_where_it_is_now) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.set_subnet(kServer, 0x55, kSubnet);
  client.session->close(Status(StatusCode::canceled, "for a test"));
  ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
  ASSERT_NO_FATAL_FAILURE(connect_again());
}

TEST_F(RdmaInfiniBand, a_peer_on_ethernet_is_refused_by_name) {
  for (const int ethernet : {kServer, kClient}) {
    fake.set_infiniband(kClient, ethernet != kClient);
    fake.set_infiniband(kServer, ethernet != kServer);
    RdmaFabric anew{loop, worker};
    ListenOptions options;
    options.server_id = 3;
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{kKey}; };
    const auto door = std::move(*anew.listen("rdma://127.0.0.2:0", std::move(options),
                                             [](std::unique_ptr<Session>) { FAIL(); }));
    Connected out;
    loop.spawn(run_connect(&anew, options_to(door->address()), &out));
    ASSERT_TRUE(until([&] { return out.has_value(); }));
    ASSERT_FALSE(out->has_value());
    EXPECT_TRUE(out->error().is(StatusCode::unsupported)) << out->error().to_string();
    EXPECT_NE(out->error().text().find("InfiniBand"), std::string_view::npos)
        << out->error().to_string();
  }
}

TEST_F(RdmaInfiniBand, without_a_subnet_manager_there_is_no_connection_and_it_is_said_why) {
  ASSERT_NO_FATAL_FAILURE(listen());
  fake.set_subnet(kClient, 0, kSubnet);
  const Status status = connect(options_to(listener->address()));
  EXPECT_TRUE(status.is(StatusCode::unavailable)) << status.to_string();
  EXPECT_NE(status.text().find("subnet manager"), std::string_view::npos) << status.to_string();
}

}  // namespace
}  // namespace gd2fs
