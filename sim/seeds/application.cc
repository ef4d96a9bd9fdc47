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
  std::vector<std::byte> memory;
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

  // One to four pieces.
  void give_memory() {
    memory.assign(record->length, kUntouched);
    if (record->op == Op::write) fill_pattern(record->number, record->offset, memory);
    Random& random = app.cluster_.world().random();
    for (uint64_t at = 0; at < memory.size();) {
      uint64_t count = memory.size() - at;
      if (random.chance(1, 2)) count = random.between(1, count);
      request.memory.add(memory.data() + at, count);
      at += count;
    }
  }

  void on_done(Completion&) {
    if (app.dead_) return;
    // What the application does with its memory from here on is its own business.
    if (record->op == Op::write) std::ranges::fill(memory, kUsedUp);
    std::vector<std::byte> bytes;
    if (record->op == Op::read) bytes = std::move(memory);
    app.history_.end(*record, request, std::move(bytes));
    busy = false;
    if (!once) next();
  }
};

Application::Application(Cluster& cluster, History& history, uint32_t number,
                         const std::string& secret, uint64_t timeout_ns)
    : cluster_(cluster),
      history_(history),
      number_(number),
      client_(cluster.world(), cluster.network(), "client" + std::to_string(number),
              cluster.client_options(secret, timeout_ns)) {
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
