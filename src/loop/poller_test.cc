// Pollers: work in memory that a loop looks for between its other work.
#include <atomic>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "loop/loop_thread.h"

namespace gd2fs {
namespace {

RealClock g_clock;

// A word that another thread raises; armed, that thread rings an eventfd.
class Word final : public Poller {
 public:
  explicit Word(Loop& loop) : bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), loop_(loop) {
    watch_.bind<&Word::on_bell>(this);
  }
  ~Word() {
    loop_.remove(*this);
    loop_.unwatch(watch_);
    close(bell_);
  }
  void join() {
    CHECK(loop_.watch(watch_, bell_, EPOLLIN).ok());
    loop_.add(*this);
  }
  void raise() {  // the other thread
    raised_.fetch_add(1, std::memory_order_seq_cst);
    if (armed_.exchange(false, std::memory_order_seq_cst)) {
      ++rings;
      const uint64_t one = 1;
      CHECK(write(bell_, &one, sizeof one) == sizeof one);
    }
  }
  size_t poll() override {
    const uint64_t now = raised_.load(std::memory_order_acquire);
    if (now == seen) return 0;
    seen = now;
    if (flag != nullptr) flag->set();
    return 1;
  }
  bool arm() override {
    armed_.store(true, std::memory_order_seq_cst);
    return raised_.load(std::memory_order_seq_cst) == seen;
  }
  void disarm() override { armed_.store(false, std::memory_order_relaxed); }

  uint64_t seen = 0;
  std::atomic<int> rings = 0;
  WaitFlag* flag = nullptr;

 private:
  void on_bell(uint32_t) {
    uint64_t count = 0;
    CHECK(read(bell_, &count, sizeof count) == sizeof count);
  }
  const int bell_;
  Loop& loop_;
  Watch watch_;
  std::atomic<uint64_t> raised_{0};
  std::atomic<bool> armed_{false};
};

TEST(Poller, is_looked_at_in_every_turn_and_not_after_it_was_taken_away) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  word.raise();
  loop.turn(0);
  EXPECT_EQ(word.seen, 1u);
  word.raise();
  EXPECT_GT(loop.run_ready(), 0u);
  EXPECT_EQ(word.seen, 2u);
  word.unlink();
  word.raise();
  loop.turn(0);
  EXPECT_EQ(word.seen, 2u);
}

// Armed, it wants to be looked at by a time of its own.
class Impatient final : public Poller {
 public:
  explicit Impatient(Loop& loop) : loop_(loop) {
    timer_.bind<&Impatient::on_time>(this);
    loop_.add(*this);
  }
  ~Impatient() { loop_.remove(*this); }
  size_t poll() override {
    ++looks;
    return 0;
  }
  bool arm() override {
    loop_.start(timer_, kMs);
    return true;
  }
  void disarm() override {}
  int looks = 0;
  bool fired = false;

 private:
  void on_time(Completion&) { fired = true; }
  Loop& loop_;
  Timer timer_;
};

TEST(Poller, may_start_a_timer_when_it_is_armed) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Impatient poller(loop);
  Timer late;
  late.fired.bind(nullptr, [](void*, Completion&) {});
  loop.start(late, 10 * kSecond);
  loop.turn(UINT64_MAX);
  EXPECT_TRUE(poller.fired);
  EXPECT_TRUE(late.running());  // it was not slept through
  EXPECT_GT(poller.looks, 0);
}

// What one finds takes itself away, and the one behind it.
struct Leaver final : Poller {
  explicit Leaver(Loop& its_loop) : loop(its_loop) { loop.add(*this); }
  ~Leaver() { loop.remove(*this); }
  size_t poll() override {
    ++looks;
    if (next == nullptr) return 0;
    loop.remove(*this);
    next.reset();
    return 1;
  }
  bool arm() override { return true; }
  void disarm() override {}
  Loop& loop;
  std::unique_ptr<Leaver> next;
  int looks = 0;
};

TEST(Poller, may_take_itself_and_the_next_away_when_it_is_looked_at) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Leaver first(loop);
  first.next = std::make_unique<Leaver>(loop);
  Leaver last(loop);
  loop.turn(0);
  EXPECT_EQ(first.looks, 1);
  EXPECT_EQ(last.looks, 1);
  loop.turn(0);
  EXPECT_EQ(first.looks, 1);
  EXPECT_EQ(last.looks, 2);
}

// Work in parts, of which each raises the word and lets the pollers come in before the next.
struct Parts {
  explicit Parts(Loop& its_loop, Word& its_word) : loop(its_loop), word(its_word) {
    next.bind<&Parts::on_next>(this);
  }
  void on_next(Completion&) {
    seen_before.push_back(word.seen);
    word.raise();
    if (seen_before.size() < 4) loop.complete_after_pollers(next, Status());
  }
  Loop& loop;
  Word& word;
  Completion next;
  std::vector<uint64_t> seen_before;
};

