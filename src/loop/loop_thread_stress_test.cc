// Random interleavings of submit, drive, give up, and leave for good. Whatever the callers do, each
// piece of work must end: a lost wake-up shows as a piece that nobody drives.
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "base/random.h"
#include "loop/loop_thread.h"

namespace gd2fs {
namespace {

using Woken = LoopThread::Woken;

constexpr uint64_t kLostNs = 20 * kSecond;
constexpr uint64_t kRounds = 100000;
constexpr uint32_t kThreads = 4;

RealClock g_clock;

// One piece of work: it ends at once, by a timer, by a file descriptor that another thread makes
// readable, or by raw mail from another thread, and then sets its flag or its own word.
struct Piece {
  enum class Kind : uint8_t { at_once, completion, timer, fd, raw_mail, kinds };

  Piece(LoopThread& lent, Kind how, uint64_t delay)
      : thread(lent), kind(how), delay_ns(delay), flag(lent) {
    job.bind<&Piece::begin>(this);
    timer.bind<&Piece::on_completion>(this);
    completion.bind<&Piece::on_completion>(this);
    mail.bind<&Piece::end>(this);
    watch.bind<&Piece::on_events>(this);
  }
  void begin() {
    Loop& loop = thread.loop();
    switch (kind) {
      case Kind::at_once:
        return end();
      case Kind::completion:
        return loop.complete(completion, Status());
      case Kind::timer:
        return loop.start(timer, delay_ns);
      case Kind::fd:
        CHECK(loop.watch(watch, fd, EPOLLIN).ok());
        return;
      default:
        return;  // mail comes from elsewhere
    }
  }
  // The part of another thread, done by the submitter after submit().
  void kick() {
    const uint64_t one = 1;
    if (kind == Kind::fd) CHECK(write(fd, &one, sizeof one) == sizeof one);
    if (kind == Kind::raw_mail) thread.loop().post(mail);
  }
  void on_completion(Completion&) { end(); }
  void on_events(uint32_t) {
    uint64_t count = 0;
    CHECK(read(fd, &count, sizeof count) == sizeof count);
    thread.loop().unwatch(watch);
    end();
  }
  void end() {
    if (!driven_for) {
      word.store(1, std::memory_order_release);
      futex_wake_all(word);  // by address: the piece may be gone
    } else {
      flag.set();
    }
  }

  LoopThread& thread;
  Kind kind;
  uint64_t delay_ns;
  bool driven_for = true;  // its owner waits by driving, not on `word`
  int fd = -1;
  WaitFlag flag;
  std::atomic<uint32_t> word{0};
  Mail job;
  Mail mail;
  Timer timer;
  Completion completion;
  Watch watch;
};

struct Caller {
  LoopThread& thread;
  Random random;
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::string lost;

  Caller(LoopThread& lent, uint64_t seed) : thread(lent), random(seed) {}
  ~Caller() { close(fd); }

  uint64_t spin_ns() { return random.chance(1, 2) ? 0 : 20 * kUs; }

