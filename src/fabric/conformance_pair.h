// For tests: two processes joined by a fabric, and what each saw. The conformance suite runs the
// same tests over every fabric through it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/random.h"
#include "fabric/fabric.h"
#include "loop/worker.h"

namespace gd2fs {

// The world under the two processes. Everything runs on the test's thread.
class FabricPair {
 public:
  virtual ~FabricPair() = default;
  virtual Loop& client_loop() = 0;
  virtual Loop& server_loop() = 0;
  virtual Fabric& client() = 0;
  virtual Fabric& server() = 0;
  virtual std::string listen_address() = 0;
  virtual std::string dead_address() = 0;  // nobody listens there
  // Whether software compares pushed bytes with their crc; RDMA leaves that to the NICs.
  virtual bool checks_bytes() const { return true; }
  // Where both meet if they are to use shared memory.
  virtual std::string same_host_directory() { return {}; }
  // False if the predicate stayed false for long.
  virtual bool run_until(const std::function<bool()>& predicate) = 0;
  virtual void run_for_ns(uint64_t ns) = 0;
};

// Both processes on one loop of the real world, with one fabric, which the derived class has.
class OneLoopPair : public FabricPair {
 public:
  Loop& client_loop() override { return loop_; }
  Loop& server_loop() override { return loop_; }
  Fabric& client() override { return server(); }
  bool run_until(const std::function<bool()>& predicate) override {
    const uint64_t end_ns = clock_.now_ns() + 20 * kSecond;
    while (!predicate()) {
      if (clock_.now_ns() > end_ns) return false;
      loop_.turn(10 * kMs);
    }
    return true;
  }
  void run_for_ns(uint64_t ns) override {
    const uint64_t end_ns = clock_.now_ns() + ns;
    while (clock_.now_ns() < end_ns) loop_.turn(kMs);
  }

 protected:
  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  ThreadWorker worker_{"resolver"};
};

struct Received {
  uint16_t type = 0;
  uint64_t request_id = 0;
  std::vector<std::byte> body;
};

// One end of a session and all that happened to it.
struct Side final : SessionEvents {
  std::unique_ptr<Session> session;
  std::vector<Received> messages;
  std::vector<Received> replies;
  std::optional<Status> closed;
  int times_closed = 0;
  std::function<void(const Message&)> handler;        // instead of keeping
  std::function<void(const Message&)> reply_handler;  // besides keeping
  bool destroys_when_closed = false;

  void on_message(Session&, const Message& message) override {
    if (handler) return handler(message);
    messages.push_back(
        {message.type, message.request_id, {message.body.begin(), message.body.end()}});
  }
  void on_reply(Session&, const Message& reply) override {
    replies.push_back({reply.type, reply.request_id, {reply.body.begin(), reply.body.end()}});
    if (reply_handler) reply_handler(reply);
  }
  void on_closed(Session&, const Status& reason) override {
    if (destroys_when_closed) session.reset();
    closed = reason;
    ++times_closed;
  }
};

// What has become of a connect(); empty: nothing yet.
using Connected = std::optional<Result<std::unique_ptr<Session>>>;

inline Task<void> run_connect(Fabric* fabric, ConnectOptions options, Connected* out) {
  auto result = co_await fabric->connect(std::move(options));
  out->emplace(std::move(result));
}

// A session for `side`, which hears its events; `until` makes both ends run
// (FabricPair::run_until).
template <typename Until>
Status connect_side(Fabric& fabric, Loop& loop, ConnectOptions options, Side& side,
                    const Until& until) {
  options.events = &side;
  Connected out;
  loop.spawn(run_connect(&fabric, std::move(options), &out));
  if (!until([&] { return out.has_value(); })) return {StatusCode::io, "connect hangs"};
  if (!out->has_value()) return out->error();
  side.session = std::move(**out);
  return {};
}

inline std::vector<std::byte> random_bytes(Random& random, size_t length_bytes) {
  std::vector<std::byte> bytes(length_bytes);
  random.fill(bytes);
  return bytes;
}

// A Completion that remembers.
struct Flag {
  Completion done;
  bool finished = false;
  Status status;
  uint64_t value = 0;
  Flag() { done.bind<&Flag::on_done>(this); }
  void on_done(Completion& ended) {
    finished = true;
    status = ended.status;
    value = ended.value;
  }
};

struct PushFlag : Push {
  bool finished = false;
  Status status;
  PushFlag(uint64_t id, uint64_t at, ConstBytes from) {
    request_id = id;
    offset = at;
    bytes = from;
    crc = crc32c(from);
    done.bind<&PushFlag::on_done>(this);
  }
  void on_done(Completion& ended) {
    finished = true;
    status = ended.status;
  }
};

struct PullFlag : Pull {
  bool finished = false;
  Status status;
  PullFlag(uint64_t id, uint64_t at, Bytes to) {
    request_id = id;
    offset = at;
    into = to;
    done.bind<&PullFlag::on_done>(this);
  }
  void on_done(Completion& ended) {
    finished = true;
    status = ended.status;
  }
};

}  // namespace gd2fs
