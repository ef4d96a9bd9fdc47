// tcp_bench: the TCP fabric beside raw sockets, in one run, in turns.
//
//   tcp_bench [lanes] [rounds]
//
// Two threads, a server's loop and a client's, over loopback. "push" is a read that hits: the
// server pushes the bytes in stripes from memory whose crcs it knows. "pull" is a write. The
// baseline moves the same bytes over as many plain sockets, written by one thread and read by
// another, without crc or framing. All memory is touched before. Ratios are medians of rounds.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <optional>
#include <thread>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/random.h"
#include "fabric/reply.h"
#include "fabric/tcp_fabric.h"

namespace gd2fs {
namespace {

constexpr uint64_t kPieceBytes = kStripeDefaultBytes;
constexpr uint64_t kSpinNs = 50 * kUs;
constexpr uint64_t kBytesMax = uint64_t{1} << 28;
constexpr uint16_t kReadType = static_cast<uint16_t>(msg::Type::read);
constexpr uint16_t kWriteType = static_cast<uint16_t>(msg::Type::write);

double seconds_between(uint64_t begin_ns, uint64_t end_ns) {
  return static_cast<double>(end_ns - begin_ns) * 1e-9;
}
double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}
double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// --- the fabric's server: answers reads of body = length with pushes, writes with pulls ---

class Server final : public SessionEvents {
 public:
  Server(ConstBytes slab, Bytes landing) : slab_(slab), landing_(landing) {
    for (uint64_t at = 0; at < slab.size(); at += kPieceBytes) {
      crcs_.push_back(crc32c(slab.subspan(at, kPieceBytes)));
    }
    crc_4k_ = crc32c(slab.first(4096));
  }
  void take(std::unique_ptr<Session> session) {
    session->set_events(this);
    session_ = std::move(session);
  }
  void on_message(Session& session, const Message& message) override {
    const auto length = load_le<uint64_t>(message.body.data());
    ops_.emplace_back(*this, session, message.request_id, length, message.type == kReadType);
  }
  void on_reply(Session&, const Message&) override {}
  void on_closed(Session&, const Status&) override { session_.reset(); }

 private:
  struct Op {
    Op(Server& server, Session& session, uint64_t id, uint64_t length, bool read)
        : server_(server), session_(session), id_(id), length_(length), read_(read) {
      left_ = (length + kPieceBytes - 1) / kPieceBytes;
      for (uint64_t at = 0; at < length; at += kPieceBytes) {
        const uint64_t part = std::min(kPieceBytes, length - at);
        if (read) {
          Push& push = pushes_.emplace_back();
          push.request_id = id;
          push.offset = at;
          push.bytes = server.slab_.subspan(at, part);
          push.crc = part == 4096 ? server.crc_4k_ : server.crcs_[at / kPieceBytes];
          push.done.bind<&Op::on_piece>(this);
          session.push(push);
        } else {
          Pull& pull = pulls_.emplace_back();
          pull.request_id = id;
          pull.offset = at;
          pull.into = server.landing_.subspan(at, part);
          pull.done.bind<&Op::on_piece>(this);
          session.pull(pull);
        }
      }
      if (read) reply_body(session, msg::Type::read, id, {});
    }
    void on_piece(Completion& done) {
      if (!done.status.ok()) std::abort();
      if (--left_ > 0) return;
      if (!read_) reply_body(session_, msg::Type::write, id_, {});
      server_.ops_.remove_if([this](const Op& op) { return &op == this; });
    }
    Server& server_;
    Session& session_;
    uint64_t id_;
    uint64_t length_;
    uint64_t left_ = 0;
    bool read_;
    std::list<Push> pushes_;
    std::list<Pull> pulls_;
  };

  ConstBytes slab_;
  Bytes landing_;
  std::vector<uint32_t> crcs_;
  uint32_t crc_4k_ = 0;
  std::unique_ptr<Session> session_;
  std::list<Op> ops_;
};

TcpOptions tcp_options() {
  TcpOptions options;
  options.lanes_min = 1;
  options.pumps = LanePumps::of_this_machine(0);
  return options;
}

// --- the fabric's client: this thread drives its loop ---

class Client final : public SessionEvents {
 public:
  Client() : fabric_(loop_, worker_, tcp_options()) {}
  void connect(const std::string& address, uint32_t lanes) {
    loop_.spawn(run_connect(this, address, lanes));
    while (session_ == nullptr) loop_.turn(kMs);
  }
  // Seconds from request to reply.
  double move(Bytes memory, bool read, bool spin) {
    Window window;
    window.direction = read ? Window::Direction::sink : Window::Direction::source;
    window.segments = {{memory.data(), memory.size()}};
    window.request_id = session_->next_request_id();
    replied_ = false;
    const uint64_t length = memory.size();
    const uint64_t begin_ns = clock_.now_ns();
    session_->expose(window);
    if (!session_
             ->send(read ? kReadType : kWriteType, window.request_id,
                    as_bytes(&length, sizeof length), &window)
             .ok()) {
      std::abort();
    }
    while (!replied_) loop_.turn(kSecond, spin ? kSpinNs : 0);
    const uint64_t end_ns = clock_.now_ns();
    withdrawn_ = false;
    Completion done;
    done.bind<&Client::on_withdrawn>(this);
    session_->withdraw(window, done);
    while (!withdrawn_) loop_.turn(0);
    return seconds_between(begin_ns, end_ns);
  }
  void on_message(Session&, const Message&) override {}
  void on_reply(Session&, const Message&) override { replied_ = true; }
  void on_closed(Session&, const Status& reason) override {
    std::fprintf(stderr, "closed: %s\n", reason.to_string().c_str());
    std::abort();
  }

