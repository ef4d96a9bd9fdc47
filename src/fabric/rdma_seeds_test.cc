// RDMA sessions by seeds: one thread, the NICs' work carried out one request at a time in an order
// that the seed chooses, among refused registrations, exhausted credits, lost work, broken queue
// pairs, ends of sessions and windows that are withdrawn at any moment, and beside a client that
// forges keys. What is watched: see rdma_seeds.h and rdma_forger.h; and everything ends.
//
//   GD2FS_SIM_SEEDS=10000 build/bin/fabric_test --gtest_filter='RdmaSeeds*'
//   GD2FS_SIM_FIRST=5000 ...       begins there
//   GD2FS_SIM_SEED=17 ...          that one alone
#include "fabric/rdma_seeds.h"

#include <array>
#include <cstdlib>

#include "base/log.h"
#include "fabric/rdma_forger.h"
#include "fabric/rdma_slow_reader.h"

namespace gd2fs {
namespace {

constexpr int kSteps = 600;
// So many seeds meet every kind of trouble.
constexpr uint64_t kSeedsForAll = 30;

uint64_t number_from(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class RdmaSeeds : public RdmaSeedsWorld {
 protected:
  // A second client, now and then: one of the two.
  RdmaForger forger{loop, worker};
  bool forger_there = false;
  RdmaSlowReader slow{loop, worker};
  bool slow_there = false;
  bool alone = false;  // there is none
  size_t slow_replies = 0;
  std::array<size_t, kForgeries> forgeries{};  // that were refused
  size_t went_on = 0;                          // sessions of the other client that outlived one
  // What must not be, beside what the world looks for.
  size_t ended = 0;        // sessions that nothing had befallen
  size_t stuck = 0;        // small requests without an answer, in a session that lives
  size_t let_in = 0;       // forgeries that were answered
  size_t touched = 0;      // bytes that forgers reached
  bool disturbed = false;  // something has befallen this session

  RdmaSeeds() { set_log_level(LogLevel::error); }
  ~RdmaSeeds() override {
    set_log_level(LogLevel::info);
    fake.reset();
    client.session.reset();
    for (Side& side : accepted) side.session.reset();
  }
  Side& seconds() { return accepted.back(); }
  uint64_t refused_keys() {
    return fake.counts(0).refused_keys + fake.counts(1).refused_keys + fake.counts(2).refused_keys;
  }

  uint64_t messages_without_buffer() {
    return fake.counts(kClient).no_buffer + fake.counts(kServer).no_buffer;
  }

  void open() {
    fake.manual(0);  // the handshake is not what is tested here
    fake.lose(0);
    client.closed.reset();
    client.replies.clear();
    forget_answers();
    small_asked.clear();
    small_taken.clear();
    forger.end.leave();
    slow_replies += slow.end.replies();
    slow.end.leave();
    forger_there = slow_there = false;
    accepted.clear();
    disturbed = false;
    went_on += forgery_in_session && replies_in_session > replies_before;
    forgery_in_session = false;
    replies_in_session = 0;
    const Status status = connect(options_to(listener->address()));
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_TRUE(until([&] { return !accepted.empty(); }));
    server().handler = [this](const Message& message) { take(message); };
    client.reply_handler = [this](const Message& reply) { on_reply(reply); };
    if (alone) {
      // Nobody else.
    } else if (seeded.chance(1, 2)) {
      ASSERT_NO_FATAL_FAILURE(let_forger_in());
    } else if (seeded.chance(1, 2)) {
      ASSERT_NO_FATAL_FAILURE(let_slow_reader_in());
    }
    fake.manual(1);
  }
  // By the client's NIC, or by another one.
  void join(RawRdmaEnd& end) {
    ConnectOptions options = options_to(listener->address());
    if (seeded.chance(1, 3)) options.local_address = "tcp://127.0.0.3";
    end.join(std::move(options));
    ASSERT_TRUE(until([&] { return end.outcome() && accepted.size() == 2; }));
    ASSERT_TRUE(end.outcome()->ok()) << end.outcome()->to_string();
  }
  void let_slow_reader_in() {
    slow.begin(seeded);
    ASSERT_NO_FATAL_FAILURE(join(slow.end));
    seconds().handler = [this](const Message& message) { slow.serve(*seconds().session, message); };
    slow_there = true;
  }
  void let_forger_in() {
    ASSERT_NO_FATAL_FAILURE(join(forger.end));
    forger.begin();
    forger.victim_key = fake.key_at(kClient, forger.victim.data());
    forger.slab_key = fake.key_at(kServer, forger.slab.data());
    forger.page_key = fake.key_at(kServer, forger.page.data());
    seconds().handler = [this](const Message& message) {
      forger.serve(*seconds().session, message);
    };
    forger_there = true;
  }
  void disturb() {
    const uint64_t what = seeded.below(6);
    disturbed = disturbed || what < 4;
    switch (what) {
      case 0:
        return fake.lose(1);
      case 1:
        return fake.break_pairs(static_cast<int>(seeded.below(2)));
      case 2:
        if (client.session->open()) client.session->close(Status(StatusCode::canceled, "enough"));
        return;
      case 3:
        if (server().session->open()) server().session->close(Status(StatusCode::canceled, "no"));
        return;
      default:
        if (Buffer* buffer = some_buffer(Buffer::State::asked)) withdraw(*buffer);
    }
  }
  void forge() {
    if (!forger_there || forger.struck() || !forger.end.open()) return;
    forger.strike(static_cast<Forgery>(seeded.below(kForgeries)), seeded);
    refused_before = refused_keys();
  }
  // The forger's session is over, or it has reached something.
  void judge() {
    if (!forger_there) return;
    Side& side = seconds();
    const bool answered = forger.struck() && forger.let_in();
    if (side.session->open() && !answered) return;
    forger_there = false;
    touched += forger.touched();
    let_in += answered;
    if (answered) return;
    ASSERT_TRUE(until([&] { return side.closed.has_value(); }));
    EXPECT_TRUE(side.closed->is(StatusCode::unavailable)) << side.closed->to_string();
    forger.expect_refused();
    if (!forger.struck() || refused_keys() == refused_before) return;  // it ended otherwise
    ++forgeries[static_cast<size_t>(*forger.struck())];
    forgery_in_session = true;
    replies_before = replies_in_session;
    ASSERT_TRUE(until([&] { return !forger.end.open(); }));  // its NIC was told so, too
  }
  // The end of a session is the end of all its windows, and then of what the server had to do.
  void mend() {
    if (client.session->open() && server().session->open()) return;
    if (client.session->open())
      client.session->close(Status(StatusCode::canceled, "the other end"));
    if (server().session->open()) server().session->close(Status(StatusCode::canceled, "so do we"));
    ASSERT_TRUE(until([&] { return client.closed && server().closed; }));
    // Nothing but a machine that is too slow for the client's patience ends one by itself.
    ended += !disturbed && !client.closed->is(StatusCode::timed_out);
    // What was withdrawn after the queue pair was gone ends at once, but perhaps behind on_closed.
    const auto back = [](const Buffer& buffer) {
      return buffer.state != Buffer::State::withdrawing || buffer.back.finished;
    };
    ASSERT_TRUE(until([&] { return std::ranges::all_of(buffers, back); }));
    for (Buffer& buffer : buffers) {
      if (buffer.state != Buffer::State::watched) watch(buffer);
    }
    for (const Answer& answer : answers) {
      for (const PushFlag& push : answer.pushes) EXPECT_TRUE(push.finished);
      EXPECT_TRUE(answer.pull == nullptr || answer.pull->finished);
    }
    end_sessions();
    ASSERT_NO_FATAL_FAILURE(open());
  }
  void end_sessions() {
    client.session.reset();
    for (Side& side : accepted) {
      if (side.session == nullptr) continue;
      side.session->close(Status(StatusCode::canceled, "the end"));
      EXPECT_TRUE(until([&] { return side.closed.has_value(); }));
      side.session.reset();
    }
  }

  // --- a run ---

  // Until there is nothing to do without the NICs: how much one turn of the loop does depends on
  // when the thread that ends queue pairs has its say.
  void rest() {
    for (int i = 0; i < 4; ++i) loop.turn(0);
    if (!slow_there || seconds().session->open()) return;
    EXPECT_TRUE(until([&] { return seconds().closed.has_value(); }));
    slow_there = false;
  }
  void turn() {
    for (uint64_t n = seeded.below(8); n > 0; --n) fake.step(seeded.next());
    rest();
    for (Buffer& buffer : buffers) {
      if (buffer.state != Buffer::State::withdrawing || !buffer.back.finished) continue;
      if (hasty) look_at(buffer);
      watch(buffer);
    }
    end_answers();
    ASSERT_NO_FATAL_FAILURE(judge());
  }
  void step() {
    ASSERT_NO_FATAL_FAILURE(turn());
    if (seeded.chance(1, 3)) ask();
    if (seeded.chance(1, 2)) serve();
    if (seeded.chance(1, 20)) serve_small();
    if (seeded.chance(1, 100)) {
      ASSERT_NO_FATAL_FAILURE(burst());
    }
    if (seeded.chance(1, 60)) {
      if (Buffer* buffer = some_buffer(Buffer::State::watched)) tell_nics(*buffer);
    }
    if (seeded.chance(1, 40)) forge();
    if (slow_there && slow.end.open()) {
      if (seeded.chance(1, 10)) slow.ask(seeded);
      if (seeded.chance(1, 20)) slow.read();
    }
    if (seeded.chance(1, 60)) disturb();
    ASSERT_NO_FATAL_FAILURE(mend());
  }
  // Of a session that nothing has befallen: all small requests get their answers.
  void finish() {
    constexpr int kTurnsMax = 10'000;
    const auto slow_waits = [&] { return slow_there && slow.end.open() && slow.missing() > 0; };
    for (int i = 0; i < kTurnsMax && (!small_asked.empty() || slow_waits()); ++i) {
      ASSERT_NO_FATAL_FAILURE(turn());
      if (!client.session->open() || !server().session->open()) break;
      if (slow_waits()) slow.read();
      serve();
      serve_small();
    }
    if (disturbed || !client.session->open()) return;
    stuck += small_asked.size();
    if (slow_there) stuck += slow.missing();
  }
  void run(uint64_t seed) {
    seeded = Random(seed);
    if (listener == nullptr) {
      ASSERT_NO_FATAL_FAILURE(listen());
      registered.emplace_back(fabric, forger.slab, false);
      registered.emplace_back(fabric, forger.page, false);
      registered.emplace_back(fabric, forger.victim, true);
    }
    ASSERT_NO_FATAL_FAILURE(open());
    tell_nics(slab, seeded.chance(1, 6));
    for (Page& page : pages) tell_nics(page, seeded.chance(1, 6));
    for (Buffer& buffer : buffers) {
      tell_nics(buffer);
      watch(buffer);
    }
    for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) {
      step();
      if (i % 50 == 0) look_at_canaries();
    }
    if (HasFatalFailure()) return;
    ASSERT_NO_FATAL_FAILURE(finish());
    disturbed = true;
    client.session->close(Status(StatusCode::canceled, "the end"));
    ASSERT_NO_FATAL_FAILURE(mend());
    look_at_canaries();
    end_sessions();
  }
  // Runs seeds until one shows what is counted there; 0: none does.
  uint64_t first_seed_with(const size_t& count) {
    constexpr uint64_t kSeedsMax = 20;
    for (uint64_t seed = 1; seed <= kSeedsMax && !HasFailure(); ++seed) {
      SCOPED_TRACE("GD2FS_SIM_SEED=" + std::to_string(seed));
      run(seed);
      if (count > 0) return seed;
    }
    return 0;
  }

 private:
  uint64_t refused_before = 0;
  bool forgery_in_session = false;
  size_t replies_before = 0;
  std::list<Registered> registered;
};

TEST_F(RdmaSeeds, no_byte_lands_in_memory_that_was_given_back_or_is_not_a_clients_to_show) {
  const uint64_t only = number_from("GD2FS_SIM_SEED", 0);
  const uint64_t first = only != 0 ? only : number_from("GD2FS_SIM_FIRST", 1);
  const uint64_t count = only != 0 ? 1 : number_from("GD2FS_SIM_SEEDS", kSeedsForAll);
  const uint64_t without_buffer_before = messages_without_buffer();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("GD2FS_SIM_SEED=" + std::to_string(seed));
    run(seed);
    EXPECT_EQ(late, 0u);
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(untold, 0u);
    EXPECT_EQ(uncounted, 0u);
    EXPECT_EQ(ended, 0u);
    EXPECT_EQ(stuck, 0u);
    EXPECT_EQ(messages_without_buffer(), without_buffer_before);
    EXPECT_EQ(touched, 0u);
    EXPECT_EQ(let_in, 0u);
    if (HasFailure()) return;
  }
  std::printf(
      "%llu seeds: %zu replies, %zu of copied bytes, %zu to small requests, %zu to slow readers, "
      "%zu bursts "
      "without credit, %zu sessions beside forgeries:",
      static_cast<unsigned long long>(count), met.replies, met.copied, met.small_replies,
      slow_replies, met.without_credit, went_on);
  for (size_t i = 0; i < kForgeries; ++i) {
    std::printf(" %s %zu", name_of(static_cast<Forgery>(i)), forgeries[i]);
  }
  std::printf("\n");
  EXPECT_GT(met.replies, 0u);  // it is about something
  if (count < kSeedsForAll) return;
  EXPECT_GT(met.copied, 0u);
  EXPECT_GT(met.small_replies, 0u);
  EXPECT_GT(met.without_credit, 0u);
  EXPECT_GT(slow_replies, 0u);
  EXPECT_GT(went_on, 0u);
  for (size_t i = 0; i < kForgeries; ++i) {
    EXPECT_GT(forgeries[i], 0u) << name_of(static_cast<Forgery>(i));
  }
}

// A safety taken out, and the canaries sing.
TEST_F(RdmaSeeds, late_bytes_show_when_nobody_waits_for_a_withdrawal) {
  hasty = true;
  EXPECT_GT(first_seed_with(late), 0u);
}

TEST_F(RdmaSeeds, late_bytes_show_when_nics_go_on_with_what_ended_queue_pairs_had) {
  fake.let_late_bytes_through(1);
  alone = true;  // messages of a queue pair that has ended lie in memory that is gone
  EXPECT_GT(first_seed_with(late), 0u);
}

TEST_F(RdmaSeeds, bytes_of_others_show_when_nics_do_not_look_at_keys) {
  fake.open_all_memory(1);
  EXPECT_GT(first_seed_with(touched), 0u);
}

TEST_F(RdmaSeeds, a_nic_that_does_not_say_that_it_refuses_memory_shows) {
  fake.lie_about_refusals(1);
  EXPECT_GT(first_seed_with(untold), 0u);
  EXPECT_GT(first_seed_with(ended), 0u);
}

TEST_F(RdmaSeeds, requests_without_an_answer_show_when_credit_does_not_come_back) {
  fake.lose_credit(1);
  EXPECT_GT(first_seed_with(stuck), 0u);
}

}  // namespace
}  // namespace gd2fs
