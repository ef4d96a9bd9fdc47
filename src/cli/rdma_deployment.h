// For tests: a whole deployment in this process, as `gd2fs up` builds it, with clients that come by
// RDMA over the fake NICs. The server listens on fake1 (and fake2), clients come from fake0.
#pragma once

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/random.h"
#include "cli/controller_process.h"
#include "cli/daemon.h"
#include "cli/metrics_server.h"
#include "cli/server_process.h"
#include "client/ctx.h"
#include "fabric/test_directory.h"
#include "verbs/test_verbs.h"
#include "wire/token.h"

namespace gd2fs::cli {

inline constexpr int kServer = 1;  // device
inline constexpr int kClient = 0;

class RdmaDeployment : public testing::Test {
 protected:
  RdmaDeployment() {
    fake.reset();
    config.data = directory.path() + "/data";
    config.listen = "127.0.0.1:0";
    config.slab_bytes = 128 * kMiB;
    config.server_shm = false;
    config.store_data_file_bytes = 256 * kMiB;
    data.emplace(*DataDir::open(config.data, 77));
    secret = *deployment_key(config, *data);
    controller = std::move(*ControllerProcess::start(clock, config, *data, secret, Random(1)));
    const Cluster cluster = *controller->create_cluster("c");
    token = *key_from_token(cluster.token);
    config.client_token_file = directory.path() + "/token";
    std::ofstream(config.client_token_file) << cluster.token << "\n";
    EXPECT_EQ(::chmod(config.client_token_file.c_str(), 0600), 0);
  }
  void start(std::vector<std::string> listen) {
    ServerPlace place;
    place.deployment_id = data->deployment_id();
    place.secret = secret;
    place.controllers = {controller->address()};
    place.listen = std::move(listen);
    place.drives = {data->drive_path()};
    auto started = ServerProcess::start(clock, config, place, Random(2));
    ASSERT_TRUE(started.has_value()) << started.error().to_string();
    server = std::move(*started);
  }
  ~RdmaDeployment() override {
    fake.reset();
    close_client();
    if (server != nullptr) {
      EXPECT_TRUE(server->stop().ok());
    }
    EXPECT_TRUE(controller->stop().ok());
  }
  void close_client() {
    if (ctx == nullptr) return;
    ctx->cancel_all();
    ctx->stop();
    ctx.reset();
  }
  Status open(client::Require require, uint64_t timeout_ns = 20 * kSecond, size_t rails = 1) {
    client::ClientOptions options;
    options.controllers = {controller->address()};
    client::LocalAddress local;
    local.transport = client::Transport::rdma;
    options.locals.assign(rails, local);
    if (!client_hosts.empty()) options.locals.clear();
    for (const std::string& host : client_hosts) {
      local.host = host;
      options.locals.push_back(local);
    }
    options.cluster = "c";
    options.key = token;
    options.lanes = 1;
    options.timeout_ns = timeout_ns;
    options.log_level = LogLevel::info;
    options.require = require;
    auto opened = client::Ctx::open(std::move(options));
    if (!opened.has_value()) return opened.error();
    ctx = std::move(*opened);
    iomem = *ctx->add_iomem(memory.data(), memory.size());
    return {};
  }
  xfer_gd2fs_completion transfer(uint16_t opcode, uint64_t offset, size_t length) {
    return transfer(opcode, offset, length, memory.data(), iomem);
  }
  xfer_gd2fs_completion transfer(uint16_t opcode, uint64_t offset, size_t length, void* address,
                                 client::IomemHandle handle) {
    const xfer_gd2fs_sge sge{address, length, reinterpret_cast<xfer_gd2fs_iomem*>(handle)};
    xfer_gd2fs_op op{};
    op.opcode = opcode;
    op.filepath = "/f";
    op.off = offset;
    op.sges = &sge;
    op.nsge = 1;
    EXPECT_EQ(*ctx->submit(0, op), length);
    xfer_gd2fs_completion done{};
    const auto reaped = ctx->wait(0, {&done, 1}, 30'000);
    EXPECT_TRUE(reaped.has_value() && *reaped == 1);
    return done;
  }

  double metric(std::string_view wanted) {
    for (const auto& [name, value] : server->metrics()) {
      if (name == wanted) return value;
    }
    ADD_FAILURE() << wanted << " is not there";
    return 0;
  }

  double nic_metric(std::string_view name, const std::string& address, int device) {
    return metric(labelled(
        name, {{"address", address}, {"nic", "fake" + std::to_string(device) + " port 1"}}));
  }

  // Until all arenas are in use and registered, which the server does in the background.
  void warm_up() {
    const uint64_t rounds = 2 * config.slab_bytes / memory.size();
    for (uint64_t round = 0; round < 10 * rounds; ++round) {
      const auto pulled = [&] { return fake.counts(1).read_bytes + fake.counts(2).read_bytes; };
      const uint64_t before = pulled();
      ASSERT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, memory.size()).status, 0);
      const uint64_t direct = pulled() - before;
      if (round >= rounds && direct == memory.size()) return;
    }
    FAIL() << "not all arenas are registered";
  }

  verbs::TestVerbs& fake = verbs::TestVerbs::instance();
  TestDirectory directory;
  RealClock clock;
  Config config;
  std::optional<DataDir> data;
  std::string secret;
  std::string token;
  std::unique_ptr<ControllerProcess> controller;
  std::unique_ptr<ServerProcess> server;
  std::vector<std::byte> memory = std::vector<std::byte>(16 << 20);
  std::vector<std::string> client_hosts;  // its rails; empty: as many as open() is told, of fake0
  std::unique_ptr<client::Ctx> ctx;
  client::IomemHandle iomem = 0;
};

}  // namespace gd2fs::cli
