#include "client/completion_queue.h"

#include <algorithm>
#include <poll.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "base/check.h"
#include "base/random.h"

namespace gd2fs::client {
namespace {

constexpr uint64_t kLongNs = 20 * kSecond;  // nothing here takes so long unless a wake-up is lost

RealClock g_clock;

struct Piece : CompletionQueue::Finished {
  uint32_t number = 0;
  std::atomic<uint32_t> taken{0};
};

std::vector<uint32_t> numbers(std::span<CompletionQueue::Finished*> finished) {
  std::vector<uint32_t> out;
  for (CompletionQueue::Finished* each : finished) out.push_back(static_cast<Piece*>(each)->number);
  return out;
}

// A lent loop with one queue and pieces 0, 1, 2, ...
struct World {
  explicit World(size_t pieces_count = 8, LoopThread::Options options = {}) {
    auto started = LoopThread::start(g_clock, std::move(options));
    CHECK(started.has_value());
    thread = std::move(*started);
    queue = std::make_unique<CompletionQueue>(*thread);
    pieces = std::vector<Piece>(pieces_count);
    for (uint32_t i = 0; i < pieces_count; ++i) pieces[i].number = i;
  }
  ~World() { thread->stop(); }

  std::vector<uint32_t> take(size_t room) {
    std::vector<CompletionQueue::Finished*> out(room);
    const size_t taken = queue->take(out);
    return numbers(std::span(out).first(taken));
  }
  Result<std::vector<uint32_t>> wait(size_t room, uint64_t for_ns) {
    std::vector<CompletionQueue::Finished*> out(room);
    uint64_t deadline_ns = 0;
    if (for_ns > 0) deadline_ns = g_clock.now_ns() + for_ns;
    auto taken = queue->wait(out, deadline_ns);
    if (!taken.has_value()) return fail(taken.error());
    return numbers(std::span(out).first(*taken));
  }
  bool readable(int fd, int timeout_ms = 0) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, timeout_ms) == 1;
  }

  std::unique_ptr<LoopThread> thread;
  std::unique_ptr<CompletionQueue> queue;
  std::vector<Piece> pieces;
};

// Pushes a piece from the loop after a delay.
struct Later {
  Later(World& in, Piece& what) : world(in), piece(what) { timer.bind<&Later::fire>(this); }
  void arm(uint64_t delay_ns) {
    ASSERT_TRUE(
        world.thread->submit([this, delay_ns] { world.thread->loop().start(timer, delay_ns); }));
  }
  void fire(Completion&) { world.queue->push(piece); }
  World& world;
  Piece& piece;
  Timer timer;
};

using Numbers = std::vector<uint32_t>;

TEST(CompletionQueue, hands_out_in_the_order_finished_and_no_more_than_there_is_room_for) {
  World world;
  for (int i = 0; i < 5; ++i) world.queue->push(world.pieces[i]);
  EXPECT_EQ(world.take(2), (Numbers{0, 1}));
  EXPECT_EQ(*world.wait(2, kLongNs), (Numbers{2, 3}));
  EXPECT_EQ(*world.wait(2, 0), (Numbers{4}));
  EXPECT_EQ(*world.wait(2, 0), Numbers());
}

TEST(CompletionQueue, its_descriptor_is_readable_exactly_while_something_waits) {
  World world;
  world.queue->push(world.pieces[0]);  // before anybody asked for the descriptor
  const int fd = *world.queue->fd();
  EXPECT_EQ(*world.queue->fd(), fd);
  EXPECT_TRUE(world.readable(fd));
  world.queue->push(world.pieces[1]);
  EXPECT_EQ(world.take(1), (Numbers{0}));
  EXPECT_TRUE(world.readable(fd));
  EXPECT_TRUE(world.readable(fd));  // looking does not clear it
  EXPECT_EQ(world.take(8), (Numbers{1}));
  EXPECT_FALSE(world.readable(fd));
  world.queue->push(world.pieces[2]);
  EXPECT_TRUE(world.readable(fd));
  EXPECT_EQ(*world.wait(8, kLongNs), (Numbers{2}));
  EXPECT_FALSE(world.readable(fd));
}

TEST(CompletionQueue, a_wait_drives_the_loop_until_something_is_finished) {
  World world;
  Later later(world, world.pieces[3]);
  later.arm(kMs);
  EXPECT_EQ(*world.wait(4, kLongNs), (Numbers{3}));
}

