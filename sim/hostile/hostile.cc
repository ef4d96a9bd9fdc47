#include "sim/hostile/hostile.h"

#include <algorithm>

namespace gd2fs::sim {
namespace {

constexpr const char* kVictimCluster = "c1";
constexpr size_t kVictimBytes = 100'000;
constexpr uint64_t kAnswerNs = 2 * kSecond;  // for which a step waits
constexpr uint64_t kRoundNs = 10 * kMs;
constexpr uint64_t kWaitMaxNs = 400 * kSecond;  // beyond a capability's life
constexpr uint64_t kQuietNs = 60 * kSecond;
constexpr size_t kAskedMax = 300;
constexpr uint64_t kWindowMaxHereBytes = kMiB;

ClusterOptions small_cluster() {
  ClusterOptions options;
  options.chunk_log2 = kChunkLog2Min;
  options.server.stall_ns = 5 * kSecond;
  options.server.controllers = {HostileDeployment::kRogueAddress};
  return options;
}

uint64_t bytes_asked(msg::Type type, ConstBytes body) {
  uint64_t end = 0;
  const auto add = [&](const auto* request) {
    if (request == nullptr || request->pieces() == nullptr) return;
    for (const auto* piece : *request->pieces()) {
      end = std::max(end, piece->window_offset() + piece->length_bytes());
    }
  };
  if (type == msg::Type::read) add(open_body<msg::Read>(body));
  if (type == msg::Type::write) add(open_body<msg::Write>(body));
  return std::min(end, kWindowMaxHereBytes);
}

}  // namespace

HostileDeployment::HostileDeployment()
    : cluster_(kSeed, small_cluster()), speaking_(&silence_), silence_({}, known_) {
  for (size_t i = 0; i < kVoices; ++i) {
    peers_[i].owner = this;
    peers_[i].voice = static_cast<Voice>(i);
  }
  start();
}

HostileDeployment::~HostileDeployment() {
  for (const char* node : {kNode, "rogue", "victim"}) cluster_.network().kill(node);
  victim_.reset();
  for (Peer& peer : peers_) peer.session.reset();
  rogue_listener_.reset();
}

void HostileDeployment::start() {
  CHECK(cluster_.start());
  process_ = std::make_unique<Process>(cluster_.world(), cluster_.network(), kNode);
  rogue_ = std::make_unique<Process>(cluster_.world(), cluster_.network(), "rogue");
  prepare_victim();
  controller::Controller& controller = *cluster_.controller();
  known_.keys = controller.keys_body();
  known_.deployment = Cluster::kDeployment;
  known_.server_incarnation = controller.membership().find(1)->record.incarnation;
  known_.epoch = controller.membership().group().epoch;
  last_secret_ = cluster_.token_secret();
}

void HostileDeployment::prepare_victim() {
  bool made = false;
  struct Make {
    static Task<void> run(controller::Controller* controller, bool* made) {
      auto cluster = co_await controller->create_cluster(kVictimCluster);
      CHECK(cluster.has_value());
      *made = true;
    }
  };
  cluster_.controller_process()->loop.spawn(Make::run(cluster_.controller(), &made));
  CHECK(cluster_.world().run_until([&] { return made; }));
  client::ClientOptions options = Cluster::client_options("", 30 * kSecond);
  options.cluster = kVictimCluster;
  options.key = cluster_.controller()->clusters().keys(kVictimCluster).at(0);
  victim_ = std::make_unique<Client>(cluster_.world(), cluster_.network(), "victim", options);
  CHECK(victim_->connect().ok());
  victim_bytes_.resize(kVictimBytes);
  Random(kSeed).fill(victim_bytes_);
  CHECK(victim_->write("/victim", 0, victim_bytes_).ok());
}

void HostileDeployment::listen_as_controller() {
  ListenOptions listen;
  listen.incarnation = 0xBADC;
  listen.deployment_id = Cluster::kDeployment;
  listen.insecure = true;
  auto listener = rogue_->fabric.listen(kRogueAddress, listen, [this](auto session) {
    Peer& peer = peers_[static_cast<size_t>(Voice::controller)];
    forget_session(peer);
    session->set_events(&peer);
    peer.session = std::move(session);
  });
  CHECK(listener.has_value());
  rogue_listener_ = std::move(*listener);
}

// --- a step ---

void HostileDeployment::play(ConstBytes script) {
  Script steps(script, known_);
  for (size_t i = 0; i < kStepsMax && !steps.empty(); ++i) {
    const uint8_t kind = steps.byte();
    const uint8_t mode = steps.byte();
    Script fields(steps.take(steps.byte()), known_);
    speaking_ = &fields;
    step(kind, mode, fields);
    speaking_ = &silence_;
    forget_over();
  }
}

void HostileDeployment::step(uint8_t kind, uint8_t mode, Script& script) {
  const auto kinds = request_kinds();
  const size_t which = kind % (kinds.size() + kDeeds);
  if (which < kinds.size()) return ask(kinds[which], mode, script);
  switch (static_cast<Deed>(which - kinds.size())) {
    case Deed::wait: {
      const uint64_t ns = std::min(script.number(kRoundNs), kWaitMaxNs - waited_ns_);
      waited_ns_ += ns;
      return cluster_.world().run_for_ns(ns);
    }
    case Deed::hang_up: {
      Peer& peer = peers_[script.byte() % kVoices];
      if (peer.open()) peer.session->close(Status(StatusCode::canceled, "hung up"));
      return;
    }
    case Deed::stranger:
      return stranger(script);
    case Deed::reset:
      cluster_.network().reset_sessions(kNode, script.flag(false) ? "controller" : "server");
      return;
    case Deed::rogue:
      rogue(script.flag(!rogue_on_));
      return cluster_.world().run_for_ns(script.number(kSecond) % (3 * kSecond));
  }
}

void HostileDeployment::stranger(Script& script) {
  ConnectOptions options = connect_options(static_cast<Voice>(script.byte() % kVoices));
  const std::string right = options.key;
  const uint8_t pick = script.byte();
  if (pick == 0) options.key[0] ^= 1;
  if (pick == 1) options.key.clear();
  if (pick == 2) options.insecure = true;
  if (pick == 3) options.key = cluster_.secret();
  if (pick == 4) options.key = last_secret_;
  if (pick >= 5) options.key = script.text(right);
  options.role = static_cast<PeerRole>(script.number(static_cast<uint64_t>(options.role)) % 4);
  options.cluster = script.text(options.cluster);
  if (script.flag(false)) options.address = Cluster::kServerAddress;
  options.incarnation = script.number(options.incarnation);
  options.lanes = static_cast<uint32_t>(script.number(1) % 64);
  const bool of_client = options.role == PeerRole::client;
  const auto keys = of_client ? cluster_.controller()->clusters().keys(options.cluster)
                              : std::vector<std::string>{cluster_.secret()};
  // What a data server makes of keys that administrators and other controllers have changed is
  // their business.
  const bool known = options.address == Cluster::kControllerAddress || clients_only_;
  const bool welcome =
      !known || (!options.insecure && std::ranges::find(keys, options.key) != keys.end());
  ++knocking_;
  process_->loop.spawn(knock(this, std::move(options), welcome));
  cluster_.world().run_for_ns(kRoundNs);
}

std::vector<std::byte> HostileDeployment::body_of(const RequestKind& kind, uint8_t mode,
                                                  Script& script) {
  switch (mode & kBodyBits) {
    case kRaw: {
      const ConstBytes bytes = script.rest();
      return {bytes.begin(), bytes.end()};
    }
    case kRepeating:
      if (auto body = repeating_body(kind.type, script); !body.empty()) return body;
      return kind.body(script);
    case kChanged: {
      auto body = kind.body(script);
      while (!script.empty() && !body.empty()) {
        const size_t at = (size_t{script.byte()} << 8 | script.byte()) % body.size();
        body[at] ^= std::byte{script.byte()};
      }
      return body;
    }
    default:
      return kind.body(script);
  }
}

void HostileDeployment::ask(const RequestKind& kind, uint8_t mode, Script& script) {
  Peer& peer = peers_[static_cast<size_t>(kind.voice)];
  if (kind.voice != Voice::client && kind.voice != Voice::reader) clients_only_ = false;
  if (asked_.size() >= kAskedMax || !make_open(peer)) return;
  const auto body = body_of(kind, mode, script);
  const auto type = (mode & kBodyBits) == kOtherType
                        ? static_cast<msg::Type>(script.number(0) % kTypes)
                        : kind.type;
  const bool one_way = kind.one_way != ((mode & kFlipOneWay) != 0);
  const auto number = static_cast<uint16_t>(type);
  if ((mode & kAsReply) != 0) {
    cluster_.network().faults.tamper = [](SimFrame& frame) { frame.kind = FrameKind::reply; };
  }
  Status sent;
  if (one_way) {
    sent = peer.session->send(number, 0, body);
  } else {
    Asked& asked = make_request(peer, type, body, mode, script);
    sent = peer.session->send(number, asked.window.request_id, body, &asked.window);
    asked.over = !sent.ok() || (mode & kAsReply) != 0;
    if (kind.voice == Voice::reader) known_.request_id = asked.window.request_id;
  }
  cluster_.network().faults.tamper = nullptr;
  const Asked* last = one_way ? nullptr : &asked_.back();
  if ((mode & kGoOn) != 0 || one_way) {
    cluster_.world().run_ready();
  } else {
    cluster_.world().run_until([&] { return last->over; }, kAnswerNs);
  }
}

HostileDeployment::Asked& HostileDeployment::make_request(Peer& peer, msg::Type type,
                                                          ConstBytes body, uint8_t mode,
                                                          Script& script) {
  Asked& asked = asked_.emplace_back();
  asked.peer = &peer;
  asked.type = type;
  asked.withdrawn.bind<&Asked::on_withdrawn>(&asked);
  asked.window.direction =
      type == msg::Type::write ? Window::Direction::source : Window::Direction::sink;
  const uint64_t wanted = bytes_asked(type, body);
  asked.memory.resize((mode & kOddWindow) != 0 ? script.number(wanted) % kWindowMaxHereBytes
                                               : wanted);
  asked.window.segments = {{asked.memory.data(), asked.memory.size()}};
  asked.window.request_id = peer.session->next_request_id();
  if ((mode & kSameId) != 0 && asked.window.request_id > 1) {
    // Ours to say again, but our own end takes no second window of one id.
    --asked.window.request_id;
  } else {
    peer.session->expose(asked.window);
    asked.exposed = true;
  }
  return asked;
}

void HostileDeployment::learn(msg::Type type, ConstBytes body) {
  const msg::FileInfo* info = nullptr;
  if (type == msg::Type::lookup) {
    if (const auto* reply = open_body<msg::LookupReply>(body)) info = reply->info();
  } else if (type == msg::Type::create) {
    if (const auto* reply = open_body<msg::CreateReply>(body)) info = reply->info();
  } else if (type == msg::Type::meta_dump) {
    if (const auto* reply = open_body<msg::MetaDumpReply>(body)) {
      known_.dump_next = text_of(reply->next());
    }
  } else if (type == msg::Type::cluster_map) {
    const auto* reply = open_body<msg::ClusterMapReply>(body);
    if (reply != nullptr && reply->groups() != nullptr && reply->groups()->size() > 0) {
      known_.epoch = reply->groups()->Get(0)->epoch();
    }
  }
  if (info == nullptr) return;
  for (const uint64_t number : {info->inode(), info->generation(), info->size_bytes()}) {
    known_.see(number);
  }
  if (info->capability() == nullptr) return;
  known_.inode = info->inode();
  known_.generation = info->generation();
  known_.namespace_epoch = info->namespace_epoch();
  known_.capability.assign(info->capability()->begin(), info->capability()->end());
}

// Takes back the memory of what is over; it is freed once the session has let go of it.
void HostileDeployment::forget_over() {
  for (Asked& asked : asked_) {
    if (!asked.over || !asked.exposed) continue;
    asked.exposed = false;
    if (asked.peer != nullptr && asked.peer->session != nullptr) {
      asked.peer->session->withdraw(asked.window, asked.withdrawn);
    }
  }
  std::erase_if(asked_, [](const Asked& asked) {
    return asked.over && !asked.exposed && !asked.withdrawn.pending();
  });
}

// --- the end ---

void HostileDeployment::say_wrong(std::string what) {
  if (wrong_.empty()) wrong_ = std::move(what);
}

std::string HostileDeployment::finish() {
  if (rogue_on_) {
    const bool before = clients_only_;
    rogue(false);
    clients_only_ = before;
  }
  for (Peer& peer : peers_) {
    if (peer.open()) peer.session->close(Status(StatusCode::canceled, "the end"));
  }
  cluster_.world().run_ready();
  forget_over();
  cluster_.world().run_until([&] { return left_over().empty(); }, kQuietNs);
  forget_over();
  if (wrong_.empty()) wrong_ = left_over();
  if (wrong_.empty() && clients_only_) wrong_ = check_victim();
  return wrong_;
}

// What of the hostile peers is still there; empty: nothing.
std::string HostileDeployment::left_over() {
  if (!cluster_.failure().ok()) return cluster_.failure().to_string();
  if (knocking_ > 0) return "a stranger still waits for an answer";
  const auto is_open = [](const Asked& asked) { return !asked.over || asked.withdrawn.pending(); };
  if (std::ranges::any_of(asked_, is_open)) return "a request has not ended with its session";
  const server::ServerCounters& counters = cluster_.server()->counters();
  // The victim's may be open.
  if (counters.sessions > 1) return "the data server keeps sessions that are gone";
  if (counters.requests > 0) return "the data server still serves those who are gone";
  for (const auto& [name, value] : cluster_.controller()->metrics()) {
    if (name == "gd2fs_controller_requests" && value > 0) {
      return "the controller still serves those who are gone";
    }
  }
  return {};
}

std::string HostileDeployment::check_victim() {
  if (!cluster_.wait_serving(kQuietNs)) return "hostile clients stopped the deployment";
  const auto bytes = victim_->read("/victim", 0, kVictimBytes + 1);
  if (!bytes.has_value()) return "another cluster's file: " + bytes.error().to_string();
  if (*bytes != victim_bytes_) return "another cluster's file has changed";
  return {};
}

}  // namespace gd2fs::sim
