// What a device says by itself ends its sessions at once: over the fake NICs, with nothing under
// way that would find out, and within a time in which no ping is sent.
#include <algorithm>
#include <array>

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

TEST_F(RdmaEvents, a_device_that_is_back_is_opened_once_for_all_who_wait_for_it) {
  ASSERT_NO_FATAL_FAILURE(listen());
  auto bytes = random_bytes(random, 1 << 20);
  const Registered registered(fabric, bytes, true);
  std::array<Side, 3> sides;
  const auto connect_all = [&] {
    std::array<Connected, 3> made;
    for (size_t i = 0; i < sides.size(); ++i) {
      ConnectOptions options = options_to(listener->address());
      options.events = &sides[i];
      loop.spawn(run_connect(&fabric, std::move(options), &made[i]));
    }
    ASSERT_TRUE(until([&] {
      return std::ranges::all_of(made, [](const auto& one) { return one.has_value(); });
    }));
    for (size_t i = 0; i < sides.size(); ++i) {
      ASSERT_TRUE(made[i]->has_value()) << made[i]->error().to_string();
      sides[i].session = std::move(**made[i]);
    }
  };
  ASSERT_NO_FATAL_FAILURE(connect_all());
  const uint64_t regions = fake.counts(kClient).regions;
  fake.remove_device(kClient);
  ASSERT_TRUE(until([&] {
    return std::ranges::all_of(sides, [](const auto& side) { return side.closed.has_value(); });
  }));
  for (Side& side : sides) {
    side.session.reset();
    side.closed.reset();
  }
  accepted.clear();
  fake.insert_device(kClient);
  ASSERT_NO_FATAL_FAILURE(connect_all());
  EXPECT_EQ(fake.counts(kClient).regions, regions);
}

TEST_F(RdmaEvents, a_device_that_was_removed_ends_its_sessions_and_is_opened_anew_when_it_is_back) {
  ASSERT_NO_FATAL_FAILURE(join());
  auto bytes = random_bytes(random, 1 << 20);
  const Registered registered(fabric, bytes, true);
  fake.remove_device(kClient);
  ASSERT_TRUE(ends_at_once());
  EXPECT_NE(client.closed->text().find("was removed"), std::string_view::npos)
      << client.closed->to_string();
  // The loop sleeps, although both files of the device are at their end.
  const uint64_t end_ns = clock.now_ns() + 200 * kMs;
  size_t turns = 0;
  for (; clock.now_ns() < end_ns; ++turns) loop.turn(100 * kMs);
  EXPECT_LT(turns, 50u);
  EXPECT_FALSE(fabric.nics().front().up);
  // Memory is still registered with those that are there.
  auto more = random_bytes(random, 4096);
  const Registered registered_too(fabric, more, true);
  client.session.reset();
  EXPECT_TRUE(connect(options_to(listener->address())).is(StatusCode::unavailable));

  fake.insert_device(kClient);
  ASSERT_NO_FATAL_FAILURE(connect_again());
  Window window;
  std::vector<std::byte> from = bytes;
  const Registered source(fabric, from, false);
  const uint64_t id = request(window, Window::Direction::sink, bytes);
  const uint64_t copied = fabric.counters().copied_windows;
  PushFlag push(id, 0, from);
  server().session->push(push);
  EXPECT_TRUE(until([&] { return push.finished; }));
  EXPECT_TRUE(push.status.ok()) << push.status.to_string();
  EXPECT_EQ(fabric.counters().copied_windows, copied);
  EXPECT_EQ(fabric.counters().written_bytes, bytes.size());
  ASSERT_NO_FATAL_FAILURE(give_back(window));
}

TEST_F(RdmaEvents, a_device_that_has_failed_is_opened_anew) {
  ASSERT_NO_FATAL_FAILURE(join());
  fake.fail_device(kClient);
  ASSERT_TRUE(ends_at_once());
  fake.set_port(kClient, 1);
  ASSERT_NO_FATAL_FAILURE(connect_again());
  EXPECT_TRUE(fabric.nics().front().up);
}

// The worker answers when it is told to.
class LateWorker final : public Worker {
 public:
  void submit(Loop&, Job& job) override {
    EXPECT_TRUE(job.run().ok());
    job_ = &job;
  }
  void answer(Loop& loop) { loop.complete(std::exchange(job_, nullptr)->done, Status()); }

 private:
  Job* job_ = nullptr;
};

TEST_F(RdmaEvents, what_the_device_says_is_newer_than_the_answer_to_an_earlier_question) {
  LateWorker late;
  const auto busy = std::make_shared<uint32_t>(0);
  const auto port = *RdmaPort::open(loop, *verbs::Nic::open("127.0.0.3"));
  ASSERT_TRUE(port->start().ok());
  port->ask_whether_up(late, busy);  // it is
  fake.set_port(2, 0);
  ASSERT_TRUE(until([&] { return !port->up(); }));
  late.answer(loop);
  ASSERT_TRUE(until([&] { return *busy == 0; }));
  EXPECT_FALSE(port->up());
  // The answer to one that was asked since is believed.
  fake.set_events(0);
  fake.set_port(2, 1);
  port->ask_whether_up(late, busy);
  late.answer(loop);
  ASSERT_TRUE(until([&] { return *busy == 0; }));
  EXPECT_TRUE(port->up());
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
