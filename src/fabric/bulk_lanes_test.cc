// Sessions whose lanes are moved by threads: memory that is given up while they are at it, ends of
// all kinds, peers that lie. The conformance suite has the rest.
#include <algorithm>
#include <chrono>
#include <list>
#include <thread>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "fabric/conformance_pair.h"
#include "fabric/conformance_pairs.h"
#include "fabric/tcp_lane.h"

namespace gd2fs {
namespace {

constexpr uint16_t kType = 65;
constexpr size_t kBytes = 24 << 20;
constexpr int kRounds = 12;

// Memory that faults when anything touches it after it was given up: a crc would end the process, a
// call to the kernel its session.
class Pages {
 public:
  Pages()
      : data_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)) {
    EXPECT_NE(data_, MAP_FAILED);
  }
  ~Pages() { give_up(); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  Bytes bytes() const { return {static_cast<std::byte*>(data_), kBytes}; }
  // The address stays taken, so that nobody else gets it.
  void give_up() { mprotect(data_, kBytes, PROT_NONE); }

 private:
  void* data_;
};

class BulkLanesTest : public testing::Test {
 protected:
  std::shared_ptr<LanePumps> pumps = std::make_shared<LanePumps>(3);
  std::unique_ptr<TcpPair> pair = std::make_unique<TcpPair>("127.0.0.1", options());
  Random random{11};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side client;

