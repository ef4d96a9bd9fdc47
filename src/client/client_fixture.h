// ClientTest: a client on a cluster in memory, over the simulated network, and what it was asked.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "client/client.h"
#include "sim/memory_cluster.h"
#include "sim/sim_fabric.h"

namespace gd2fs::client {

class ClientTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kSeed = 11;
  static constexpr uint64_t kChunk = MemoryCluster::kChunkBytes;

  static ClientOptions test_options() {
    ClientOptions options;
    options.controllers = {"tcp://controller:7527"};
    options.locals = {LocalAddress{}};
    options.cluster = "c";
    options.key = MemoryCluster::key();
    options.lanes = 2;
    options.timeout_ns = 3 * kSecond;
    return options;
  }

  struct Asked {
    Request request;
    std::vector<std::byte> memory;
    bool ended = false;
    uint64_t ended_ns = 0;
    Loop* loop = nullptr;
    Asked() { request.done.bind<&Asked::on_done>(this); }
    void on_done(Completion&) {
      ended = true;
      ended_ns = loop->now_ns();
    }
  };

  ClientTest() { set_log_level(LogLevel::off); }
  ~ClientTest() override {
    client_.cancel_if([](const Request&) { return true; }, Status(StatusCode::canceled),
                      Origin::ctx);
    world_.run_until([&] { return client_.active() == 0; });
    set_log_level(LogLevel::info);
  }

  void connect() {
    struct Flag {
      bool ended = false;
      Status status;
      void on(Completion& done) {
        ended = true;
        status = done.status;
      }
    } flag;
    Completion done;
    done.bind<&Flag::on>(&flag);
    client_.connect(done, 5 * kSecond);
    ASSERT_TRUE(world_.run_until([&] { return flag.ended; }));
    ASSERT_TRUE(flag.status.ok()) << flag.status.to_string();
  }

  std::unique_ptr<Asked> ask(Op op, const std::string& path) {
    auto asked = std::make_unique<Asked>();
    asked->loop = &loop_;
    asked->request.op = op;
    asked->request.path = path;
    return asked;
  }
  std::unique_ptr<Asked> start_read(const std::string& path, uint64_t offset, size_t length) {
    auto asked = ask(Op::read, path);
    asked->memory.assign(length, std::byte{0xee});
    asked->request.offset = offset;
    asked->request.memory.add(asked->memory.data(), length);
    client_.submit(asked->request);
    return asked;
  }
  std::unique_ptr<Asked> start_write(const std::string& path, uint64_t offset,
                                     std::vector<std::byte> bytes) {
    auto asked = ask(Op::write, path);
    asked->memory = std::move(bytes);
    asked->request.offset = offset;
    asked->request.memory.add(asked->memory.data(), asked->memory.size());
    client_.submit(asked->request);
    return asked;
  }
  void finish(Asked& asked) {
    ASSERT_TRUE(world_.run_until([&] { return asked.ended; })) << "seed " << kSeed;
  }
  std::unique_ptr<Asked> read(const std::string& path, uint64_t offset, size_t length) {
    auto asked = start_read(path, offset, length);
    finish(*asked);
    return asked;
  }
  std::unique_ptr<Asked> write(const std::string& path, uint64_t offset,
                               std::vector<std::byte> bytes) {
    auto asked = start_write(path, offset, std::move(bytes));
    finish(*asked);
    return asked;
  }
  std::vector<std::byte> random_bytes(size_t length) {
    std::vector<std::byte> bytes(length);
    random_.fill(bytes);
    return bytes;
  }
  MemoryCluster::Place place(const std::string& node, const std::string& listen, Loop& loop) {
    return {&loop, listen,
            [this, node, &loop] { return std::make_unique<SimFabric>(network_, node, loop); },
            [this, node] { network_.kill(node); }};
  }
  // Answers `status` to the first `times` requests of a type.
  void interfere(msg::Type type, int times, const Status& status) {
    cluster_.interfere = [=, left = times](msg::Type asked) mutable -> std::optional<Status> {
      if (asked != type || left-- <= 0) return std::nullopt;
      return status;
    };
  }

  SimWorld world_{kSeed};
  Random random_{kSeed};
  SimNetwork network_{world_};
  Loop controller_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member controller_member_{world_, controller_loop_};
  Loop server_loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member server_member_{world_, server_loop_};
  MemoryCluster cluster_{place("controller", "tcp://controller:7527", controller_loop_),
                         place("server", "tcp://server:7528", server_loop_)};
  Loop loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member member_{world_, loop_};
  SimFabric fabric_{network_, "client0", loop_};
  Client client_{loop_, fabric_, Random(kSeed), test_options()};
};

}  // namespace gd2fs::client