  bool drive(Piece& piece) {
    // Some give up early a few times, as wait() with a short timeout does.
    for (uint64_t tries = random.below(3); tries > 0; --tries) {
      const uint64_t deadline_ns = g_clock.now_ns() + random.below(60) * kUs;
      if (thread.drive_until(piece.flag, deadline_ns, spin_ns()) == Woken::flag) return true;
      if (random.chance(1, 4)) thread.poll();
    }
    return thread.drive_until(piece.flag, g_clock.now_ns() + kLostNs, spin_ns()) == Woken::flag;
  }
  bool leave(Piece& piece) {
    const uint64_t deadline_ns = g_clock.now_ns() + kLostNs;
    while (piece.word.load(std::memory_order_acquire) == 0) {
      if (futex_wait(piece.word, 0, deadline_ns) == FutexEnd::deadline) return false;
    }
    return true;
  }
  void run(uint64_t rounds) {
    for (uint64_t round = 0; round < rounds && lost.empty(); ++round) {
      const auto kind =
          static_cast<Piece::Kind>(random.below(static_cast<uint64_t>(Piece::Kind::kinds)));
      Piece piece(thread, kind, random.below(80) * kUs);
      piece.fd = fd;
      piece.driven_for = random.chance(7, 8);
      const bool driven_for = piece.driven_for;
      CHECK(thread.submit(piece.job));
      piece.kick();
      if (!(driven_for ? drive(piece) : leave(piece))) {
        lost = "round " + std::to_string(round) + " kind " +
               std::to_string(static_cast<int>(kind)) + (driven_for ? " driven" : " left");
      }
    }
  }
};

void stress(uint32_t threads, uint64_t rounds, uint64_t seed) {
  auto started = LoopThread::start(g_clock, {});
  ASSERT_TRUE(started.has_value());
  LoopThread& lent = **started;
  std::vector<std::unique_ptr<Caller>> callers;
  for (uint32_t i = 0; i < threads; ++i) {
    callers.push_back(std::make_unique<Caller>(lent, mix64(seed + i)));
  }
  std::vector<std::thread> running;
  for (auto& caller : callers) {
    running.emplace_back([&caller, rounds, threads] { caller->run(rounds / threads); });
  }
  for (std::thread& thread : running) thread.join();
  for (auto& caller : callers) EXPECT_EQ(caller->lost, "") << "seed " << seed;
  lent.stop();
}

TEST(LoopThreadStress, no_wake_up_is_lost_with_one_caller) {
  stress(1, kRounds / 4, 11);
}
TEST(LoopThreadStress, no_wake_up_is_lost_with_two_callers) {
  stress(2, kRounds / 2, 22);
}
TEST(LoopThreadStress, no_wake_up_is_lost_with_four_callers) {
  stress(kThreads, kRounds, 33);
}

// A thread that posts raw mail and waits for it, again and again, at moments that slide past the
// points where the driver looks for mail and goes to sleep.
struct Poster {
  Poster(Loop& to, uint64_t seed) : loop(to), random(seed) { mail.bind<&Poster::on_mail>(this); }
  void on_mail() {
    word.store(1, std::memory_order_release);
    futex_wake_one(word);
  }
  void run(uint64_t rounds) {
    for (uint64_t round = 0; round < rounds && lost.empty(); ++round) {
      for (uint64_t pauses = random.below(60); pauses > 0; --pauses) spin_pause();
      word.store(0, std::memory_order_relaxed);
      loop.post(mail);
      const uint64_t deadline_ns = g_clock.now_ns() + kLostNs;
      const bool look = random.chance(1, 2);  // see the answer at once, and post again at once
      while (word.load(std::memory_order_acquire) == 0 && lost.empty()) {
        if (look && g_clock.now_ns() < deadline_ns - kLostNs + 100 * kUs) continue;
        if (futex_wait(word, 0, deadline_ns) == FutexEnd::deadline) {
          lost = "round " + std::to_string(round);
        }
      }
    }
  }

  Loop& loop;
  Random random;
  Mail mail;
  std::atomic<uint32_t> word{0};
  std::string lost;
};

// One poster alone, whom no other poster's wake-up can help, then two.
void stress_mail(Loop& loop, uint64_t seed) {
  Poster one(loop, mix64(seed));
  one.run(kRounds / 4);
  Poster two(loop, mix64(seed + 1));
  std::thread other([&] { one.run(kRounds / 4); });
  two.run(kRounds / 4);
  other.join();
  EXPECT_EQ(one.lost, "") << "seed " << seed;
  EXPECT_EQ(two.lost, "") << "seed " << seed;
}

TEST(LoopThreadStress, no_mail_is_lost_when_only_the_io_thread_drives) {
  for (const uint64_t spin_ns : {uint64_t{0}, 20 * kUs}) {
    LoopThread::Options options;
    options.spin_ns = spin_ns;
    auto lent = LoopThread::start(g_clock, std::move(options));
    ASSERT_TRUE(lent.has_value());
    stress_mail((*lent)->loop(), 44);
  }
}

TEST(LoopThreadStress, no_mail_is_lost_when_a_caller_drives_and_sleeps) {
  auto lent = LoopThread::start(g_clock, {});
  ASSERT_TRUE(lent.has_value());
  WaitFlag end(**lent);
  std::thread driver([&] { EXPECT_EQ((*lent)->drive_until(end, UINT64_MAX, 0), Woken::flag); });
  stress_mail((*lent)->loop(), 55);
  end.set();
  driver.join();
}

TEST(LoopThreadStress, no_mail_is_lost_by_a_loop_that_runs) {
  Loop loop(g_clock, Loop::Waits::epoll);
  std::thread driver([&] { loop.run(); });
  stress_mail(loop, 66);
  loop.stop();
  driver.join();
}

}  // namespace
}  // namespace gd2fs