TEST(CompletionQueue, a_wait_ends_empty_at_its_deadline_and_not_before) {
  World world;
  const uint64_t from_ns = g_clock.now_ns();
  EXPECT_EQ(*world.wait(4, 5 * kMs), Numbers());
  EXPECT_GE(g_clock.now_ns() - from_ns, 5 * kMs);
}

TEST(CompletionQueue, polling_without_waiting_makes_progress) {
  World world;
  Later later(world, world.pieces[0]);
  later.arm(100 * kUs);
  const uint64_t deadline_ns = g_clock.now_ns() + kLongNs;
  Numbers got;
  while (got.empty() && g_clock.now_ns() < deadline_ns) got = *world.wait(1, 0);
  EXPECT_EQ(got, (Numbers{0}));
}

// Stands for a server: finishes a piece when its descriptor becomes readable.
struct Answers {
  Answers(World& in, Piece& what) : world(in), piece(what) {
    watch.bind<&Answers::on_events>(this);
    world.thread->submit([this] { CHECK(world.thread->loop().watch(watch, fd, EPOLLIN).ok()); });
  }
  ~Answers() {
    world.thread->stop();
    world.thread->loop().unwatch(watch);
    close(fd);
  }
  void answer() {
    const uint64_t one = 1;
    CHECK(write(fd, &one, sizeof one) == sizeof one);
  }
  void on_events(uint32_t) {
    uint64_t count = 0;
    CHECK(read(fd, &count, sizeof count) == sizeof count);
    world.queue->push(piece);
  }
  World& world;
  Piece& piece;
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  Watch watch;
};

// A select loop calls wait(0) until it is empty and then sleeps on the descriptor. That must not
// make the I/O thread believe that callers drive, or it would leave them the next answer.
TEST(CompletionQueue, who_sleeps_on_the_descriptor_is_served_without_a_hand_over_pause) {
  constexpr int kRounds = 200;
  World world;
  Answers server(world, world.pieces[0]);
  const int fd = *world.queue->fd();
  std::vector<uint64_t> took_ns;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t from_ns = g_clock.now_ns();
    server.answer();
    ASSERT_TRUE(world.readable(fd, 20000));
    took_ns.push_back(g_clock.now_ns() - from_ns);
    ASSERT_EQ(*world.wait(4, 0), (Numbers{0}));
    // It works on what it got for longer than the I/O thread spins.
    const uint64_t busy_until_ns = g_clock.now_ns() + 2 * LoopThread::kSpinNs;
    while (g_clock.now_ns() < busy_until_ns) spin_pause();
    ASSERT_EQ(*world.wait(4, 0), Numbers());
  }
  std::sort(took_ns.begin(), took_ns.end());
  // A quarter is enough: other work on this machine makes the rest slow.
  EXPECT_LT(took_ns[kRounds / 4], LoopThread::kHandOverNs / 2);
}

TEST(CompletionQueue, waiters_share_what_one_turn_finishes) {
  World world;
  for (int round = 0; round < 50; ++round) {
    Numbers got[3];
    std::vector<std::thread> waiters;
    for (Numbers& mine : got) {
      waiters.emplace_back([&] { mine = *world.wait(1, kLongNs); });
    }
    ASSERT_TRUE(world.thread->submit([&] {
      for (int i = 0; i < 3; ++i) world.queue->push(world.pieces[i]);
    }));
    for (std::thread& waiter : waiters) waiter.join();
    Numbers all;
    for (const Numbers& mine : got) all.insert(all.end(), mine.begin(), mine.end());
    std::sort(all.begin(), all.end());
    ASSERT_EQ(all, (Numbers{0, 1, 2})) << "round " << round;
  }
}

TEST(CompletionQueue, close_ends_all_waits_for_ever_but_what_is_finished_is_handed_out_first) {
  World world;
  std::vector<std::thread> waiters;
  std::atomic<int> canceled{0};
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      if (world.wait(1, kLongNs).error().is(StatusCode::canceled)) canceled.fetch_add(1);
    });
  }
  world.queue->close();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(canceled.load(), 3);
  world.queue->push(world.pieces[0]);
  EXPECT_EQ(*world.wait(4, kLongNs), (Numbers{0}));
  EXPECT_TRUE(world.wait(4, kLongNs).error().is(StatusCode::canceled));
  EXPECT_TRUE(world.wait(4, 0).error().is(StatusCode::canceled));
}

