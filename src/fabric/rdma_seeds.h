// For tests: RDMA sessions by seeds, between a client that asks for bytes into and out of its
// buffers and gives them up at any moment, and a server that answers in any order. NICs refuse
// memory, and more messages are sent than there are buffers for. What is watched: a reply means
// that all its bytes are there, and no byte lands in a buffer once it was given back.
#pragma once

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "fabric/rdma_world.h"

namespace gd2fs {

class RdmaSeedsWorld : public RdmaWorld {
 protected:
  static constexpr size_t kBufferBytes = 5 << 18;
  static constexpr size_t kBuffers = 4;
  static constexpr size_t kSmallMax = 512;  // small requests that have no answer yet

  // Memory that NICs are told of, and may refuse.
  struct Told {
    std::vector<std::byte> bytes = std::vector<std::byte>(kBufferBytes);
    bool for_peers = false;
    bool told = false;
    FabricMemory memory() {
      return {.address = bytes.data(), .length_bytes = bytes.size(), .for_peers = for_peers};
    }
  };
  // A client's buffer: under way for a request, or given back and watched.
  struct Buffer : Told {
    bool has_keys = false;
    Window window;
    enum class State { watched, asked, withdrawing } state = State::watched;
    std::byte canary{0};
    Flag back;
    Buffer() { for_peers = true; }
  };
  // Of the server: what one pull fills.
  struct Page : Told {
    bool used = false;
  };
  // What the server does about a request.
  struct Answer {
    uint64_t id = 0;
    bool source = false;
    uint64_t length = 0;
    std::byte canary{0};  // what a source is full of
    std::list<PushFlag> pushes;
    std::unique_ptr<PullFlag> pull;
    Page* page = nullptr;
    bool replied = false;
    bool over() const {
      for (const PushFlag& push : pushes) {
        if (!push.finished) return false;
      }
      return replied && (pull == nullptr || pull->finished);
    }
  };
  enum Kind : uint64_t { sink, source, small };

  // What the seeds have met, in all.
  struct Met {
    size_t replies = 0;
    size_t copied = 0;          // with bytes of memory that has no keys
    size_t small_replies = 0;   // of bursts
    size_t without_credit = 0;  // bursts that found no credit left
  } met;
  // What must not be.
  size_t late = 0;       // bytes that landed where they may not
  size_t wrong = 0;      // replies and pulls without their bytes
  size_t untold = 0;     // refusals that nobody was told of, or there were none
  size_t uncounted = 0;  // windows that were not counted as copied, or were not
  bool hasty = false;  // a mutation: a buffer is used again at once, and not when it has come back

  Random seeded{0};
  Told slab;
  std::list<Page> pages{kBuffers};
  std::list<Buffer> buffers{kBuffers};
  std::list<Answer> answers;
  std::unordered_map<uint64_t, std::vector<std::byte>> small_asked;
  std::list<std::pair<uint64_t, std::vector<std::byte>>> small_taken;  // by the server
  size_t replies_in_session = 0;

  RdmaSeedsWorld() { random.fill(slab.bytes); }

  // --- memory ---

  // Tells NICs of memory anew; some may refuse it, and say so.
  void tell_nics(Told& memory, bool may_refuse) {
    if (std::exchange(memory.told, true)) fabric.remove_memory(memory.memory());
    const int refusals = may_refuse ? static_cast<int>(1 + seeded.below(2)) : 0;
    fake.refuse_registrations(refusals, ENOMEM);
    const Status status = fabric.add_memory(memory.memory());
    fake.refuse_registrations(0, 0);
    untold += status.errno_value() != (refusals > 0 ? ENOMEM : 0);
  }
  void tell_nics(Buffer& buffer) {
    tell_nics(buffer, seeded.chance(1, 3));
    buffer.has_keys = fake.key_at(kClient, buffer.bytes.data()) != 0;
  }

  // --- the client ---

