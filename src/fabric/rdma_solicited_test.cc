// Which completions wake a loop over RDMA: only messages of peers while nobody waits for more, and
// all of them as soon as somebody does. Client and server have loops of their own.
#include "fabric/raw_rdma_end.h"
#include "fabric/rdma_world.h"

namespace gd2fs {
namespace {

class RdmaSolicited : public RdmaWorld {
 protected:
  Loop far_loop{clock, Loop::Waits::epoll};
  RdmaFabric far_fabric{far_loop, worker};
  std::vector<std::byte> from = random_bytes(random, 4096);
  std::vector<std::byte> to = std::vector<std::byte>(from.size());
  const Registered source{fabric, from, false};
  const Registered target{far_fabric, to, true};
  Window window;

  ~RdmaSolicited() override {
    fake.reset();
    client.session.reset();
  }
  bool until_both(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      far_loop.turn(kMs);
      loop.turn(kMs);
    }
    return true;
  }
  void join_far() {
    ASSERT_NO_FATAL_FAILURE(listen());
    const Status status =
        connect_side(far_fabric, far_loop, options_to(listener->address()), client,
                     [this](const auto& predicate) { return until_both(predicate); });
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(until_both([&] { return accepted.size() == 1; }));
  }
  // The server has a request for all of `to`, and nothing is carried out any more but by step().
  void ask() {
    window.segments = {{to.data(), to.size()}};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    ASSERT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    ASSERT_TRUE(until_both([&] { return server().messages.size() == 1; }));
    fake.manual(1);
  }
  // The server has nothing to do, and is about to sleep.
  void lie_down() {
    for (int turns = 0; turns < 3; ++turns) loop.turn(0);
    ASSERT_TRUE(loop.arm_pollers());
  }
  void carry_out_all() {
    while (fake.step(0) > 0) {
    }
  }
  // How often the server's NIC woke it for what follows.
  uint64_t wakes_for(const std::function<void()>& event) {
    const uint64_t before = fake.counts(kServer).events;
    event();
    return fake.counts(kServer).events - before;
  }
  uint64_t timer_ns() {
    const uint64_t now_ns = clock.now_ns();
    return std::max(loop.next_timer_ns(), now_ns) - now_ns;
  }
};

TEST_F(RdmaSolicited, the_end_of_an_answered_read_wakes_nobody_and_is_looked_for_soon) {
  ASSERT_NO_FATAL_FAILURE(join_far());
  ASSERT_NO_FATAL_FAILURE(ask());
  PushFlag push(window.request_id, 0, from);
  server().session->push(push);
  ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
  ASSERT_NO_FATAL_FAILURE(lie_down());
  EXPECT_EQ(wakes_for([&] { carry_out_all(); }), 0u);
  EXPECT_LE(timer_ns(), RdmaPort::kHeldMaxNs);
  EXPECT_FALSE(push.finished);
  while (!push.finished && timer_ns() <= RdmaPort::kHeldMaxNs) loop.turn(kSecond);
  EXPECT_TRUE(push.finished);
  fake.manual(0);
  ASSERT_TRUE(until_both([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(to == from);
  ASSERT_TRUE(until_both([&] { return timer_ns() > RdmaPort::kHeldMaxNs; }));  // no more of it
  // The next request wakes it.
  ASSERT_NO_FATAL_FAILURE(lie_down());
  EXPECT_EQ(wakes_for([&] {
              EXPECT_TRUE(client.session->send(kType, 0, {}).ok());
              ASSERT_TRUE(until_both([&] { return server().messages.size() == 2; }));
            }),
            1u);
}

TEST_F(RdmaSolicited, while_a_request_is_unanswered_each_completion_wakes) {
  ASSERT_NO_FATAL_FAILURE(join_far());
  ASSERT_NO_FATAL_FAILURE(ask());
  PushFlag push(window.request_id, 0, from);
  server().session->push(push);
  ASSERT_NO_FATAL_FAILURE(lie_down());
  EXPECT_EQ(wakes_for([&] { carry_out_all(); }), 1u);
  ASSERT_TRUE(until_both([&] { return push.finished; }));
}

TEST_F(RdmaSolicited, while_a_client_waits_for_its_memory_each_completion_wakes) {
  ASSERT_NO_FATAL_FAILURE(join_far());
  ASSERT_NO_FATAL_FAILURE(ask());
  PushFlag push(window.request_id, 0, from);
  server().session->push(push);
  ASSERT_NO_FATAL_FAILURE(lie_down());
  fake.hold(kServer, 1);
  Flag back;
  client.session->withdraw(window, back.done);
  far_loop.turn(0);
  carry_out_all();
  ASSERT_NO_FATAL_FAILURE(lie_down());
  fake.hold(kServer, 0);
  EXPECT_EQ(wakes_for([&] { carry_out_all(); }), 1u);
  fake.manual(0);
  ASSERT_TRUE(until_both([&] { return back.finished; }));
}

TEST_F(RdmaSolicited, without_room_for_a_message_each_completion_wakes) {
  ASSERT_NO_FATAL_FAILURE(join_far());
  fake.manual(1);
  for (uint32_t i = 0; i < RdmaQueue::kBuffers; ++i) {
    ASSERT_TRUE(server().session->send(kType, 0, {}).ok());
    loop.turn(0);
  }
  ASSERT_NO_FATAL_FAILURE(lie_down());
  EXPECT_GE(wakes_for([&] { carry_out_all(); }), 1u);
}

// It would not be woken by the next request.
TEST_F(RdmaSolicited, a_peer_whose_messages_are_not_solicited_wakes_by_each_completion) {
  ASSERT_NO_FATAL_FAILURE(listen());
  for (const bool solicits : {true, false}) {
    accepted.clear();
    RawRdmaEnd end(far_loop, worker);
    end.solicits = solicits;
    ConnectOptions options = options_to(listener->address());
    options.local_address = "tcp://127.0.0.1";
    end.join(std::move(options));
    ASSERT_TRUE(until_both([&] { return end.outcome() && accepted.size() == 1; }));
    ASSERT_TRUE(end.outcome()->ok()) << end.outcome()->to_string();
    ASSERT_TRUE(end.add(to).ok());
    end.ask(1, kType, false, end.segment(to), {});
    ASSERT_TRUE(until_both([&] { return server().messages.size() == 1; }));
    fake.manual(1);
    PushFlag push(1, 0, from);
    server().session->push(push);
    ASSERT_TRUE(server().session->reply(kType, 1, {}).ok());
    ASSERT_NO_FATAL_FAILURE(lie_down());
    EXPECT_EQ(wakes_for([&] { carry_out_all(); }), solicits ? 0u : 1u);
    fake.manual(0);
    ASSERT_TRUE(until_both([&] { return push.finished; }));
    end.remove(to);
  }
}

// What has failed is told in any case.
TEST_F(RdmaSolicited, a_failure_wakes_whoever_waits_for_messages_alone) {
  ASSERT_NO_FATAL_FAILURE(join_far());
  ASSERT_NO_FATAL_FAILURE(lie_down());
  fake.set_events(0);
  EXPECT_EQ(wakes_for([&] { fake.break_pairs(kServer); }), 1u);
  ASSERT_TRUE(until_both([&] { return server().closed.has_value(); }));
}

}  // namespace
}  // namespace gd2fs
