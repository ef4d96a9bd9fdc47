// The sender of these tests is the receiver's own thread, so they share a core for certain.
#include "fabric/sender_core.h"

#include <functional>
#include <poll.h>
#include <sched.h>
#include <thread>

#include "fabric/tcp_socket.h"
#include "gtest/gtest.h"

namespace gd2fs {
namespace {

constexpr uint64_t kLater = 1'000'000'000;

cpu_set_t allowed_cores() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

void allow_only(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

// A connection of this host whose receiving side has had bytes that this thread sent.
struct Pair {
  TcpSocket listener;
  TcpSocket sender;
  TcpSocket receiver;

  Pair() {
    const auto any = resolve({"127.0.0.1", 0}, Resolve::numeric_only);
    listener = *TcpSocket::listen(any->front());
    sender = *TcpSocket::connect(*socket_address_of(listener.fd()), nullptr);
    pollfd waiting{listener.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 10'000), 1);
    receiver = *listener.accept();
  }

  // A byte that stands for many. True: the receiver asked where it came from.
  bool send_and_receive(SenderCore& sender_core, uint64_t now_ns, bool all_came) const {
    char byte = 1;
    iovec part{&byte, 1};
    EXPECT_EQ(sender.write({&part, 1}).bytes, 1U);
    pollfd waiting{receiver.fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 10'000), 1);
    const bool looked = sender_core.before_read(receiver.fd(), now_ns);
    EXPECT_EQ(receiver.read({&part, 1}).bytes, 1U);
    constexpr size_t kMany = SenderCore::kManyBytes;
    EXPECT_TRUE(sender_core.after_read(all_came ? kMany : 2 * kMany, kMany));
    return looked;
  }
};

// In a thread of its own, whose affinity ends with it.
void in_a_thread(const std::function<void()>& test) {
  std::thread(test).join();
}

TEST(SenderCore, TheReceiverLeavesTheCoreOfTheSenderAndKeepsItsAffinity) {
  in_a_thread([] {
    const cpu_set_t before = allowed_cores();
    ASSERT_GE(CPU_COUNT(&before), 2) << "there is no core to go to";
    Pair pair;
    SenderCore sender_core;
    // Another process may take the core between two of these steps.
    bool left = false;
    for (uint64_t i = 1; i <= 100 && !left; ++i) {
      const int core = sched_getcpu();
      EXPECT_TRUE(pair.send_and_receive(sender_core, i * kLater, false));
      left = sched_getcpu() != core;
    }
    EXPECT_TRUE(left);
    const cpu_set_t after = allowed_cores();
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
  });
}

TEST(SenderCore, AThreadThatMayUseOneCoreStays) {
  in_a_thread([] {
    const int core = sched_getcpu();
    allow_only(core);
    const Pair pair;
    SenderCore sender_core;
    EXPECT_TRUE(pair.send_and_receive(sender_core, kLater, false));
    EXPECT_EQ(sched_getcpu(), core);
    const cpu_set_t after = allowed_cores();
    EXPECT_EQ(CPU_COUNT(&after), 1);
    EXPECT_TRUE(CPU_ISSET(core, &after));
  });
}

// It is then the receiver that lets packets go, and they tell of its own core.
TEST(SenderCore, NobodyAsksForTheCoreOfASenderThatIsAhead) {
  const Pair pair;
  SenderCore sender_core;
  EXPECT_TRUE(pair.send_and_receive(sender_core, 1 * kLater, true));
  EXPECT_FALSE(pair.send_and_receive(sender_core, 2 * kLater, true));
  EXPECT_FALSE(sender_core.after_read(64, 64));  // a header
  EXPECT_FALSE(pair.send_and_receive(sender_core, 3 * kLater, false));
  EXPECT_FALSE(sender_core.after_read(64, 64));
  EXPECT_TRUE(pair.send_and_receive(sender_core, 4 * kLater, true));
  EXPECT_FALSE(sender_core.after_read(64, 0));  // nothing there
  EXPECT_TRUE(pair.send_and_receive(sender_core, 5 * kLater, true));
}

TEST(SenderCore, ItAsksOnceInAWhile) {
  const Pair pair;
  SenderCore sender_core;
  EXPECT_TRUE(pair.send_and_receive(sender_core, kLater, false));
  EXPECT_FALSE(pair.send_and_receive(sender_core, kLater + 1000, false));
  EXPECT_TRUE(pair.send_and_receive(sender_core, 2 * kLater, false));
}

}  // namespace
}  // namespace gd2fs