TEST(CompletionQueue, a_broken_loop_hands_out_what_it_finished_and_then_answers_io) {
  set_check_handler(check_throw);
  {
    World* world_in_flight = nullptr;
    LoopThread::Options options;
    options.on_poisoned = [&](const CheckFailure&) {
      world_in_flight->queue->push(world_in_flight->pieces[5]);
    };
    World world(8, std::move(options));
    world_in_flight = &world;
    world.thread->submit([] { CHECK(g_clock.now_ns() == 0); });
    EXPECT_EQ(*world.wait(4, kLongNs), (Numbers{5}));
    EXPECT_TRUE(world.wait(4, kLongNs).error().is(StatusCode::io));
  }
  set_check_handler(check_abort);
}

// --- many producers, many consumers ---

struct Stress {
  static constexpr uint32_t kPieces = 60000;
  static constexpr uint32_t kProducers = 3;
  explicit Stress(uint64_t from_seed) : seed(from_seed), world(kPieces) {}

  // Pieces finish on the loop, in jobs of a few; one producer in three pushes by itself.
  void produce(uint32_t which) {
    Random random(mix64(seed + which));
    for (uint32_t at = which; at < kPieces;) {
      const uint64_t batch = random.between(1, 4);
      const auto push = [this, at, batch] {
        for (uint64_t i = 0; i < batch && at + i * kProducers < kPieces; ++i) {
          world.queue->push(world.pieces[at + i * kProducers]);
        }
      };
      if (which == 0) {
        push();
      } else {
        CHECK(world.thread->submit(push));
      }
      at += batch * kProducers;
      // Now and then long enough for the consumers to fall asleep.
      const uint64_t pauses = random.below(random.chance(1, 8) ? 2000 : 40);
      for (uint64_t i = 0; i < pauses; ++i) spin_pause();
    }
  }
  bool note(std::span<CompletionQueue::Finished*> finished) {
    for (CompletionQueue::Finished* each : finished) {
      if (static_cast<Piece*>(each)->taken.fetch_add(1) != 0) return false;
      if (taken.fetch_add(1) + 1 == kPieces) world.queue->close();
    }
    return true;
  }
  void consume(uint32_t which) {
    Random random(mix64(seed + 100 + which));
    CompletionQueue::Finished* out[4];
    while (taken.load() < kPieces) {
      const std::span some(out, random.between(1, 4));
      uint64_t deadline_ns = 0;
      if (random.chance(1, 4)) deadline_ns = g_clock.now_ns() + random.below(50) * kUs;
      const bool patient = random.chance(1, 2);
      if (patient) deadline_ns = g_clock.now_ns() + kLongNs;
      if (which == 0 && !world.readable(fd, 20000)) return failed("the descriptor stayed silent");
      const auto got = world.queue->wait(some, deadline_ns);
      if (!got.has_value()) return;  // closed
      if (patient && *got == 0) return failed("a wait slept through a completion");
      if (!note(some.first(*got))) return failed("taken twice");
    }
  }
  void failed(const char* why) {
    std::lock_guard lock(mutex);
    failure = why;
    world.queue->close();
  }

  uint64_t seed;
  World world;
  int fd = -1;
  std::atomic<uint32_t> taken{0};
  std::mutex mutex;
  std::string failure;
};

void run_stress(uint64_t seed, uint32_t consumers, bool with_fd) {
  Stress stress(seed);
  if (with_fd) stress.fd = *stress.world.queue->fd();
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < Stress::kProducers; ++i) {
    threads.emplace_back([&stress, i] { stress.produce(i); });
  }
  for (uint32_t i = 0; i < consumers; ++i) {
    threads.emplace_back([&stress, i, with_fd] { stress.consume(with_fd ? i : i + 1); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stress.failure, "") << "seed " << seed;
  EXPECT_EQ(stress.taken.load(), Stress::kPieces) << "seed " << seed;
}

TEST(CompletionQueueStress, each_completion_reaches_exactly_one_of_many_waiters) {
  run_stress(7, 3, false);
}
TEST(CompletionQueueStress, one_waiter_misses_nothing) {
  run_stress(8, 1, false);
}
TEST(CompletionQueueStress, a_descriptor_reader_misses_nothing) {
  run_stress(9, 1, true);
}

}  // namespace
}  // namespace gd2fs::client
