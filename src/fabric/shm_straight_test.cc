// The way past the window: a session on one host offers what it was granted, or has to stage, to
// the window's StraightPath, here one that "copies" when the test says so.
#include <cerrno>

#include "fabric/shm_fixture.h"

namespace gd2fs {
namespace {

class TestPath final : public StraightPath {
 public:
  TestPath(Loop& loop, size_t length_bytes) : far(length_bytes), loop_(loop) {}
  bool take(StraightPart& part) override {
    if (refuse) return false;
    part.begun = false;
    waiting.push_back(part);
    ++taken;
    return true;
  }
  bool take_back(StraightPart& part) override {
    if (part.begun) return false;
    part.unlink();
    ++taken_back;
    return true;
  }
  void arrived(uint64_t offset, uint64_t length_bytes) override {
    right.emplace_back(offset, length_bytes);
  }
  void begin_all() {
    while (StraightPart* part = waiting.pop_front()) {
      part->begun = true;
      begun.push_back(*part);
    }
  }
  void end_all(const Status& status) {
    while (StraightPart* part = begun.pop_front()) {
      if (from_far) {
        std::memcpy(part->bytes.data(), far.data() + part->offset, part->bytes.size());
      } else {
        std::memcpy(far.data() + part->offset, part->bytes.data(), part->bytes.size());
      }
      loop_.complete(part->done, status);
    }
  }

  bool refuse = false;
  bool from_far = false;  // of a source
  List<StraightPart> waiting;
  List<StraightPart> begun;
  int taken = 0;
  int taken_back = 0;
  std::vector<std::pair<uint64_t, uint64_t>> right;
  std::vector<std::byte> far;  // the GPU's memory

 private:
  Loop& loop_;
};

class ShmStraightTest : public ShmWorld {
 protected:
  static constexpr size_t kSize = 1'000'000;
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(join());
    random.fill(arena.bytes(0, kSize));
    arena.set(0, kSize, 5);
  }
  // Asks, and the server grants it all from the arena as this generation's, in two pieces.
  void ask(uint64_t generation) {
    window.straight = &path;
    id = request(window, Window::Direction::sink, near);
    for (const auto& [at, length] : {std::pair<size_t, size_t>{0, 600'000}, {600'000, 400'000}}) {
      PushFlag& push = pushes.emplace_back(id, at, arena.bytes(at, length));
      place(push, arena, at, generation);
      server().session->push(push);
    }
    ASSERT_TRUE(server().session->reply(kType, id, {}).ok());
  }
  void take_both() {
    ASSERT_TRUE(until([&] { return path.taken == 2; }));
  }
  bool all_pushed() {
    return std::ranges::all_of(pushes, [](const PushFlag& push) { return push.finished; });
  }
  bool equal(const std::vector<std::byte>& bytes) {
    return std::ranges::equal(bytes, arena.bytes(0, kSize));
  }

  TestArena arena{9};
  std::vector<std::byte> near = std::vector<std::byte>(kSize);
  Window window;
  TestPath path{loop, kSize};
  uint64_t id = 0;
  std::list<PushFlag> pushes;
};

TEST_F(ShmStraightTest, what_is_taken_does_not_touch_the_window_and_the_reply_waits_for_it) {
  ASSERT_NO_FATAL_FAILURE(ask(5));
  ASSERT_NO_FATAL_FAILURE(take_both());
  run_for_ns(10 * kMs);
  EXPECT_TRUE(client.replies.empty());
  EXPECT_FALSE(all_pushed());  // the pages are held while they are read
  path.begin_all();
  path.end_all(Status());
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && all_pushed(); }));
  EXPECT_EQ(client.replies[0].type, kType);
  EXPECT_TRUE(equal(path.far));
  EXPECT_EQ(path.right.size(), 2);
  EXPECT_EQ(window.moved_bytes, kSize);
  EXPECT_TRUE(std::ranges::all_of(near, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(ShmStraightTest, what_is_refused_goes_through_the_window) {
  path.refuse = true;
  ASSERT_NO_FATAL_FAILURE(ask(5));
  ASSERT_TRUE(until([&] { return client.replies.size() == 1 && all_pushed(); }));
  EXPECT_TRUE(equal(near));
  EXPECT_TRUE(path.right.empty());
}

TEST_F(ShmStraightTest, a_copy_that_fails_is_made_through_the_window_and_the_arena_stays_in_use) {
  for (int round = 0; round < 2; ++round) {
    ASSERT_NO_FATAL_FAILURE(ask(5));
    ASSERT_NO_FATAL_FAILURE(take_both());
    path.begin_all();
    path.end_all(Status(StatusCode::io, "the GPU is gone", EIO));
    ASSERT_TRUE(until([&] { return client.replies.size() == 1 && all_pushed(); }));
    EXPECT_TRUE(equal(near));
    EXPECT_TRUE(path.right.empty());
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
    client.replies.clear();
    pushes.clear();
    path.taken = 0;
    std::ranges::fill(near, std::byte{0});
  }
}

TEST_F(ShmStraightTest, bytes_of_a_page_that_was_recycled_meanwhile_are_not_the_right_ones) {
  ASSERT_NO_FATAL_FAILURE(ask(5));
  ASSERT_NO_FATAL_FAILURE(take_both());
  path.begin_all();
  arena.set(0, kSize, 6);
  path.end_all(Status());
  // The server still holds the page (in truth it would not recycle it then) and sends the bytes.
  ASSERT_TRUE(until([&] { return client.replies.size() == 1; }));
  EXPECT_TRUE(path.right.empty());
  EXPECT_TRUE(equal(near));
}

TEST_F(ShmStraightTest, withdrawing_takes_back_what_was_not_begun_and_waits_for_what_was) {
  for (const bool begun : {false, true}) {
    ASSERT_NO_FATAL_FAILURE(ask(5));
    ASSERT_NO_FATAL_FAILURE(take_both());
    if (begun) path.begin_all();
    Flag flag;
    client.session->withdraw(window, flag.done);
    run_for_ns(10 * kMs);
    EXPECT_EQ(flag.finished, !begun);
    EXPECT_EQ(path.taken_back, begun ? 0 : 2);
    path.end_all(Status());
    ASSERT_TRUE(until([&] { return flag.finished && all_pushed(); }));
    EXPECT_TRUE(path.right.empty());
    EXPECT_FALSE(client.closed.has_value());
    pushes.clear();
    path.taken = path.taken_back = 0;
  }
}

TEST_F(ShmStraightTest, closing_takes_back_what_was_not_begun_and_waits_for_what_was) {
  ASSERT_NO_FATAL_FAILURE(ask(5));
  ASSERT_NO_FATAL_FAILURE(take_both());
  StraightPart* const second = path.waiting.next(*path.waiting.front());
  path.begin_all();
  second->begun = false;
  path.waiting.push_back(*second);
  client.session->close(Status(StatusCode::canceled, "enough"));
  run_for_ns(10 * kMs);
  EXPECT_FALSE(client.closed.has_value());
  EXPECT_EQ(path.taken_back, 1);
  path.end_all(Status());
  ASSERT_TRUE(until([&] { return client.closed.has_value(); }));
  EXPECT_TRUE(path.right.empty());
  ASSERT_TRUE(until([&] { return all_pushed(); }));
}

// --- sources ---

class ShmStraightSourceTest : public ShmStraightTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ShmStraightTest::SetUp());
    random.fill(path.far);
    path.from_far = true;
    const SharedStaging staging = client.session->staging();
    EXPECT_EQ(staging.memory.size(), kStagingBytes);
    EXPECT_NE(staging.keeps, nullptr);
  }
  // The window's memory is none: whoever touches it faults.
  void ask_to_write(size_t length) {
    window.straight = &path;
    window.direction = Window::Direction::source;
    window.segments = {{reinterpret_cast<std::byte*>(4096), length, 1}};
    id = window.request_id = client.session->next_request_id();
    client.session->expose(window);
    ASSERT_TRUE(client.session->send(kType, id, {}, &window).ok());
    const size_t before = server().messages.size();
    ASSERT_TRUE(until([&] { return server().messages.size() > before; }));
  }
  void pull_all(size_t length) {
    pulled.assign(length, std::byte{0});
    pull = std::make_unique<PullFlag>(id, 0, pulled);
    server().session->pull(*pull);
  }
  void withdraw() {
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  }

