#include "sim/seeds/application.h"

#include <algorithm>

#include "sim/seeds/pattern.h"

namespace gd2fs::sim {
namespace {

using client::Op;

constexpr uint64_t kConnectTimeoutNs = 5 * kSecond;
constexpr std::byte kUntouched{0xEE};
constexpr std::byte kUsedUp{0xDD};

}  // namespace

struct Application::Caller {
  Application& app;
  client::Request request;
  std::vector<std::byte> memory;             // in a world without NICs
  WatchedBuffers::Buffer* buffer = nullptr;  // in one with them
  Record* record = nullptr;
  Timer think;
  bool busy = false;
  bool once = false;

  explicit Caller(Application& owner) : app(owner) {
    request.done.bind<&Caller::on_done>(this);
    think.bind<&Caller::on_thought>(this);
  }

  void next() {
    busy = *app.left_ > 0;
    if (!busy) return;
    --*app.left_;
    app.client_.loop.start(think, app.workload_->draw_think_ns());
  }
  void on_thought(Completion&) {
    if (!app.dead_) ask(app.workload_->draw());
  }

  void ask(Record asked) {
    busy = true;
    asked.client = app.number_;
    record = &app.history_.begin(std::move(asked));
    request.op = record->op;
    request.path = record->path;
    request.other = record->other;
    request.offset = record->offset;
    request.size_bytes = record->length;
    request.entries_max = 100;
    request.facts = {};
    request.entries.clear();
    request.memory.clear();
    if (record->op == Op::read || record->op == Op::write) give_memory();
    app.client_.client().submit(request);
  }

  Bytes bytes() { return buffer != nullptr ? buffer->used() : Bytes(memory); }

  // One to four pieces.
  void give_memory() {
    if (app.buffers_ != nullptr && record->length > 0) {
      buffer = &app.buffers_->take(record->length);
    } else {
      memory.resize(record->length);
    }
    std::ranges::fill(bytes(), kUntouched);
    if (record->op == Op::write) fill_pattern(record->number, record->offset, bytes());
    Random& random = app.cluster_.world().random();
    const Bytes all = bytes();
    for (uint64_t at = 0; at < all.size();) {
      uint64_t count = all.size() - at;
      if (random.chance(1, 2)) count = random.between(1, count);
      request.memory.add(all.data() + at, count);
      at += count;
    }
  }

  void on_done(Completion&) {
    if (app.dead_) return;
    // What the application does with its memory from here on is its own business.
    std::vector<std::byte> read;
    if (record->op == Op::read && buffer != nullptr) {
      read.assign(bytes().begin(), bytes().end());
    } else if (record->op == Op::read) {
      read = std::move(memory);
    }
    if (record->op == Op::write) std::ranges::fill(bytes(), kUsedUp);
    if (buffer != nullptr) app.buffers_->give_back(*std::exchange(buffer, nullptr));
    app.history_.end(*record, request, std::move(read));
    busy = false;
    if (!once) next();
  }
};

Application::Application(Cluster& cluster, History& history, uint32_t number, size_t index,
                         client::ClientOptions options)
    : cluster_(cluster),
      history_(history),
      number_(number),
      client_(cluster.world(), cluster.network(), "client" + std::to_string(number),
              std::move(options), cluster.nics(),
              Cluster::kFirstClientDevice + static_cast<int>(index)) {
  if (cluster.nics() != nullptr) {
    buffers_ = std::make_unique<WatchedBuffers>(client_.door(), cluster.world().random().fork());
  }
  connect_done_.bind<&Application::on_connected>(this);
}

Application::~Application() {
  kill();
}

void Application::begin(Workload& workload, size_t callers, uint64_t* left) {
  workload_ = &workload;
  left_ = left;
  callers_wanted_ = callers;
  connect();
}

void Application::connect() {
  client_.client().connect(connect_done_, kConnectTimeoutNs);
}

void Application::on_connected(Completion& done) {
  if (dead_) return;
  if (!done.status.ok()) return connect();
  connected_ = true;
  for (size_t i = 0; i < callers_wanted_; ++i) {
    callers_.push_back(std::make_unique<Caller>(*this));
    callers_.back()->next();
  }
}

bool Application::idle() const {
  return connected_ &&
         std::ranges::none_of(callers_, [](const auto& caller) { return caller->busy; });
}

void Application::kill() {
  if (dead_) return;
  dead_ = true;
  client_.kill();
  callers_.clear();
  if (buffers_ != nullptr) buffers_->end();
  look_at_memory();
}

void Application::look_at_memory() {
  if (buffers_ == nullptr) return;
  buffers_->look();
  if (!buffers_->finding().empty()) history_.found(node() + ": " + buffers_->finding());
}

const Record* Application::run(Record asked, uint64_t limit_ns) {
  Caller& caller = *callers_.emplace_back(std::make_unique<Caller>(*this));
  caller.once = true;
  caller.ask(std::move(asked));
  if (!cluster_.world().run_until([&] { return !caller.busy; }, limit_ns)) return nullptr;
  const Record* record = caller.record;
  callers_.pop_back();
  return record;
}

}  // namespace gd2fs::sim
