// A deployment and its clients over the fake NICs: where bytes go, what is counted, and what
// happens when a NIC or the memory of either side fails.
#include "cli/rdma_deployment.h"
#include "cli/reachability.h"

namespace gd2fs::cli {
namespace {

TEST_F(RdmaDeployment, what_is_written_by_rdma_reads_and_read_by_rdma_writes_is_the_same) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0", "rdma://127.0.0.2:0"}));
  ASSERT_TRUE(open(client::Require::rdma).ok());
  ASSERT_NO_FATAL_FAILURE(warm_up());
  Random random(3);
  random.fill(memory);
  const auto original = memory;
  const auto before = fake.counts(kServer);
  EXPECT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, memory.size()).status, 0);
  EXPECT_EQ(fake.counts(kServer).read_bytes - before.read_bytes, memory.size());
  std::ranges::fill(memory, std::byte{0});
  const auto done = transfer(XFER_GD2FS_OP_READ, 0, memory.size());
  EXPECT_EQ(done.status, 0);
  EXPECT_EQ(done.value, memory.size());
  EXPECT_TRUE(memory == original);
  EXPECT_EQ(fake.counts(kServer).write_bytes - before.write_bytes, memory.size());
  // A small one is a message each way.
  const auto at = fake.counts(kServer);
  EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 4096, 4096).status, 0);
  EXPECT_TRUE(std::equal(memory.begin(), memory.begin() + 4096, original.begin() + 4096));
  EXPECT_EQ(fake.counts(kServer).sends - at.sends, 1u);
  EXPECT_EQ(fake.counts(kServer).writes - at.writes, 1u);
}

// What issue and design promise of a hit: each side's processor touches messages, never payload.
TEST_F(RdmaDeployment, a_read_of_4_mib_is_a_request_four_writes_and_a_reply_and_nothing_is_copied) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0", "rdma://127.0.0.2:0"}));
  ASSERT_TRUE(open(client::Require::rdma).ok());
  ASSERT_NO_FATAL_FAILURE(warm_up());
  const size_t size = 4 << 20;
  EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, size).status, 0);  // a hit; handles are known now
  const auto server_before = fake.counts(kServer);
  const auto client_before = fake.counts(kClient);
  const double copied_before = metric("gd2fs_rdma_copied_bytes_total");
  EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, size).status, 0);
  const auto at_server = fake.counts(kServer);
  const auto at_client = fake.counts(kClient);
  const uint64_t requests = at_client.sends - client_before.sends;
  const uint64_t request_bytes = at_client.send_bytes - client_before.send_bytes;
  const uint64_t writes = at_server.writes - server_before.writes;
  const uint64_t written = at_server.write_bytes - server_before.write_bytes;
  const uint64_t replies = at_server.sends - server_before.sends;
  const uint64_t reply_bytes = at_server.send_bytes - server_before.send_bytes;
  const uint64_t completions = at_server.send_completions - server_before.send_completions;
  const double copied = metric("gd2fs_rdma_copied_bytes_total") - copied_before;
  std::printf(
      "4 MiB read of the slab: %llu request message (%llu bytes), %llu WRITEs (%llu bytes), "
      "%llu reply (%llu bytes), %llu signalled completion on the server, %.0f bytes copied\n",
      static_cast<unsigned long long>(requests), static_cast<unsigned long long>(request_bytes),
      static_cast<unsigned long long>(writes), static_cast<unsigned long long>(written),
      static_cast<unsigned long long>(replies), static_cast<unsigned long long>(reply_bytes),
      static_cast<unsigned long long>(completions), copied);
  EXPECT_EQ(requests, 1u);
  EXPECT_EQ(writes, 4u);
  EXPECT_EQ(replies, 1u);
  EXPECT_LE(completions, 1u);
  // All bytes went by the NIC from the slab to the application's buffer, which is all that the
  // client has shown; the messages have no room for any.
  EXPECT_EQ(written, size);
  EXPECT_EQ(copied, 0);
  EXPECT_LT(request_bytes, 1024u);
  EXPECT_LT(reply_bytes, 512u);
}

