// Conformance: what fabric.h promises is tested over every fabric there is. A client session, and
// what the server has of it.
#pragma once

#include <list>

#include <gtest/gtest.h>

#include "fabric/conformance_pair.h"
#include "fabric/conformance_pairs.h"
#include "wire/message.h"

namespace gd2fs {

inline constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
inline constexpr char kKey[] = "0123456789abcdef0123456789abcdef";

inline std::vector<std::byte> body_of(uint64_t number) {
  std::vector<std::byte> body(8);
  store_le(body.data(), number);
  return body;
}
inline uint64_t number_of(ConstBytes body) {
  return load_le<uint64_t>(body.data());
}

class Conformance : public testing::TestWithParam<MakePair> {
 protected:
  std::unique_ptr<FabricPair> pair = GetParam().make(1);
  Random random{7};
  std::list<Side> accepted;
  std::unique_ptr<Listener> listener;
  Side client;
  std::vector<std::string> keys{kKey};

  ~Conformance() override { end(); }
  void end() {
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  // With another pair, after the first.
  void begin_again(uint64_t seed) {
    end();
    pair.reset();
    pair = GetParam().make(seed);
    accepted.clear();
    client.closed.reset();
    client.times_closed = 0;
  }

  void listen(uint32_t sessions_max = 100) {
    ListenOptions options;
    options.server_id = 3;
    options.incarnation = 77;
    options.sessions_max = sessions_max;
    options.same_host_directory = pair->same_host_directory();
    options.keys = [this](PeerRole role, std::string_view cluster) {
      return role == PeerRole::client && cluster == "kv" ? keys : std::vector<std::string>();
    };
    auto result = pair->server().listen(pair->listen_address(), std::move(options),
                                        [this](std::unique_ptr<Session> session) {
                                          Side& side = accepted.emplace_back();
                                          side.session = std::move(session);
                                          side.session->set_events(&side);
                                        });
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    listener = std::move(*result);
  }
  ConnectOptions options_to(const std::string& address) {
    ConnectOptions options;
    options.address = address;
    options.cluster = "kv";
    options.key = kKey;
    options.incarnation = 42;
    options.lanes = 3;
    if (!pair->same_host_directory().empty()) options.same_host = SameHost::required;
    return options;
  }
  Status connect(Side& side, ConnectOptions options) {
    return connect_side(pair->client(), pair->client_loop(), std::move(options), side,
                        [this](const auto& predicate) { return until(predicate); });
  }
  // The usual: one client session and its server side.
  void join() {
    listen();
    const Status status = connect(client, options_to(listener->address()));
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(pair->run_until([&] { return accepted.size() == 1; }));
  }
  Side& server() { return accepted.front(); }
  bool until(const std::function<bool()>& predicate) { return pair->run_until(predicate); }

  uint64_t request(Window* window = nullptr, Side* from = nullptr) {
    Session& session = *(from != nullptr ? *from : client).session;
    const uint64_t id = session.next_request_id();
    if (window != nullptr) {
      window->request_id = id;
      session.expose(*window);
    }
    const Status sent = session.send(kType, id, body_of(id), window);
    EXPECT_TRUE(sent.ok()) << sent.to_string();
    return id;
  }
  // A request has reached the server, which has not answered it.
  uint64_t request_there(Window& window) {
    const uint64_t id = request(&window);
    EXPECT_TRUE(until([&] { return !server().messages.empty(); }));
    EXPECT_EQ(server().messages.back().request_id, id);
    return id;
  }
  void withdraw(Window& window) {
    Flag flag;
    client.session->withdraw(window, flag.done);
    EXPECT_TRUE(until([&] { return flag.finished; }));
    EXPECT_TRUE(flag.status.ok());
  }
};

inline void set_memory(Window& window, Window::Direction direction, Bytes memory) {
  window.direction = direction;
  window.segments = {{memory.data(), memory.size()}};
}

// Cuts memory into segments of odd sizes, one of them empty.
inline void set_scattered(Window& window, Window::Direction direction, Bytes memory,
                          Random& random) {
  window.direction = direction;
  window.segments.clear();
  while (!memory.empty()) {
    const size_t part = std::min<size_t>(memory.size(), 1 + random.below(memory.size() / 3 + 9000));
    window.segments.push_back({memory.data(), part});
    if (random.chance(1, 4)) window.segments.push_back({memory.data(), 0});
    memory = memory.subspan(part);
  }
}

inline auto every_fabric() {
  return testing::ValuesIn(all_pairs());
}
inline std::string name_of(const testing::TestParamInfo<MakePair>& info) {
  return info.param.name;
}

}  // namespace gd2fs
