// The door to NICs, over the fake ones.
#include "verbs/queue_pair.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "base/random.h"
#include "verbs/test_verbs.h"

namespace gd2fs::verbs {
namespace {

class VerbsTest : public testing::Test {
 protected:
  TestVerbs& fake = TestVerbs::instance();
  VerbsTest() { fake.reset(); }
  ~VerbsTest() override { fake.reset(); }
};

TEST_F(VerbsTest, a_port_is_found_by_its_ipv4_or_ipv6_address) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    const auto nic = Nic::open(address);
    ASSERT_TRUE(nic.has_value()) << nic.error().to_string();
    EXPECT_EQ((*nic)->name(), "fake0 port 1");
    EXPECT_EQ((*nic)->mtu(), IBV_MTU_4096);
  }
  const auto other = Nic::open("127.0.0.2");
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ((*other)->name(), "fake1 port 1");
  EXPECT_EQ((*other)->find_again()->gid_index, 1);  // 0 is the same address as RoCE v1
  fake.set_port(1, 0);
  EXPECT_TRUE((*other)->find_again().error().is(StatusCode::unavailable));
}

TEST_F(VerbsTest, what_cannot_be_opened_says_why) {
  const auto nobody = Nic::open("192.0.2.1");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_TRUE(nobody.error().is(StatusCode::not_found));
  EXPECT_NE(nobody.error().text().find("fake0, fake1"), std::string_view::npos)
      << nobody.error().text();
  EXPECT_TRUE(Nic::open("node7").error().is(StatusCode::invalid));
  fake.set_port(1, 0);
  const auto down = Nic::open("127.0.0.2");
  ASSERT_FALSE(down.has_value());
  EXPECT_TRUE(down.error().is(StatusCode::unavailable));
  EXPECT_NE(down.error().text().find("down"), std::string_view::npos);
}

TEST_F(VerbsTest, a_refused_registration_is_an_error_that_names_the_remedy) {
  const auto nic = Nic::open("127.0.0.1");
  ASSERT_TRUE(nic.has_value());
  char memory[64];
  fake.refuse_registrations(1, ENOMEM);
  const auto refused = (*nic)->register_memory(memory, sizeof memory, Use::data);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().errno_value(), ENOMEM);
  EXPECT_NE(refused.error().text().find("ulimit -l"), std::string_view::npos);
  EXPECT_TRUE((*nic)->register_memory(memory, sizeof memory, Use::data).has_value());
}

// Two ends that write, read and send to each other.
struct End {
  std::shared_ptr<Nic> nic;
  std::unique_ptr<CompletionChannel> channel;
  std::unique_ptr<CompletionQueue> queue;
  std::unique_ptr<QueuePair> pair;
  std::vector<std::byte> memory = std::vector<std::byte>(1 << 16);
  std::unique_ptr<MemoryRegion> region;

  explicit End(const char* address) {
    nic = *Nic::open(address);
    channel = std::move(*CompletionChannel::make(nic));
    queue = std::move(*CompletionQueue::make(nic, 64, *channel));
    pair = std::move(*QueuePair::make(nic, *queue, {16, 16}, 7));
    region = std::move(*nic->register_memory(memory.data(), memory.size(), Use::data_for_peers));
  }
  void post(ibv_wr_opcode opcode, End& other, uint32_t length, uint32_t remote_key) {
    ibv_sge local{reinterpret_cast<uintptr_t>(memory.data()), length, region->local_key()};
    ibv_send_wr wr{};
    wr.wr_id = 5;
    wr.sg_list = &local;
    wr.num_sge = 1;
    wr.opcode = opcode;
    wr.send_flags = IBV_SEND_SIGNALED;
    wr.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(other.memory.data());
    wr.wr.rdma.rkey = remote_key;
    ibv_send_wr* bad = nullptr;
    ASSERT_EQ(ibv_post_send(pair->get(), &wr, &bad), 0);
  }
  ibv_wc wait() {
    ibv_wc wc{};
    for (int i = 0; i < 10'000; ++i) {
      if (ibv_poll_cq(queue->get(), 1, &wc) == 1) return wc;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ADD_FAILURE() << "no completion";
    return wc;
  }
};

TEST_F(VerbsTest, connected_pairs_write_and_read_each_others_registered_memory_and_no_other) {
  End a("127.0.0.1");
  End b("127.0.0.2");
  ASSERT_TRUE(a.pair->connect(b.pair->address()).ok());
  ASSERT_TRUE(b.pair->connect(a.pair->address()).ok());
  Random random(1);
  random.fill(a.memory);
  a.post(IBV_WR_RDMA_WRITE, b, 4096, b.region->remote_key());
  EXPECT_EQ(a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(std::memcmp(a.memory.data(), b.memory.data(), 4096), 0);
  random.fill(b.memory);
  a.post(IBV_WR_RDMA_READ, b, 5000, b.region->remote_key());
  EXPECT_EQ(a.wait().status, IBV_WC_SUCCESS);
  EXPECT_EQ(std::memcmp(a.memory.data(), b.memory.data(), 5000), 0);
  const uint32_t stale = b.region->remote_key();
  b.region.reset();
  a.post(IBV_WR_RDMA_WRITE, b, 4096, stale);
  EXPECT_EQ(a.wait().status, IBV_WC_REM_ACCESS_ERR);
}

TEST_F(VerbsTest, a_stopped_pair_keeps_out_what_was_posted_to_it) {
  End a("127.0.0.1");
  End b("127.0.0.2");
  ASSERT_TRUE(a.pair->connect(b.pair->address()).ok());
  ASSERT_TRUE(b.pair->connect(a.pair->address()).ok());
  std::ranges::fill(a.memory, std::byte{1});
  fake.hold(0, 1);
  a.post(IBV_WR_RDMA_WRITE, b, 4096, b.region->remote_key());
  b.pair->stop();
  fake.hold(0, 0);
  EXPECT_EQ(a.wait().status, IBV_WC_RETRY_EXC_ERR);
  EXPECT_EQ(b.memory[0], std::byte{0});
}

}  // namespace
}  // namespace gd2fs::verbs