 private:
  static Task<void> run_connect(Client* self, std::string address, uint32_t lanes) {
    ConnectOptions options;
    options.address = std::move(address);
    options.insecure = true;
    options.lanes = lanes;
    options.events = self;
    auto session = co_await self->fabric_.connect(std::move(options));
    if (!session.has_value()) std::abort();
    self->session_ = std::move(*session);
  }
  void on_withdrawn(Completion&) { withdrawn_ = true; }

  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  ThreadWorker worker_{"resolver"};
  TcpFabric fabric_;
  std::unique_ptr<Session> session_;
  bool replied_ = false;
  bool withdrawn_ = false;
};

// --- plain sockets: one thread writes them all, one reads them all ---

class Raw {
 public:
  Raw(uint32_t lanes, ConstBytes slab) : slab_(slab) {
    auto address = resolve({"127.0.0.1", 0}, Resolve::numeric_only);
    auto listening = TcpSocket::listen(address->front());
    const auto bound = socket_address_of(listening->fd());
    for (uint32_t i = 0; i < lanes; ++i) {
      readers_.push_back(std::move(*TcpSocket::connect(*bound, nullptr)));
      for (;;) {
        auto accepted = listening->accept();
        if (!accepted->open()) continue;
        writers_.push_back(std::move(*accepted));
        break;
      }
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~Raw() {
    readers_.clear();
    thread_.join();
  }
  double move(Bytes memory) {
    RealClock clock;
    const uint64_t begin_ns = clock.now_ns();
    uint64_t length = memory.size();
    iovec part{&length, sizeof length};
    if (readers_[0].write({&part, 1}).bytes != sizeof length) std::abort();
    const uint64_t lanes = readers_.size();
    if (lanes == 0) std::abort();
    const int poll = epoll_create1(0);
    for (uint32_t i = 0; i < lanes; ++i) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = i;
      epoll_ctl(poll, EPOLL_CTL_ADD, readers_[i].fd(), &event);
    }
    std::vector<uint64_t> done(lanes, 0);
    const uint64_t share = length / lanes;
    for (uint64_t left = share * lanes; left > 0;) {
      epoll_event events[16];
      const int ready = epoll_wait(poll, events, 16, -1);
      for (int e = 0; e < ready; ++e) {
        const uint32_t i = events[e].data.u32;
        for (int turn = 0; turn < 4 && done[i] < share; ++turn) {
          iovec into{memory.data() + i * share + done[i],
                     std::min<uint64_t>(share - done[i], 256 * 1024)};
          const auto moved = readers_[i].read({&into, 1});
          if (moved.bytes == 0) break;
          done[i] += moved.bytes;
          left -= moved.bytes;
        }
      }
    }
    ::close(poll);
    return seconds_between(begin_ns, clock.now_ns());
  }

 private:
  void serve() {
    const int poll = epoll_create1(0);
    epoll_event event{};
    for (uint32_t i = 0; i < writers_.size(); ++i) {
      event.events = i == 0 ? uint32_t{EPOLLIN} : 0;
      event.data.u32 = i;
      epoll_ctl(poll, EPOLL_CTL_ADD, writers_[i].fd(), &event);
    }
    std::vector<uint64_t> left(writers_.size(), 0);
    uint64_t share = 0;
    for (;;) {
      epoll_event events[16];
      const int ready = epoll_wait(poll, events, 16, -1);
      for (int e = 0; e < ready; ++e) {
        const uint32_t i = events[e].data.u32;
        if ((events[e].events & (EPOLLERR | EPOLLHUP)) != 0) return;
        if ((events[e].events & EPOLLIN) != 0) {
          uint64_t length = 0;
          iovec part{&length, sizeof length};
          const auto moved = writers_[0].read({&part, 1});
          if (moved.ended || moved.error != 0) return;
          if (moved.bytes != sizeof length) continue;
          share = length / writers_.size();
          for (uint32_t lane = 0; lane < writers_.size(); ++lane) {
            left[lane] = share;
            event.events = EPOLLOUT | (lane == 0 ? uint32_t{EPOLLIN} : 0);
            event.data.u32 = lane;
            epoll_ctl(poll, EPOLL_CTL_MOD, writers_[lane].fd(), &event);
          }
        } else if (left[i] > 0) {
          iovec from{const_cast<std::byte*>(slab_.data()) + i * share + (share - left[i]),
                     std::min<uint64_t>(left[i], 512 * 1024)};
          left[i] -= writers_[i].write({&from, 1}).bytes;
          if (left[i] > 0) continue;
          event.events = i == 0 ? uint32_t{EPOLLIN} : 0;
          event.data.u32 = i;
          epoll_ctl(poll, EPOLL_CTL_MOD, writers_[i].fd(), &event);
        }
      }
    }
  }
  ConstBytes slab_;
  std::vector<TcpSocket> readers_;
  std::vector<TcpSocket> writers_;
  std::thread thread_;
};

// What one way of moving the bytes took, round by round.
struct Column {
  std::vector<double> wall_s;
  std::vector<double> cpu_s;
  template <class Move>
  void time(Move move) {
    const double cpu = cpu_seconds();
    wall_s.push_back(move());
    cpu_s.push_back(cpu_seconds() - cpu);
  }
};

void report(const char* what, uint64_t bytes, const Column& mine, const Column& raw) {
  std::vector<double> ratios;
  ratios.reserve(mine.wall_s.size());
  for (size_t i = 0; i < mine.wall_s.size(); ++i) {
    ratios.push_back(raw.wall_s[i] / mine.wall_s[i]);
  }
  const double gigabytes = static_cast<double>(bytes) * 1e-9;
  std::printf(
      "%-5s %4llu MiB  fabric %5.2f GB/s %.2f cpu_s/GB  raw %5.2f GB/s %.2f cpu_s/GB  "
      "ratio %.2f\n",
      what, static_cast<unsigned long long>(bytes >> 20), gigabytes / median(mine.wall_s),
      median(mine.cpu_s) / gigabytes, gigabytes / median(raw.wall_s), median(raw.cpu_s) / gigabytes,
      median(ratios));
}

int run(uint32_t lanes, int rounds) {
  std::vector<std::byte> slab(kBytesMax);
  std::vector<std::byte> landing(kBytesMax, std::byte{1});
  std::vector<std::byte> memory(kBytesMax, std::byte{1});
  Random(1).fill(slab);
  RealClock clock;
  Loop loop(clock, Loop::Waits::epoll);
  ThreadWorker worker("server-resolver");
  TcpFabric fabric(loop, worker, tcp_options());
  Server server(slab, landing);
  ListenOptions options;
  options.insecure = true;
  set_log_level(LogLevel::error);
  auto listener =
      fabric.listen("tcp://127.0.0.1:0", std::move(options),
                    [&](std::unique_ptr<Session> session) { server.take(std::move(session)); });
  std::thread thread([&] { loop.run(kSpinNs); });
  auto client = std::make_unique<Client>();
  client->connect((*listener)->address(), lanes);
  auto raw = std::make_unique<Raw>(lanes, slab);
  std::printf("lanes asked for: %u\n", lanes);
  for (const uint64_t bytes : {uint64_t{1} << 20, uint64_t{64} << 20, uint64_t{256} << 20}) {
    const Bytes part = Bytes(memory).first(bytes);
    const int count = bytes < (8 << 20) ? rounds * 20 : rounds;
    for (const bool read : {true, false}) {
      Column mine;
      Column plain;
      for (int i = 0; i < count; ++i) {
        mine.time([&] { return client->move(part, read, false); });
        plain.time([&] { return raw->move(part); });
      }
      report(read ? "push" : "pull", bytes, mine, plain);
    }
  }
  if (!std::equal(memory.begin(), memory.end(), slab.begin())) std::abort();
  for (const bool spin : {false, true}) {
    std::vector<double> small;
    small.reserve(5000);
    for (int i = 0; i < 5000; ++i) {
      small.push_back(client->move(Bytes(memory).first(4096), true, spin));
    }
    std::ranges::sort(small);
    std::printf("4 KiB read, %s: p50 %.1f us, p99 %.1f us\n", spin ? "spinning" : "sleeping",
                small[small.size() / 2] * 1e6, small[small.size() * 99 / 100] * 1e6);
  }
  client.reset();
  raw.reset();
  loop.stop();
  thread.join();
  return 0;
}

}  // namespace
}  // namespace gd2fs

int main(int argc, char** argv) {
  const int lanes = argc > 1 ? std::atoi(argv[1]) : 1;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  return gd2fs::run(static_cast<uint32_t>(lanes), rounds);
}