  std::vector<std::byte> pulled;
  std::unique_ptr<PullFlag> pull;
};

TEST_F(ShmStraightSourceTest, what_is_pulled_is_staged_by_the_path_also_if_it_is_short) {
  for (const size_t length : {kSize, size_t{5000}}) {
    ASSERT_NO_FATAL_FAILURE(ask_to_write(length));
    pull_all(length);
    ASSERT_TRUE(until([&] {
      path.begin_all();
      path.end_all(Status());
      return pull->finished;
    }));
    EXPECT_TRUE(pull->status.ok()) << pull->status.to_string();
    EXPECT_TRUE(std::equal(pulled.begin(), pulled.end(), path.far.begin()));
    EXPECT_EQ(window.moved_bytes, length);
    EXPECT_TRUE(path.right.empty());  // that is of sinks
    ASSERT_NO_FATAL_FAILURE(withdraw());
  }
}

TEST_F(ShmStraightSourceTest, what_is_refused_or_fails_ends_the_pull_and_frees_the_slots) {
  for (const bool refuse : {true, false, true, false}) {
    path.refuse = refuse;
    ASSERT_NO_FATAL_FAILURE(ask_to_write(kSize));
    pull_all(kSize);
    ASSERT_TRUE(until([&] {
      path.begin_all();
      path.end_all(Status(StatusCode::io, "the GPU is gone", EIO));
      return pull->finished;
    }));
    EXPECT_TRUE(pull->status.is(StatusCode::canceled)) << pull->status.to_string();
    ASSERT_NO_FATAL_FAILURE(withdraw());
  }
  path.refuse = false;
  for (int round = 0; round < 40; ++round) {  // more than there are slots
    ASSERT_NO_FATAL_FAILURE(ask_to_write(kSize));
    pull_all(kSize);
    ASSERT_TRUE(until([&] {
      path.begin_all();
      path.end_all(Status());
      return pull->finished;
    }));
    EXPECT_TRUE(pull->status.ok());
    ASSERT_NO_FATAL_FAILURE(withdraw());
  }
  EXPECT_FALSE(client.closed.has_value());
}

TEST_F(ShmStraightSourceTest, withdrawing_waits_for_what_is_being_staged) {
  ASSERT_NO_FATAL_FAILURE(ask_to_write(kSize));
  pull_all(kSize);
  ASSERT_NO_FATAL_FAILURE(take_both());
  path.begin_all();
  Flag flag;
  client.session->withdraw(window, flag.done);
  run_for_ns(10 * kMs);
  EXPECT_FALSE(flag.finished);
  path.end_all(Status());
  ASSERT_TRUE(until([&] { return flag.finished && pull->finished; }));
  EXPECT_TRUE(pull->status.is(StatusCode::canceled));
  EXPECT_FALSE(client.closed.has_value());
}

}  // namespace
}  // namespace gd2fs