TEST(Poller, has_its_turn_between_the_parts_of_work_that_gives_way) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  Parts queued(loop, word);
  loop.complete(queued.next, Status());
  loop.run_queued();
  EXPECT_EQ(queued.seen_before, (std::vector<uint64_t>{0, 1, 2, 3}));
  Parts turned(loop, word);
  loop.complete_after_pollers(turned.next, Status());
  EXPECT_TRUE(loop.has_completions());
  while (turned.seen_before.size() < 4) loop.turn(0);
  EXPECT_EQ(turned.seen_before, (std::vector<uint64_t>{4, 5, 6, 7}));
}

TEST(Poller, work_that_gave_way_can_be_taken_back) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  Parts parts(loop, word);
  loop.complete_after_pollers(parts.next, Status());
  loop.take_back(parts.next);
  EXPECT_FALSE(parts.next.pending());
  EXPECT_FALSE(loop.has_completions());
  loop.run_queued();
  EXPECT_TRUE(parts.seen_before.empty());
}

// Nobody rings for what is raised already.
void expect_no_sleep(Loop& loop, const Word& word) {
  const uint64_t from_ns = g_clock.now_ns();
  loop.turn(5 * kSecond);
  EXPECT_LT(g_clock.now_ns() - from_ns, kSecond);
  EXPECT_EQ(word.seen, 1u);
}

TEST(Poller, what_came_before_the_sleep_keeps_the_loop_awake) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  word.raise();
  expect_no_sleep(loop, word);
}

// The seat may go to another thread between the two.
TEST(Poller, that_had_work_when_it_was_armed_keeps_the_loop_awake_later_too) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  word.raise();
  EXPECT_FALSE(loop.arm_pollers());
  expect_no_sleep(loop, word);
}

TEST(Poller, is_armed_again_after_anything_ran) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  word.raise();
  loop.turn(0);
  EXPECT_TRUE(loop.arm_pollers());
  Completion more;
  more.bind(&word, [](void* self, Completion&) { static_cast<Word*>(self)->seen = 0; });
  loop.complete(more, Status());
  loop.run_queued();
  EXPECT_FALSE(loop.arm_pollers());
}

TEST(Poller, wakes_a_sleeping_loop_by_its_bell_and_needs_none_while_the_loop_spins) {
  Loop loop(g_clock, Loop::Waits::epoll);
  Word word(loop);
  word.join();
  for (int round = 0; round < 20; ++round) {
    std::thread raising([&] {
      usleep(round % 2 == 0 ? 2000 : 20);
      word.raise();
    });
    const uint64_t before = word.seen;
    while (word.seen == before) loop.turn(5 * kSecond, round % 2 == 0 ? 0 : 50 * kUs);
    raising.join();
  }
  EXPECT_GE(word.rings.load(), 10);
  EXPECT_EQ(word.seen, 20u);
}

TEST(Poller, needs_no_bell_while_the_loop_stays_awake_for_more) {
  for (const bool awake : {true, false}) {
    Loop loop(g_clock, Loop::Waits::epoll);
    Word word(loop);
    word.join();
    if (awake) loop.stay_awake_until(g_clock.now_ns() + 10 * kSecond);
    std::thread raising([&] {
      usleep(20000);
      word.raise();
    });
    while (word.seen == 0) loop.turn(5 * kSecond);
    raising.join();
    EXPECT_EQ(word.rings.load(), awake ? 0 : 1);
  }
}

TEST(Poller, stays_awake_no_longer_than_its_turn_may_last) {
  Loop loop(g_clock, Loop::Waits::epoll);
  const uint64_t from_ns = g_clock.now_ns();
  loop.stay_awake_until(from_ns + 100 * kSecond);
  loop.turn(0);
  loop.turn(1 * kMs);
  EXPECT_LT(g_clock.now_ns() - from_ns, 50 * kSecond);
}

TEST(Poller, is_served_by_a_lent_loop_whether_or_not_anybody_drives_it) {
  auto thread = LoopThread::start(g_clock, {});
  ASSERT_TRUE(thread.has_value());
  Loop& loop = (*thread)->loop();
  Word word(loop);
  ASSERT_TRUE((*thread)->submit([&] { word.join(); }));
  for (int round = 0; round < 300; ++round) {
    WaitFlag flag(**thread);
    word.flag = &flag;
    std::thread raising([&, round] {
      if (round % 3 == 1) usleep(static_cast<useconds_t>(round * 10));
      word.raise();
    });
    if (round % 4 == 0) {
      // Nobody drives: the I/O thread must notice.
      const uint64_t end_ns = g_clock.now_ns() + 10 * kSecond;
      while (!flag.is_set() && g_clock.now_ns() < end_ns) usleep(100);
    } else {
      (*thread)->drive_until(flag, g_clock.now_ns() + 10 * kSecond);
    }
    raising.join();
    ASSERT_TRUE(flag.is_set()) << round;
  }
  (*thread)->stop();
}

}  // namespace
}  // namespace gd2fs