  TcpOptions options() const {
    TcpOptions tcp;
    tcp.pumps = pumps;
    tcp.pumps_from_bytes = 1;
    return tcp;
  }
  void SetUp() override {
    ListenOptions listen;
    listen.insecure = true;
    auto made = pair->server().listen("tcp://127.0.0.1:0", std::move(listen),
                                      [this](std::unique_ptr<Session> session) {
                                        Side& side = accepted.emplace_back();
                                        side.session = std::move(session);
                                        side.session->set_events(&side);
                                      });
    ASSERT_TRUE(made.has_value());
    listener = std::move(*made);
    join();
  }
  void TearDown() override {
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  // A new client session, with a server side of its own.
  void join() {
    client.session.reset();
    client = Side();
    const size_t before = accepted.size();
    ConnectOptions options;
    options.address = listener->address();
    options.insecure = true;
    options.lanes = 4;
    const Status status =
        connect_side(pair->client(), pair->client_loop(), std::move(options), client,
                     [this](const auto& predicate) { return until(predicate); });
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(until([&] { return accepted.size() > before; }));
  }
  Side& server() { return accepted.back(); }
  bool until(const std::function<bool()>& predicate) { return pair->run_until(predicate); }
  void turn_for_ms(uint64_t ms) { pair->run_for_ns(ms * kMs); }

  // A request with this window has reached the server.
  void ask(Window& window, Window::Direction direction, Bytes memory) {
    window.direction = direction;
    window.segments.clear();
    for (Bytes left = memory; !left.empty();) {
      const size_t part = std::min<size_t>(left.size(), 1 + random.below(3 << 20));
      window.segments.push_back({left.data(), part});
      left = left.subspan(part);
    }
    window.request_id = client.session->next_request_id();
    server().messages.clear();
    client.session->expose(window);
    ASSERT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    ASSERT_TRUE(until([&] { return !server().messages.empty(); }));
  }
  void withdraw(Window& window) {
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }
  // Until so much has moved, or nothing more does.
  void until_moved(const Window& window, uint64_t bytes) {
    ASSERT_TRUE(until([&] { return window.moved_bytes >= bytes; }));
  }
  // (Not by their number: what was answered a round ago may come only now, behind what was
  // drained.)
  bool answered(const Window& window) const {
    return std::ranges::any_of(client.replies, [&](const Received& reply) {
      return reply.request_id == window.request_id;
    });
  }
  // All of `from`, into a new window over `to`.
  void push_whole(ConstBytes from, Bytes to, bool around_caches = false) {
    Window window;
    window.around_caches = around_caches;
    ask(window, Window::Direction::sink, to);
    PushFlag push(window.request_id, 0, from);
    server().session->push(push);
    ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
    ASSERT_TRUE(until([&] { return push.finished && answered(window); }));
    EXPECT_TRUE(std::ranges::equal(to, from));
    withdraw(window);
  }
  // The session still moves bytes as it should.
  void expect_sound() {
    ASSERT_TRUE(client.session->open());
    const auto from = random_bytes(random, 3'000'000);
    std::vector<std::byte> to(from.size());
    push_whole(from, to);
  }
};

TEST_F(BulkLanesTest, threads_move_pushes_and_pulls_whole) {
  const auto from = random_bytes(random, kBytes);
  Pages to;
  push_whole(from, to.bytes());
  EXPECT_EQ(pumps->threads(), 3u);

  Window source;
  ask(source, Window::Direction::source, to.bytes());
  std::vector<std::byte> pulled(kBytes);
  std::vector<uint32_t> crcs(kBytes / kPullBlockBytes);
  PullFlag pull(source.request_id, 0, pulled);
  pull.block_crcs = crcs;
  server().session->pull(pull);
  ASSERT_TRUE(until([&] { return pull.finished; }));
  EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
  EXPECT_TRUE(pulled == from);
  for (size_t i = 0; i < crcs.size(); ++i) {
    ASSERT_EQ(crcs[i], crc32c(ConstBytes(from).subspan(i * kPullBlockBytes, kPullBlockBytes)));
  }
  ASSERT_TRUE(until([&] { return source.moved_bytes == kBytes; }));
  withdraw(source);
}

TEST_F(BulkLanesTest, threads_move_bytes_around_the_caches_whole) {
  const auto from = random_bytes(random, kBytes);
  Pages to;
  push_whole(from, to.bytes(), true);
}

TEST_F(BulkLanesTest, what_is_withdrawn_while_it_is_filled_is_not_touched_any_more) {
  const auto from = random_bytes(random, kBytes);
  for (int round = 0; round < kRounds; ++round) {
    Pages to;
    Window window;
    window.around_caches = round % 2 == 1;
    ask(window, Window::Direction::sink, to.bytes());
    PushFlag push(window.request_id, 0, from);
    server().session->push(push);
    until_moved(window, random.below(kBytes / 2));
    Completion done;
    done.bind(this, [](void*, Completion&) {});
    client.session->withdraw(window, done);
    to.give_up();
    ASSERT_TRUE(until([&] { return push.finished && !done.pending(); }));
    ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
    ASSERT_TRUE(until([&] { return answered(window); }));
    turn_for_ms(3);
  }
  expect_sound();
}

TEST_F(BulkLanesTest, what_is_withdrawn_while_it_is_sent_is_not_touched_any_more) {
  std::vector<std::byte> pulled(kBytes);
  int cut_short = 0;  // a lane's thread may have sent all before this one had its turn
  for (int round = 0; round < kRounds; ++round) {
    Pages from;
    Window window;
    ask(window, Window::Direction::source, from.bytes());
    PullFlag pull(window.request_id, 0, pulled);
    server().session->pull(pull);
    until_moved(window, random.below(kBytes / 2));
    Completion done;
    done.bind(this, [](void*, Completion&) {});
    client.session->withdraw(window, done);
    from.give_up();
    ASSERT_TRUE(until([&] { return pull.finished && !done.pending(); }));
    if (!pull.status.ok()) ++cut_short;
    ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
  }
  EXPECT_GT(cut_short, 0);
  expect_sound();
}

TEST_F(BulkLanesTest, a_request_dropped_in_the_middle_gives_its_memory_back) {
  std::vector<std::byte> at_client(kBytes);
  for (int round = 0; round < kRounds; ++round) {
    Pages into;
    Window source;
    ask(source, Window::Direction::source, at_client);
    PullFlag pull(source.request_id, 0, into.bytes());
    server().session->pull(pull);
    until_moved(source, random.below(kBytes / 2));
    server().session->drop_request(source.request_id);
    ASSERT_TRUE(until([&] { return pull.finished; }));
    into.give_up();
    withdraw(source);

    Pages from;
    Window sink;
    ask(sink, Window::Direction::sink, at_client);
    PushFlag push(sink.request_id, 0, from.bytes());
    server().session->push(push);
    until_moved(sink, random.below(kBytes / 2));
    server().session->drop_request(sink.request_id);
    ASSERT_TRUE(until([&] { return push.finished; }));
    EXPECT_TRUE(push.status.ok() || push.status.is(StatusCode::canceled));
    from.give_up();
    withdraw(sink);
  }
  expect_sound();
}

TEST_F(BulkLanesTest, a_pull_that_ends_early_does_not_take_the_next_one_s_bytes) {
  const auto from = random_bytes(random, kBytes);
  std::vector<std::byte> memory = from;
  Window window;
  ask(window, Window::Direction::source, memory);
  for (int round = 0; round < kRounds; ++round) {
    Pages first;
    PullFlag out_of_window(window.request_id, kBytes / 2, first.bytes().first(kBytes / 2));
    server().session->pull(out_of_window);
    ASSERT_TRUE(until([&] { return out_of_window.finished; }));
    EXPECT_TRUE(
        std::ranges::equal(first.bytes().first(kBytes / 2), ConstBytes(from).subspan(kBytes / 2)));
    first.give_up();
  }
  withdraw(window);
}

// What was in flight when a session ended, on the side that ended it and on the other.
struct InFlight {
  Pages sink_memory;
  Pages source_memory;
  Pages from;
  Pages into;
  Window sink;
  Window source;
  std::unique_ptr<PushFlag> push;
  std::unique_ptr<PullFlag> pull;
  bool over() const { return push->finished && pull->finished; }
};

class BulkLanesEnd : public BulkLanesTest {
 protected:
  std::unique_ptr<InFlight> begin() {
    auto all = std::make_unique<InFlight>();
    ask(all->sink, Window::Direction::sink, all->sink_memory.bytes());
    ask(all->source, Window::Direction::source, all->source_memory.bytes());
    all->push = std::make_unique<PushFlag>(all->sink.request_id, 0, all->from.bytes());
    all->pull = std::make_unique<PullFlag>(all->source.request_id, 0, all->into.bytes());
    server().session->push(*all->push);
    server().session->pull(*all->pull);
    until_moved(random.chance(1, 2) ? all->sink : all->source, random.below(kBytes / 2));
    return all;
  }
  // All of it is out of everybody's reach.
  void end(InFlight& all) {
    all.sink_memory.give_up();
    all.source_memory.give_up();
    all.from.give_up();
    all.into.give_up();
    turn_for_ms(5);
    join();
    expect_sound();
  }
};

TEST_F(BulkLanesEnd, the_client_closes) {
  for (int round = 0; round < kRounds / 2; ++round) {
    const auto all = begin();
    client.session->close(Status(StatusCode::canceled, "enough"));
    all->sink_memory.give_up();
    all->source_memory.give_up();
    ASSERT_TRUE(until([&] { return client.closed && server().closed && all->over(); }));
    end(*all);
  }
}

TEST_F(BulkLanesEnd, the_server_closes) {
  for (int round = 0; round < kRounds / 2; ++round) {
    const auto all = begin();
    server().session->close(Status(StatusCode::canceled, "enough"));
    ASSERT_TRUE(until([&] { return all->over(); }));
    all->from.give_up();
    all->into.give_up();
    ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
    end(*all);
  }
}

TEST_F(BulkLanesEnd, an_open_session_is_destroyed) {
  for (int round = 0; round < kRounds / 2; ++round) {
    const auto all = begin();
    client.session.reset();
    all->sink_memory.give_up();
    all->source_memory.give_up();
    ASSERT_TRUE(until([&] { return server().closed && all->over(); }));
    end(*all);
  }
}

TEST_F(BulkLanesTest, little_work_starts_no_thread) {
  auto idle = std::make_shared<LanePumps>(3);
  TcpOptions tcp = options();
  tcp.pumps = idle;
  tcp.pumps_from_bytes = TcpOptions().pumps_from_bytes;
  TearDown();
  accepted.clear();
  pair = std::make_unique<TcpPair>("127.0.0.1", tcp);
  SetUp();
  std::vector<std::byte> from(1 << 20, std::byte{7});
  for (int i = 0; i < 50; ++i) {
    std::vector<std::byte> to(from.size());
    Window window;
    ask(window, Window::Direction::sink, to);
    PushFlag push(window.request_id, 0, from);
    server().session->push(push);
    ASSERT_TRUE(until([&] { return window.moved_bytes == to.size() && push.finished; }));
    EXPECT_TRUE(to == from);
    ASSERT_TRUE(server().session->reply(kType, window.request_id, {}).ok());
    withdraw(window);
  }
  EXPECT_EQ(idle->threads(), 0u);
  // With much to move there are.
  std::vector<std::byte> large(kBytes, std::byte{9});
  std::vector<std::byte> to(kBytes);
  Window window;
  ask(window, Window::Direction::sink, to);
  PushFlag push(window.request_id, 0, large);
  server().session->push(push);
  ASSERT_TRUE(until([&] { return window.moved_bytes == kBytes && push.finished; }));
  EXPECT_TRUE(to == large);
  EXPECT_GT(idle->threads(), 0u);
  withdraw(window);
}

// A thread may find before the loop does that the peer is gone. What the peer said last lies in the
// first lane, and more of it than the loop takes in a turn.
TEST_F(BulkLanesTest, the_last_words_of_a_peer_that_is_gone_are_heard) {
  expect_sound();  // each lane has its thread
  constexpr int kWords = 3;
  const std::vector<std::byte> word(TcpLane::kReadTurnBytes * 3 / 4);
  for (int i = 0; i < kWords; ++i) ASSERT_TRUE(server().session->send(kType, 0, word).ok());
  server().session->close(Status(StatusCode::canceled, "enough"));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the threads', not the loop's
  EXPECT_FALSE(client.closed.has_value());
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_EQ(client.messages.size(), kWords);
}

TEST_F(BulkLanesTest, a_silent_lane_is_pinged_and_answers) {
  TearDown();
  accepted.clear();
  TcpOptions tcp = options();
  tcp.ping_after_ns = 20 * kMs;
  tcp.dead_after_ns = 200 * kMs;
  pair = std::make_unique<TcpPair>("127.0.0.1", tcp);
  SetUp();
  expect_sound();
  turn_for_ms(1000);
  EXPECT_FALSE(client.closed.has_value());
  expect_sound();
}

}  // namespace
}  // namespace gd2fs
