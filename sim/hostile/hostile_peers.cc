// The sessions of the hostile peers, and how they answer what they are asked.
#include "fabric/reply.h"
#include "sim/hostile/hostile.h"

namespace gd2fs::sim {

ConnectOptions HostileDeployment::connect_options(Voice voice) {
  ConnectOptions options;
  options.address = voice == Voice::reader ? Cluster::kServerAddress : Cluster::kControllerAddress;
  options.incarnation = known_.incarnation;
  options.lanes = 2;
  options.role = PeerRole::client;
  options.cluster = Cluster::kName;
  if (voice == Voice::client || voice == Voice::reader) {
    // After a rotation or two the one that it was given no longer opens.
    const auto keys = cluster_.controller()->clusters().keys(Cluster::kName);
    if (!keys.empty()) last_secret_ = keys.front();
    options.key = last_secret_;
  } else {
    options.role = voice == Voice::admin ? PeerRole::admin : PeerRole::server;
    options.cluster.clear();
    options.key = cluster_.secret();
  }
  return options;
}

Task<void> HostileDeployment::connect(HostileDeployment* self, Peer* peer, ConnectOptions options) {
  options.events = peer;
  auto session = co_await self->process_->fabric.connect(std::move(options));
  peer->connecting = false;
  if (session.has_value()) peer->session = std::move(*session);
}

// A stranger: what it is let in to, it leaves at once.
Task<void> HostileDeployment::knock(HostileDeployment* self, ConnectOptions options, bool welcome) {
  Peer guest;
  guest.owner = self;
  options.events = &guest;
  auto session = co_await self->process_->fabric.connect(std::move(options));
  --self->knocking_;
  if (session.has_value() && !welcome) self->say_wrong("a wrong key was let in");
}

bool HostileDeployment::make_open(Peer& peer) {
  if (peer.open()) return true;
  if (peer.voice == Voice::controller) {
    rogue(true);
  } else if (!peer.connecting) {
    forget_session(peer);
    peer.connecting = true;
    process_->loop.spawn(connect(this, &peer, connect_options(peer.voice)));
  }
  cluster_.world().run_until([&] { return peer.open() || !(peer.connecting || rogue_on_); },
                             3 * kSecond);
  return peer.open();
}

void HostileDeployment::forget_session(Peer& peer) {
  for (Asked& asked : asked_) {
    if (asked.peer != &peer) continue;
    asked.over = true;
    asked.peer = nullptr;  // its window is the session's no more
  }
  peer.session.reset();
}

// The server finds no controller but the hostile one; or the honest one again.
void HostileDeployment::rogue(bool on) {
  SimNetwork& network = cluster_.network();
  if (rogue_on_ == on) return;
  rogue_on_ = on;
  clients_only_ = false;
  if (on) {
    listen_as_controller();
    network.partition_both("server", "controller");
    network.reset_sessions("server", "controller");
  } else {
    rogue_listener_.reset();
    network.heal_all();
    network.reset_sessions("server", "rogue");
  }
}

void HostileDeployment::Peer::on_message(Session& session, const Message& message) {
  const auto type = static_cast<msg::Type>(message.type);
  ++owner->questions[type];
  Script& script = *owner->speaking_;
  switch (script.byte()) {
    case 1:
      return reply_error(session, message.request_id,
                         Status(static_cast<StatusCode>(1 + script.byte() % (kStatusCodes - 1))));
    case 2:
      return;
    case 3:
      return reply_body(session, type, message.request_id, script.rest());
    case 4:
      if (const auto body = repeating_body(type, script); !body.empty()) {
        return reply_body(session, type, message.request_id, body);
      }
      break;
    case 5:
      return reply_body(session, static_cast<msg::Type>(script.byte() % kTypes), message.request_id,
                        answer_body(type, script));
    default:
      break;
  }
  reply_body(session, type, message.request_id, answer_body(type, script));
}

void HostileDeployment::Peer::on_reply(Session&, const Message& reply) {
  for (Asked& asked : owner->asked_) {
    if (asked.peer != this || asked.over || asked.window.request_id != reply.request_id) continue;
    asked.over = true;
    if (reply.type == static_cast<uint16_t>(msg::Type::error)) {
      ++owner->refused[asked.type];
    } else {
      ++owner->answered[asked.type];
      owner->learn(asked.type, reply.body);
    }
  }
}

void HostileDeployment::Peer::on_closed(Session&, const Status&) {
  for (Asked& asked : owner->asked_) {
    if (asked.peer == this) asked.over = true;
  }
}

}  // namespace gd2fs::sim