  Buffer* some_buffer(Buffer::State state) {
    const size_t skip = seeded.below(buffers.size());
    size_t i = 0;
    Buffer* found = nullptr;
    for (Buffer& buffer : buffers) {
      if (buffer.state == state && (found == nullptr || i <= skip)) found = &buffer;
      ++i;
    }
    return found;
  }
  void use(Buffer& buffer) {
    buffer.canary = static_cast<std::byte>(seeded.next());
    std::ranges::fill(buffer.bytes, buffer.canary);
  }
  void watch(Buffer& buffer) {
    buffer.state = Buffer::State::watched;
    use(buffer);
  }
  void look_at(const Buffer& buffer) {
    const auto changed = [&](std::byte byte) { return byte != buffer.canary; };
    late += static_cast<size_t>(std::ranges::count_if(buffer.bytes, changed));
  }
  void look_at_canaries() {
    for (const Buffer& buffer : buffers) {
      if (buffer.state == Buffer::State::watched) look_at(buffer);
    }
  }
  void ask() {
    Buffer* buffer = some_buffer(Buffer::State::watched);
    if (buffer == nullptr || !client.session->open()) return;
    Window& window = buffer->window;
    const bool source = seeded.chance(1, 3);
    const uint64_t length = 1 + seeded.below(seeded.chance(1, 3) ? 5000 : kBufferBytes);
    window.direction = source ? Window::Direction::source : Window::Direction::sink;
    window.segments.clear();
    for (uint64_t at = 0; at < length;) {
      const uint64_t part = std::min(length - at, 1 + seeded.below(length));
      window.segments.push_back({buffer->bytes.data() + at, part});
      at += part;
    }
    window.request_id = client.session->next_request_id();
    client.session->expose(window);
    buffer->state = Buffer::State::asked;
    std::byte body[24];
    store_le(body, source ? Kind::source : Kind::sink);
    store_le(body + 8, length);
    store_le(body + 16, static_cast<uint64_t>(buffer->canary));
    const uint64_t copied = fabric.counters().copied_windows;
    const Status sent = client.session->send(kType, window.request_id, body, &window);
    if (!sent.ok()) return withdraw(*buffer);
    // A small source goes along with its request in any case.
    const bool by_copy = !buffer->has_keys && (!source || length > kEagerMaxBytes);
    uncounted += fabric.counters().copied_windows - copied != by_copy;
  }
  // Small requests, more at once than the server has buffers for: some to a message, or each in one
  // of its own.
  void burst() {
    if (small_asked.size() >= kSmallMax || !client.session->open()) return;
    const uint64_t waits = fabric.counters().credit_waits;
    const uint64_t count = RdmaQueue::kBuffers + 1 + seeded.below(3 * RdmaQueue::kBuffers);
    const bool apart = seeded.chance(1, 2);
    for (uint64_t i = 0; i < count && client.session->open(); ++i) {
      std::vector<std::byte> body(8 + seeded.below(apart ? 500 : RdmaQueue::kBufferBytes));
      seeded.fill(body);
      store_le(body.data(), Kind::small);
      const uint64_t id = client.session->next_request_id();
      ASSERT_TRUE(client.session->send(kType, id, body).ok());
      small_asked.emplace(id, std::move(body));
      if (apart) loop.turn(0);
    }
    loop.turn(0);
    met.without_credit += fabric.counters().credit_waits > waits;
  }
  void withdraw(Buffer& buffer) {
    buffer.state = Buffer::State::withdrawing;
    buffer.back.finished = false;
    if (hasty) use(buffer);
    client.session->withdraw(buffer.window, buffer.back.done);
  }
  void on_reply(const Message& reply) {
    ++replies_in_session;
    const auto small = small_asked.find(reply.request_id);
    if (small != small_asked.end()) {
      ++met.small_replies;
      if (!std::ranges::equal(reply.body, small->second)) ++wrong;
      small_asked.erase(small);
      return;
    }
    for (Buffer& buffer : buffers) {
      if (buffer.state != Buffer::State::asked || buffer.window.request_id != reply.request_id) {
        continue;
      }
      ++met.replies;
      if (reply.type == kType && buffer.window.direction == Window::Direction::sink) {
        const uint64_t length = buffer.window.length_bytes();
        const auto begin = buffer.bytes.begin();
        if (!std::equal(begin, begin + static_cast<ptrdiff_t>(length), slab.bytes.begin())) ++wrong;
        met.copied += !buffer.has_keys;
      }
      return withdraw(buffer);
    }
  }

  // --- the server ---

  void take(const Message& message) {
    const auto kind = load_le<uint64_t>(message.body.data());
    if (kind == Kind::small) {
      small_taken.emplace_back(message.request_id,
                               std::vector(message.body.begin(), message.body.end()));
      return;
    }
    Answer& answer = answers.emplace_back();
    answer.id = message.request_id;
    answer.source = kind == Kind::source;
    answer.length = load_le<uint64_t>(message.body.data() + 8);
    answer.canary = static_cast<std::byte>(load_le<uint64_t>(message.body.data() + 16));
  }
  // All at once, as after something that they have waited for.
  void serve_small() {
    if (!server().session->open()) return;
    for (const auto& [id, body] : small_taken) {
      EXPECT_TRUE(server().session->reply(kType, id, body).ok());
    }
    small_taken.clear();
  }
  void serve() {
    if (answers.empty() || !server().session->open()) return;
    auto answer = answers.begin();
    std::advance(answer, seeded.below(answers.size()));
    Session& session = *server().session;
    if (answer->replied) return;
    if (seeded.chance(1, 20)) {
      session.drop_request(answer->id);
      answer->replied = true;
    } else if (answer->source) {
      if (answer->pull == nullptr && !begin_pull(*answer)) return;
      if (seeded.chance(1, 2)) return;
      EXPECT_TRUE(session.reply(kType, answer->id, {}).ok());
      answer->replied = true;
    } else {
      for (uint64_t at = 0; at < answer->length;) {
        const uint64_t part = std::min(answer->length - at, 1 + seeded.below(2 << 20));
        session.push(
            answer->pushes.emplace_back(answer->id, at, ConstBytes(slab.bytes).subspan(at, part)));
        at += part;
      }
      EXPECT_TRUE(session.reply(kType, answer->id, {}).ok());
      answer->replied = true;
    }
  }
  bool begin_pull(Answer& answer) {
    const auto free = std::ranges::find_if(pages, [](const Page& page) { return !page.used; });
    if (free == pages.end()) return false;
    free->used = true;
    answer.page = &*free;
    answer.pull = std::make_unique<PullFlag>(answer.id, 0, Bytes(free->bytes).first(answer.length));
    server().session->pull(*answer.pull);
    return true;
  }
  void end(const Answer& answer) {
    if (answer.page == nullptr) return;
    answer.page->used = false;
    if (hasty || !answer.pull->status.ok()) return;
    const auto differs = [&](std::byte byte) { return byte != answer.canary; };
    wrong += std::ranges::any_of(answer.pull->into, differs);
  }
  void end_answers() {
    std::erase_if(answers, [this](const Answer& answer) {
      if (answer.over()) end(answer);
      return answer.over();
    });
  }
  void forget_answers() {
    answers.clear();
    for (Page& page : pages) page.used = false;
  }
};

}  // namespace gd2fs