// Nobody waits for a request to have left: the client would be woken twice for each.
TEST_F(RdmaDeployment, of_small_requests_one_in_eight_asks_its_nic_for_a_completion) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0", "rdma://127.0.0.2:0"}));
  ASSERT_TRUE(open(client::Require::rdma).ok());
  ASSERT_NO_FATAL_FAILURE(warm_up());
  const auto before = fake.counts(kClient);
  // More than there are buffers for messages: were they not given back, this would stand still.
  constexpr int kReads = 400;
  for (int i = 0; i < kReads; ++i) {
    ASSERT_EQ(transfer(XFER_GD2FS_OP_READ, i * 4096, 4096).status, 0);
  }
  const auto after = fake.counts(kClient);
  EXPECT_GE(after.sends - before.sends, uint64_t{kReads});
  EXPECT_LE(after.send_completions - before.send_completions, kReads / 8 + 1u);
}

TEST_F(RdmaDeployment, without_rdma_at_the_server_tcp_serves_and_require_fails) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0"}));
  ASSERT_TRUE(open(client::Require::none).ok());
  EXPECT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, 1 << 20).status, 0);
  close_client();
  ASSERT_TRUE(open(client::Require::rdma, 2 * kSecond).ok());
  const auto done = transfer(XFER_GD2FS_OP_READ, 0, 1 << 20);
  EXPECT_NE(done.status, 0);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done.status), EOPNOTSUPP);
}

TEST_F(RdmaDeployment, a_break_in_the_middle_is_mended_by_a_new_connection) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0", "rdma://127.0.0.2:0"}));
  ASSERT_TRUE(open(client::Require::rdma).ok());
  Random random(3);
  random.fill(memory);
  const auto original = memory;
  for (int round = 0; round < 8; ++round) {
    fake.lose(1);
    EXPECT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, memory.size()).status, 0) << round;
    std::ranges::fill(memory, std::byte{0});
    fake.set_delay_ns(random.below(1'000'000));
    fake.break_pairs(round % 2);
    EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, memory.size()).status, 0) << round;
    EXPECT_TRUE(memory == original) << round;
  }
}

TEST_F(RdmaDeployment, a_rail_that_was_down_is_used_again_though_the_other_serves_all_meanwhile) {
  constexpr int kOther = 2;  // the second NIC of the server
  ASSERT_NO_FATAL_FAILURE(start({"rdma://127.0.0.2:0", "rdma://127.0.0.3:0"}));
  ASSERT_TRUE(open(client::Require::rdma, 20 * kSecond, 2).ok());
  Random random(3);
  random.fill(memory);
  const auto original = memory;
  ASSERT_EQ(transfer(XFER_GD2FS_OP_WRITE, 0, memory.size()).status, 0);
  const auto reads_until = [&](const std::function<bool()>& predicate) {
    const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock.now_ns() > end_ns) return false;
      std::ranges::fill(memory, std::byte{0});
      EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, memory.size()).status, 0);
      EXPECT_TRUE(memory == original);
    }
    return true;
  };
  const auto pairs = [&] { return fake.counts(kOther).queue_pairs; };
  const auto sends = [&] { return fake.counts(kOther).sends; };
  const auto up = [&] { return nic_metric("gd2fs_rdma_nic_up", "127.0.0.3", kOther); };
  ASSERT_TRUE(reads_until([&] { return sends() > 0; }));
  for (int round = 0; round < 2; ++round) {
    fake.set_port(kOther, 0);
    ASSERT_TRUE(reads_until([&] { return pairs() == 0; }));
    ASSERT_TRUE(reads_until([&] { return up() == 0; }));
    const uint64_t before = sends();
    EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, memory.size()).status, 0);
    EXPECT_EQ(sends(), before);
    fake.set_port(kOther, 1);
    EXPECT_TRUE(reads_until([&] { return sends() > before; })) << "not used again";
    EXPECT_TRUE(reads_until([&] { return up() == 1; }));
  }
}

