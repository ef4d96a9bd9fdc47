// The server is stopped past the client's patience while its NIC holds work; the client gives up,
// frees its buffer and uses it again; then the server's NIC goes on. Not one byte may land.
#include "fabric/rdma_world.h"

namespace gd2fs {
namespace {

class RdmaCanary : public RdmaWorld {
 protected:
  static constexpr size_t kSize = 4 << 20;
  std::vector<std::byte> from = random_bytes(random, kSize);
  std::vector<std::byte> to = std::vector<std::byte>(kSize);
  Window window;

  // Whoever is `hasty` takes the buffer back without waiting for the withdrawal.
  enum class Owner { patient, hasty };

  // Answers what lands in the buffer after it was given back.
  size_t late_bytes_of_a_stopped_server(Owner owner = Owner::patient) {
    const Registered source(fabric, from, false);
    const Registered target(fabric, to, true);
    const uint64_t id = request(window, Window::Direction::sink, to);
    fake.hold(kServer, 1);
    PushFlag push(id, 0, from);
    server().session->push(push);
    EXPECT_TRUE(until([&] { return fake.queued() >= 4; }));
    // The server can say nothing any more, as if stopped, and its NIC has the WRITEs.
    const uint64_t begin_ns = clock.now_ns();
    Flag back;
    client.session->withdraw(window, back.done);
    if (owner == Owner::patient) {
      EXPECT_TRUE(until([&] { return back.finished; }));
      EXPECT_LT(clock.now_ns() - begin_ns, 2 * kSecond);
      EXPECT_GE(clock.now_ns() - begin_ns, RdmaClientSession::kRecallMaxNs);
    }
    std::ranges::fill(to, std::byte{0xCA});  // the application's new bytes
    fake.hold(kServer, 0);
    EXPECT_TRUE(until([&] { return fake.queued() == 0; }));
    run_for_ns(30 * kMs);
    const auto changed =
        std::ranges::count_if(to, [](std::byte b) { return b != std::byte{0xCA}; });
    EXPECT_TRUE(until([&] { return back.finished && push.finished; }));
    if (owner == Owner::hasty) return static_cast<size_t>(changed);
    EXPECT_TRUE(until([&] { return client.closed.has_value(); }));
    EXPECT_TRUE(client.closed->is(StatusCode::timed_out)) << client.closed->to_string();
    return static_cast<size_t>(changed);
  }
};

TEST_F(RdmaCanary, a_buffer_that_came_back_is_never_touched_by_a_server_that_wakes_up_late) {
  ASSERT_NO_FATAL_FAILURE(join());
  EXPECT_EQ(late_bytes_of_a_stopped_server(), 0u);
  EXPECT_EQ(fake.counts(kServer).late_bytes, 0u);
}

// The same with NICs that do not end what a destroyed queue pair had: the test would see it.
TEST_F(RdmaCanary, the_canary_sees_bytes_that_a_destroyed_queue_pair_lets_through) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.let_late_bytes_through(1);
  EXPECT_GT(late_bytes_of_a_stopped_server(), 0u);
  EXPECT_GT(fake.counts(kServer).late_bytes, 0u);
}

// And the same without the wait for the end of the withdrawal, which is all that keeps them out.
TEST_F(RdmaCanary, the_canary_sees_bytes_when_nobody_waits_for_the_withdrawal) {
  ASSERT_NO_FATAL_FAILURE(join());
  EXPECT_GT(late_bytes_of_a_stopped_server(Owner::hasty), 0u);
}

}  // namespace
}  // namespace gd2fs
