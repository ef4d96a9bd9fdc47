// What a device says by itself ends its sessions at once: over the fake NICs, with nothing under
// way that would find out, and within a time in which no ping is sent.
#include "fabric/rdma_world.h"

namespace gd2fs {
namespace {

class RdmaEvents : public RdmaWorld {
 protected:
  static constexpr uint64_t kAtOnceNs = 200 * kMs;
  bool ends_at_once() {
    const uint64_t end_ns = clock.now_ns() + kAtOnceNs;
    while (clock.now_ns() < end_ns && !(client.closed && server().closed)) loop.turn(kMs);
    return client.closed && server().closed;
  }
};

TEST_F(RdmaEvents, a_port_that_goes_down_ends_its_idle_sessions_and_serves_when_it_is_back) {
  ASSERT_NO_FATAL_FAILURE(join());
  run_for_ns(20 * kMs);
  ASSERT_FALSE(client.closed);
  fake.set_port(kClient, 0);
  ASSERT_TRUE(ends_at_once());
  EXPECT_TRUE(client.closed->is(StatusCode::unavailable));
  EXPECT_NE(client.closed->text().find("port went down"), std::string_view::npos)
      << client.closed->to_string();
  EXPECT_EQ(fake.counts(kClient).queue_pairs, 0u);
  fake.set_port(kClient, 1);
  ASSERT_NO_FATAL_FAILURE(connect_again());
}

TEST_F(RdmaEvents, a_device_that_fails_ends_what_is_under_way) {
  ASSERT_NO_FATAL_FAILURE(join());
  auto from = random_bytes(random, 1 << 20);
  std::vector<std::byte> to(from.size());
  const Registered source(fabric, from, false);
  const Registered target(fabric, to, true);
  Window window;
  const uint64_t id = request(window, Window::Direction::sink, to);
  fake.hold(kServer, 1);
  PushFlag push(id, 0, from);
  server().session->push(push);
  run_for_ns(20 * kMs);
  ASSERT_FALSE(push.finished);
  fake.fail_device(kServer);
  ASSERT_TRUE(ends_at_once());
  EXPECT_TRUE(push.finished);
  EXPECT_TRUE(push.status.is(StatusCode::unavailable)) << push.status.to_string();
  EXPECT_NE(server().closed->text().find("device has failed"), std::string_view::npos);
}

TEST_F(RdmaEvents, without_a_word_of_the_device_only_a_ping_finds_out) {
  fake.set_events(0);
  ASSERT_NO_FATAL_FAILURE(join());
  fake.set_port(kClient, 0);
  EXPECT_FALSE(ends_at_once());
}

TEST_F(RdmaEvents, the_port_of_another_device_is_of_no_concern) {
  ASSERT_NO_FATAL_FAILURE(join());
  ASSERT_TRUE(fabric.open_nic("127.0.0.3").ok());
  fake.set_port(2, 0);
  EXPECT_FALSE(ends_at_once());
  EXPECT_TRUE(client.session->open());
}

}  // namespace
}  // namespace gd2fs