TEST_F(RdmaDeployment, most_bytes_take_the_faster_of_two_rails) {
  ASSERT_NO_FATAL_FAILURE(start({"rdma://127.0.0.2:0", "rdma://127.0.0.3:0"}));
  ASSERT_TRUE(open(client::Require::rdma, 20 * kSecond, 2).ok());
  ASSERT_NO_FATAL_FAILURE(warm_up());
  const auto shares = [&](int reads) {
    const auto before = std::pair(fake.counts(1).write_bytes, fake.counts(2).write_bytes);
    for (int i = 0; i < reads; ++i) {
      EXPECT_EQ(transfer(XFER_GD2FS_OP_READ, 0, memory.size()).status, 0);
    }
    return std::pair(fake.counts(1).write_bytes - before.first,
                     fake.counts(2).write_bytes - before.second);
  };
  // Both are the same, as soon as it is forgotten that one of them copied in the beginning.
  const uint64_t end_ns = clock.now_ns() + 20 * kSecond;
  const auto alike = [](const auto& bytes) {
    return bytes.first > bytes.second / 2 && bytes.second > bytes.first / 2;
  };
  while (!alike(shares(16))) ASSERT_LT(clock.now_ns(), end_ns);
  fake.slow(2, 4 * kMs);
  (void)shares(8);
  const auto [fast, slow] = shares(16);
  EXPECT_GT(fast, 3 * slow);
}

TEST_F(RdmaDeployment, an_rdma_address_that_is_not_there_stops_the_server_with_the_reason) {
  ServerPlace place;
  place.deployment_id = data->deployment_id();
  place.secret = secret;
  place.controllers = {controller->address()};
  place.listen = {"tcp://127.0.0.1:0", "rdma://127.0.0.9:0"};
  place.drives = {data->drive_path()};
  const auto started = ServerProcess::start(clock, config, place, Random(2));
  ASSERT_FALSE(started.has_value());
  EXPECT_TRUE(started.error().is(StatusCode::not_found)) << started.error().to_string();
}

TEST_F(RdmaDeployment, doctor_reaches_a_server_by_rdma_or_says_why_not) {
  ASSERT_NO_FATAL_FAILURE(start({"tcp://127.0.0.1:0", "rdma://127.0.0.2:0"}));
  config.client_cp = "gd2fs" + controller->address().substr(3);
  config.cluster = "c";
  const auto look = [&](const char* from, doctor::Needs needs) {
    config.client_dp = from;
    doctor::Findings findings;
    check_reachability(config, needs, true, &findings);
    doctor::Finding only;
    int count = 0;
    for (const doctor::Finding& each : findings) {
      const bool by_rdma = each.subject.find("rdma://") != std::string::npos;
      EXPECT_TRUE(by_rdma || each.level == doctor::Level::ok) << each.subject << each.found;
      if (!by_rdma) continue;
      only = each;
      ++count;
    }
    EXPECT_EQ(count, 1);
    return only;
  };
  doctor::Finding found = look("rdma://127.0.0.1", {.rdma = true});
  EXPECT_EQ(found.level, doctor::Level::ok) << found.found;
  EXPECT_NE(found.found.find("over rdma in"), std::string::npos) << found.found;
  found = look("tcp://127.0.0.1", {});
  EXPECT_EQ(found.level, doctor::Level::ok);
  EXPECT_NE(found.found.find("--dp"), std::string::npos) << found.found;
  fake.set_port(kClient, 0);
  found = look("rdma://127.0.0.1", {});
  EXPECT_EQ(found.level, doctor::Level::note) << found.found;
  EXPECT_NE(found.remedy, "");
  EXPECT_EQ(look("rdma://127.0.0.1", {.rdma = true}).level, doctor::Level::missing);
}

}  // namespace
}  // namespace gd2fs::cli
