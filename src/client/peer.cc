#include "client/peer.h"

#include <algorithm>
#include <tuple>

namespace gd2fs::client {
namespace {

// When so many more bytes will have arrived, in the time that the fastest rail needs for a byte.
// Among equals (a caller with one request at a time finds all idle) first where the fewest went so
// far, so that every rail is used and known to work.
auto order_of(const Link& link, uint64_t bytes, double fastest_ns_per_byte) {
  const uint64_t slow = slowness(link.ns_per_byte(), fastest_ns_per_byte);
  return std::tuple((link.sent_bytes() + bytes) * slow, link.sent(), link.ever_sent_bytes());
}

double fastest(const std::vector<std::unique_ptr<Link>>& links) {
  double least = 0;
  for (const auto& link : links) {
    const double here = link->ns_per_byte();
    if (here > 0 && (least == 0 || here < least)) least = here;
  }
  return least;
}

}  // namespace

void Exchange::on_withdrawn(Completion&) {
  peer_->on_settled(*this, false);
}

void Exchange::cancel() {
  if (peer_ != nullptr) peer_->cancel(*this);
}

Peer::Peer(Loop& loop, Fabric& fabric, Random random, std::vector<LinkOptions> links,
           uint64_t sequences_open_max, Watcher* watcher)
    : loop_(loop), watcher_(watcher), sequences_(sequences_open_max), builder_(1024) {
  CHECK(!links.empty());
  room_.bind<&Peer::on_room>(this);
  for (LinkOptions& options : links) {
    links_.push_back(
        std::make_unique<Link>(loop, fabric, random.fork(), *this, std::move(options)));
  }
}

Peer::~Peer() = default;

void Peer::start(Exchange& exchange) {
  CHECK(exchange.idle());
  exchange.peer_ = this;
  exchange.canceled_ = false;
  exchange.pauses_ = 0;
  exchange.perhaps_executed = false;
  exchange.outcome = Status();
  exchange.reply.clear();
  exchange.state_ = Exchange::State::queued;
  // As a rule nobody waits before it, and it waits for nothing.
  List<Exchange>& before = queue_of(exchange);
  if (!before.empty() || !start_now(exchange)) before.push_back(exchange);
}

List<Exchange>& Peer::queue_of(const Exchange& exchange) {
  return small(exchange) ? small_ : flow_of(exchange).waiting;
}

void Peer::queue(Exchange& exchange) {
  exchange.state_ = Exchange::State::queued;
  queue_of(exchange).push_back(exchange);
}

bool Peer::link_may_open() const {
  return std::ranges::any_of(links_, [](const auto& link) { return link->may_open(); });
}

void Peer::queue_unreached() {
  while (Exchange* exchange = unreached_.pop_front()) queue(*exchange);
}

Link* Peer::pick(const Exchange& exchange, bool* waits) {
  const auto has_credit = [&](Link& link) { return small(exchange) || link.has_credit(exchange); };
  if (links_.size() == 1) {
    Link& only = *links_.front();
    if (only.has_room()) return has_credit(only) ? &only : nullptr;
    only.want();
    return nullptr;
  }
  Link* best = nullptr;
  const double fastest_ns = fastest(links_);
  const auto better = [&](const Link& link, const Link& than) {
    return order_of(link, exchange.credit_bytes, fastest_ns) <
           order_of(than, exchange.credit_bytes, fastest_ns);
  };
  uint32_t least = Exchange::kOutOfReach;
  bool soon = false;  // a link that reaches it is open, and will have room
  for (auto& link : links_) {
    const uint32_t distance = link->open() ? exchange.distance(*link) : 0;
    const bool room = link->has_room();
    if (!room) link->want();
    if (!room || !has_credit(*link)) {
      soon = soon || (link->open() && distance != Exchange::kOutOfReach);
      continue;
    }
    if (best == nullptr || distance < least || (distance == least && better(*link, *best))) {
      best = link.get();
      least = distance;
    }
  }
  if (best == nullptr || least != Exchange::kOutOfReach) return best;
  if (!soon) *waits = link_may_open() && exchange.must_reach(*best);
  return soon || *waits ? nullptr : best;
}

// Of one whose turn it is, and which is in no list. False: it has to wait.
bool Peer::start_now(Exchange& exchange) {
  if (!small(exchange) && !flow_of(exchange).allows(exchange.credit_bytes)) return false;
  bool waits = false;
  Link* link = pick(exchange, &waits);
  if (waits) {
    exchange.state_ = Exchange::State::unreached;
    unreached_.push_back(exchange);
    return true;
  }
  return link != nullptr && send(*link, exchange);
}

void Peer::pump(List<Exchange>& from) {
  while (Exchange* exchange = from.pop_front()) {
    if (!start_now(*exchange)) return from.push_front(*exchange);
  }
}

void Peer::pump() {
  pump(small_);
  pump(reads_.waiting);
  pump(writes_.waiting);
}

// False: it has to wait for a sequence.
bool Peer::send(Link& link, Exchange& exchange) {
  builder_.Clear();
  const Result<ConstBytes> body = exchange.compose(link, builder_);
  if (!body.has_value()) {
    if (body.error().is(StatusCode::busy)) {
      out_of_sequences_ = true;
      return false;
    }
    exchange.outcome = body.error();
    end(exchange);
    return true;
  }
  if (!small(exchange)) flow_of(exchange).used_bytes += exchange.credit_bytes;
  const Status sent = link.send(exchange, *body);
  if (!sent.ok()) {
    exchange.outcome = sent;
    link.abandon(exchange);
  }
  return true;
}

void Peer::end_sequence(uint64_t sequence) {
  if (!sequences_.end(sequence) || !out_of_sequences_) return;
  out_of_sequences_ = false;
  if (!room_.pending()) loop_.complete(room_, Status());
}

void Peer::on_settled(Exchange& exchange, bool lost) {
  if (!small(exchange)) flow_of(exchange).used_bytes -= exchange.credit_bytes;
  const StatusCode code = exchange.outcome.code();
  const bool final =
      code == StatusCode::canceled || (!lost && code != StatusCode::unavailable &&
                                       code != StatusCode::busy && code != StatusCode::timed_out);
  // Also by an answer: `unavailable` comes of a drive that failed during the write, too, and `busy`
  // when only a part was put off.
  if (!final) exchange.perhaps_executed = true;
  if (!final && exchange.canceled_) exchange.outcome = Status(StatusCode::canceled);
  if (final || exchange.canceled_ || (exchange.elsewhere && code != StatusCode::busy)) {
    // The loop has called, and nothing of the exchange is looked at any more: its owner hears of it
    // at once, and may destroy it.
    exchange.state_ = Exchange::State::idle;
    Loop::complete_here(exchange.done, Status());
  } else if (lost) {
    queue(exchange);  // the link waits before it connects again
  } else {
    pause(exchange);
  }
  pump();
}

void Peer::pause(Exchange& exchange) {
  exchange.state_ = Exchange::State::pausing;
  exchange.pause_.fired.bind(&exchange, &Peer::on_pause_over);
  const uint32_t doublings = std::min(exchange.pauses_++, 10u);
  loop_.start(exchange.pause_, std::min(kPauseMinNs << doublings, kPauseMaxNs));
}

void Peer::on_pause_over(void* paused, Completion&) {
  auto* exchange = static_cast<Exchange*>(paused);
  exchange->peer_->queue(*exchange);
  exchange->peer_->pump();
}

void Peer::end(Exchange& exchange) {
  exchange.state_ = Exchange::State::idle;
  loop_.complete(exchange.done, Status());
}

void Peer::cancel(Exchange& exchange) {
  switch (exchange.state_) {
    case Exchange::State::idle:
      return;
    case Exchange::State::queued:
    case Exchange::State::unreached:
      exchange.unlink();
      break;
    case Exchange::State::pausing:
      loop_.cancel(exchange.pause_);
      break;
    case Exchange::State::sent:
      exchange.perhaps_executed = true;
      exchange.outcome = Status(StatusCode::canceled);
      return exchange.link_->abandon(exchange);
    case Exchange::State::withdrawing:
      exchange.canceled_ = true;
      return;
  }
  exchange.outcome = Status(StatusCode::canceled);
  end(exchange);
}

void Peer::set_addresses(const std::vector<std::string>& addresses) {
  for (auto& link : links_) link->set_addresses(addresses);
  // A link that was refused may be let in at another address.
  queue_unreached();
  if (!room_.pending()) loop_.complete(room_, Status());
}

void Peer::fail_over_if_silent(uint64_t silent_ns) {
  const uint64_t now_ns = loop_.now_ns();
  for (auto& link : links_) {
    const uint64_t since_ns = link->silent_since_ns();
    if (link->options().addresses.size() < 2 || since_ns > now_ns) continue;
    if (now_ns - since_ns < silent_ns) continue;
    link->fail_over(Status(StatusCode::timed_out, "no answer; trying another address"));
  }
}

void Peer::forget_handle(uint64_t inode) {
  for (auto& link : links_) link->handles().forget(inode);
}

bool Peer::reachable() const {
  return std::any_of(links_.begin(), links_.end(), [](const auto& link) { return link->open(); });
}

bool Peer::by_nics() const {
  return std::ranges::all_of(links_, [](const auto& link) {
    return link->open() ? link->by_nic() : link->options().way != LinkWay::tcp;
  });
}

bool Peer::shares_memory() const {
  const auto shares = [](const auto& link) { return !link->open() || link->shares_memory(); };
  return reachable() && std::ranges::all_of(links_, shares);
}

std::vector<SharedStaging> Peer::staging() const {
  std::vector<SharedStaging> all;
  for (const auto& link : links_) {
    if (link->open()) all.push_back(link->staging());
  }
  return all;
}

Status Peer::last_failure() const {
  for (const auto& link : links_) {
    if (!link->last_failure().ok()) return link->last_failure();
  }
  return {};
}

Status Peer::trouble(const Exchange& exchange) const {
  if (!reachable()) return last_failure();
  if (exchange.state_ != Exchange::State::unreached) return {};
  std::string why = "no open connection reaches this GPU memory";
  for (const auto& link : links_) {
    if (link->may_open() && !link->last_failure().ok())
      why += "; " + link->last_failure().to_string();
  }
  return {StatusCode::unavailable, why};
}

void Peer::on_link_open(Link&) {
  queue_unreached();
  pump();
}

void Peer::on_link_failed(Link&, const Status& why, bool last_word) {
  // Nobody is left to be waited for. Later, since this may be inside of pump().
  if (!unreached_.empty() && !link_may_open()) {
    queue_unreached();
    if (!room_.pending()) loop_.complete(room_, Status());
  }
  if (last_word && !reachable()) {
    for (List<Exchange>* list : {&small_, &reads_.waiting, &writes_.waiting}) {
      while (Exchange* exchange = list->pop_front()) {
        exchange->outcome = why;
        end(*exchange);
      }
    }
  }
  if (watcher_ != nullptr) watcher_->on_peer_trouble(*this);
}

void Peer::on_link_closed(Link&, const Status&) {
  if (watcher_ != nullptr) watcher_->on_peer_trouble(*this);
  queue_unreached();
  pump();
}

}  // namespace gd2fs::client
