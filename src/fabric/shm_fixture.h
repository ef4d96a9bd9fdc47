// For tests: a server and a client of the same host on one loop, and an arena to grant from.
#pragma once

#include <list>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "fabric/conformance_pair.h"
#include "fabric/shm_fabric.h"
#include "fabric/shm_memory.h"
#include "fabric/test_directory.h"
#include "wire/message.h"

namespace gd2fs {

// An arena as the slab makes it, but for the seals of its memory against writing (the test is the
// server too).
struct TestArena {
  explicit TestArena(uint32_t id, uint64_t units = 64) : shared(std::make_shared<SharedArena>()) {
    const uint64_t bytes = units * kGenerationUnitBytes;
    const uint64_t table_bytes = align_up(units * sizeof(Generation), 4096);
    memory_fd = std::move(*make_shared_memory("test-arena", bytes));
    table_fd = std::move(*make_shared_memory("test-generations", table_bytes));
    memory =
        std::move(*SharedMapping::map(memory_fd.fd(), bytes, SharedMapping::Access::read_write));
    table = std::move(
        *SharedMapping::map(table_fd.fd(), table_bytes, SharedMapping::Access::read_write));
    shared->id = id;
    shared->fd = memory_fd.fd();
    shared->generations_fd = table_fd.fd();
    shared->length_bytes = bytes;
  }
  Bytes bytes(uint64_t offset, size_t length) { return {memory.data() + offset, length}; }
  Generation* generations() { return reinterpret_cast<Generation*>(table.data()); }
  // The page at this offset is that one.
  void set(uint64_t offset, size_t length, uint64_t generation) {
    const auto first = static_cast<uint32_t>(offset / kGenerationUnitBytes);
    const auto end =
        static_cast<uint32_t>((offset + length + kGenerationUnitBytes - 1) / kGenerationUnitBytes);
    set_generation(generations(), first, end - first, generation);
  }

  std::shared_ptr<SharedArena> shared;
  Descriptor memory_fd;
  Descriptor table_fd;
  SharedMapping memory;
  SharedMapping table;
};

class ShmWorld : public testing::Test {
 protected:
  static constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
  static constexpr const char* kKey = "0123456789abcdef0123456789abcdef";

  TestDirectory directory;
  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  ThreadWorker worker{"resolver"};
  ShmFabric fabric{loop, worker};
  Random random{7};
  std::unique_ptr<Listener> listener;
  Side client;
  std::list<Side> accepted;
  std::string door() { return directory.path() + "/door"; }

  ~ShmWorld() override {
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
    listener.reset();
  }
  void listen(std::string same_host_directory) {
    ListenOptions options;
    options.server_id = 3;
    options.incarnation = 77;
    options.same_host_directory = std::move(same_host_directory);
    options.keys = [](PeerRole, std::string_view) { return std::vector<std::string>{kKey}; };
    auto result = fabric.listen("tcp://127.0.0.1:0", std::move(options),
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
    options.same_host = SameHost::required;
    return options;
  }
  Status connect(ConnectOptions options) {
    return connect_side(fabric, loop, std::move(options), client,
                        [this](const auto& predicate) { return until(predicate); });
  }
  void join() {
    ASSERT_NO_FATAL_FAILURE(listen(door()));
    const Status status = connect(options_to(listener->address()));
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(until([&] { return accepted.size() == 1; }));
  }
  Side& server() { return accepted.front(); }
  bool until(const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      loop.turn(10 * kMs);
    }
    return true;
  }
  void run_for_ns(uint64_t ns) {
    const uint64_t end_ns = clock.now_ns() + ns;
    while (clock.now_ns() < end_ns) loop.turn(kMs);
  }
  uint64_t request(Window& window, Window::Direction direction, Bytes memory) {
    window.direction = direction;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    EXPECT_TRUE(client.session->send(kType, window.request_id, {}, &window).ok());
    const size_t before = server().messages.size();
    EXPECT_TRUE(until([&] { return server().messages.size() > before; }));
    return window.request_id;
  }
  void place(PushFlag& push, TestArena& arena, uint64_t offset, uint64_t generation) {
    push.place = {arena.shared.get(), offset, generation};
  }
};

}  // namespace gd2fs
