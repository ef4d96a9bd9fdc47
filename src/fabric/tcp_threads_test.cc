// Server and client on loops and threads of their own, as they are in life; for the thread
// sanitizer.
#include <atomic>
#include <list>
#include <thread>

#include <gtest/gtest.h>

#include "fabric/conformance_pair.h"
#include "fabric/reply.h"
#include "fabric/tcp_fabric.h"

namespace gd2fs {
namespace {

// Answers each request by pushing its window full of the byte that the body names, from a thread
// of its own.
class EchoServer {
 public:
  EchoServer() {
    ListenOptions options;
    options.insecure = true;
    auto result = fabric_.listen(
        "tcp://127.0.0.1:0", std::move(options), [this](std::unique_ptr<Session> session) {
          Side& side = sides_.emplace_back();
          Session* raw = session.get();
          side.handler = [this, raw](const Message& message) { serve(*raw, message); };
          side.session = std::move(session);
          side.session->set_events(&side);
        });
    listener_ = std::move(*result);
    address_ = listener_->address();
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~EchoServer() {
    loop_.stop();
    thread_.join();
    for (Side& side : sides_) side.session.reset();
  }
  const std::string& address() const { return address_; }

 private:
  struct Request {
    std::vector<std::byte> memory;
    Push push;
    Request(size_t length_bytes, std::byte fill) : memory(length_bytes, fill) {
      push.bytes = memory;
      push.crc = crc32c(memory);
      push.done.bind(this, [](void*, Completion&) {});
    }
  };
  void serve(Session& session, const Message& message) {
    const auto length = load_le<uint64_t>(message.body.data());
    Request& request = requests_.emplace_back(length, message.body[8]);
    request.push.request_id = message.request_id;
    session.push(request.push);
    reply_body(session, msg::Type::read, message.request_id, {});
  }

  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  ThreadWorker worker_{"server-resolver"};
  TcpFabric fabric_{loop_, worker_};
  std::list<Side> sides_;
  std::list<Request> requests_;
  std::unique_ptr<Listener> listener_;
  std::string address_;
  std::thread thread_;
};

void run_client(const std::string& address, uint64_t seed, std::atomic<int>* answered) {
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  ThreadWorker worker("client-resolver");
  TcpFabric fabric(loop, worker);
  Random random(seed);
  Side side;
  bool failed = false;
  struct Connect {
    static Task<void> run(TcpFabric* fabric, std::string address, Side* side, bool* failed) {
      ConnectOptions options;
      options.address = std::move(address);
      options.insecure = true;
      options.lanes = 2;
      options.events = side;
      options.timeout_ns = 30 * kSecond;
      auto session = co_await fabric->connect(std::move(options));
      *failed = !session.has_value();
      if (session.has_value()) side->session = std::move(*session);
    }
  };
  loop.spawn(Connect::run(&fabric, address, &side, &failed));
  while (side.session == nullptr && !failed) loop.turn(kMs);
  ASSERT_FALSE(failed);
  for (int i = 0; i < 30; ++i) {
    std::byte body[9];
    const uint64_t length = 1 + random.below(700'000);
    const auto fill = static_cast<std::byte>(random.next());
    store_le(body, length);
    body[8] = fill;
    std::vector<std::byte> memory(length);
    Window window;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = side.session->next_request_id();
    side.session->expose(window);
    ASSERT_TRUE(side.session->send(65, window.request_id, body, &window).ok());
    const bool give_up = random.chance(1, 4);
    // Replies to requests that were given up may come before and after it.
    const auto answered_now = [&] {
      return std::ranges::any_of(side.replies, [&](const Received& reply) {
        return reply.request_id == window.request_id;
      });
    };
    while (!give_up && !answered_now() && !side.closed) loop.turn(kSecond);
    ASSERT_FALSE(side.closed.has_value());
    Flag withdrawn;
    side.session->withdraw(window, withdrawn.done);
    while (!withdrawn.finished) loop.turn(0);
    if (give_up) continue;
    ASSERT_TRUE(std::ranges::all_of(memory, [fill](std::byte b) { return b == fill; }));
    side.replies.clear();
    ++*answered;
  }
}

TEST(TcpThreads, clients_and_server_on_threads_of_their_own) {
  EchoServer server;
  std::atomic<int> answered = 0;
  std::vector<std::thread> clients;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    clients.emplace_back([&, seed] { run_client(server.address(), seed, &answered); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(answered.load(), 40);
}

}  // namespace
}  // namespace gd2fs
