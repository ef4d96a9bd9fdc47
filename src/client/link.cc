#include "client/link.h"

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "fabric/reply.h"

namespace gd2fs::client {
namespace {

bool permanent(const Status& status) {
  return status.is(StatusCode::denied) || status.is(StatusCode::invalid) ||
         status.is(StatusCode::unsupported) || status.is(StatusCode::not_found);
}

}  // namespace

Link::Link(Loop& loop, Fabric& fabric, Random random, Owner& owner, LinkOptions options)
    : loop_(loop),
      fabric_(fabric),
      random_(random),
      owner_(owner),
      options_(std::move(options)),
      tasks_(loop) {
  credit_.bind<&Link::on_credit>(this);
  move_.bind<&Link::on_move>(this);
  order_addresses();
}

Link::~Link() {
  give_credit(credit_bytes_);
}

bool Link::has_credit(const Exchange& exchange) {
  if (options_.credit == nullptr || exchange.writes()) return true;
  if (options_.credit->allows(exchange.credit_bytes)) return true;
  if (!ListNode<NicCreditTag>::linked()) options_.credit->waiting_.push_back(*this);
  return false;
}

std::optional<uint32_t> Link::distance_to(std::span<const MemorySegment> memory) const {
  if (!open()) return std::nullopt;
  uint32_t farthest = 0;
  for (const MemorySegment& segment : memory) {
    if (segment.target == 0) continue;
    const std::optional<uint32_t> one = session_->distance_to(segment);
    if (!one) return std::nullopt;
    farthest = std::max(farthest, *one);
  }
  return farthest;
}

void Link::on_credit(Completion&) {
  owner_.on_link_credit(*this);
  if (!ListNode<NicCreditTag>::linked()) give_credit(0);  // perhaps there is some left
}

void Link::take_credit(uint64_t bytes) {
  if (options_.credit == nullptr) return;
  options_.credit->take(bytes);
  credit_bytes_ += bytes;
}

void Link::give_credit(uint64_t bytes) {
  if (options_.credit == nullptr) return;
  options_.credit->used_bytes_ -= bytes;
  credit_bytes_ -= bytes;
  // One after the other: who is told no again goes to the end.
  Link* next = options_.credit->waiting_.pop_front();
  if (next != nullptr && !next->credit_.pending()) next->loop_.complete(next->credit_, Status());
}

void Link::want() {
  if (connecting_ || session_ != nullptr || next_session_ != nullptr) return;
  connecting_ = true;
  tasks_.spawn(connect());
}

void Link::set_addresses(std::vector<std::string> addresses) {
  if (addresses == options_.addresses) return;
  options_.addresses = std::move(addresses);
  refused_ = false;
  order_addresses();
}

void Link::order_addresses() {
  std::vector<std::string> rdma;
  addresses_.clear();
  for (const std::string& address : options_.addresses) {
    (address.starts_with("rdma://") ? rdma : addresses_).push_back(address);
  }
  if (options_.way == LinkWay::rdma_only) addresses_.clear();
  if (options_.way != LinkWay::tcp && !rdma.empty()) {
    // Each rail has a NIC of the peer's for itself, as far as there are so many.
    std::ranges::rotate(rdma, rdma.begin() + options_.rail % rdma.size());
    addresses_.insert(addresses_.begin(), rdma.begin(), rdma.end());
  }
  next_address_ = 0;
}

// Which path it became, once when it is not the one that was asked for.
void Link::say_path(const std::string& address) {
  GD2FS_LOG_INFO("{}: connected to {} over {}", options_.name, address, session_->path());
  if (options_.way == LinkWay::tcp || session_->path() != "tcp") return;
  if (std::exchange(said_fall_back_, true)) return;
  const bool tried = std::ranges::any_of(
      addresses_, [](const std::string& each) { return each.starts_with("rdma://"); });
  GD2FS_LOG_WARN("{}: RDMA was asked for, and TCP is used: {}", options_.name,
                 tried ? last_failure_.to_string() : "it has no rdma:// address");
}

void Link::fail_over(Status why) {
  if (session_ == nullptr) return;
  served_ = false;
  session_->close(std::move(why));
}

// After a connection has ended or did not come about. A rail that has served begins again with its
// own NIC of the peer's; what never answered, or does not any more, is passed over.
void Link::next_address() {
  const bool again = std::exchange(served_, false) && options_.way != LinkWay::tcp;
  next_address_ = again ? 0 : next_address_ + 1;
  ++failures_;
}

ConnectOptions Link::connect_options(const std::string& address) const {
  ConnectOptions out;
  out.address = address;
  out.local_address = options_.local_address;
  out.role = PeerRole::client;
  out.cluster = options_.cluster;
  out.key = options_.key;
  out.insecure = options_.key.empty();
  out.incarnation = options_.incarnation;
  out.lanes = options_.lanes;
  out.same_host = options_.same_host;
  out.timeout_ns = options_.connect_timeout_ns;
  out.events = const_cast<Link*>(this);
  return out;
}

uint64_t Link::back_off_ns() {
  const uint32_t doublings = std::min(failures_, 8u);
  const uint64_t base = std::min(kBackOffMinNs << doublings, kBackOffMaxNs);
  return random_.between(base / 2, base);
}

Task<void> Link::connect() {
  do {
    if (failures_ > 0) co_await Delay(loop_, back_off_ns());
    if (addresses_.empty()) {
      connecting_ = false;
      refused_ = true;
      last_failure_ = Status(StatusCode::unsupported,
                             options_.name + ": RDMA is required, and it has no rdma:// address");
      owner_.on_link_failed(*this, last_failure_, true);
      co_return;
    }
    const std::string address = addresses_[next_address_ % addresses_.size()];
    Result<std::unique_ptr<Session>> result = co_await fabric_.connect(connect_options(address));
    if (result.has_value()) {
      session_ = std::move(*result);
      session_->set_events(this);
      connecting_ = false;
      refused_ = false;
      looked_home_ns_ = loop_.now_ns();
      away_ = options_.way != LinkWay::tcp && address != addresses_.front() &&
              session_->path() != "shm";
      handles_.clear();
      say_path(address);
      owner_.on_link_open(*this);
      co_return;
    }
    next_address();
    last_failure_ = result.error().with(options_.name + " at " + address);
    if (failures_ == 1) {
      GD2FS_LOG_WARN("{}", last_failure_.to_string());
    } else {
      GD2FS_LOG_DEBUG("{}, {} failures in a row", last_failure_.to_string(), failures_);
    }
    // A wrong token is wrong everywhere, but another reason may differ from address to address. A
    // peer that was down for long and refuses once, as it starts, has refused once.
    refusals_ += permanent(last_failure_) ? 1 : 0;
    const bool last_word = permanent(last_failure_) && refusals_ >= options_.refusals_max &&
                           failures_ >= addresses_.size() * options_.refusals_max;
    if (last_word) {
      connecting_ = false;
      refused_ = true;
    }
    owner_.on_link_failed(*this, last_failure_, last_word);
    if (last_word) co_return;
  } while (owner_.wants_link());
  connecting_ = false;
}

// --- going home ---

void Link::look_home() {
  if (!away_ || looking_home_ || addresses_.empty()) return;
  if (loop_.now_ns() - looked_home_ns_ < kHomeNs) return;
  looking_home_ = true;
  tasks_.spawn(go_home());
}

Task<void> Link::go_home() {
  const std::string home = addresses_.front();
  Result<std::unique_ptr<Session>> result = co_await fabric_.connect(connect_options(home));
  looking_home_ = false;
  looked_home_ns_ = loop_.now_ns();
  // Meanwhile the session may have ended, or the peer may have other addresses.
  const bool same = !addresses_.empty() && addresses_.front() == home;
  if (!result.has_value() || !open() || !same) co_return;
  next_session_ = std::move(*result);
  next_session_->set_events(this);
  move_when_quiet();
}

void Link::move_when_quiet() {
  if (next_session_ == nullptr || !sent_.empty() || move_.pending()) return;
  move_.start();
  loop_.complete(move_, Status());
}

void Link::on_move(Completion&) {
  if (next_session_ == nullptr || !sent_.empty()) return;
  // What is being withdrawn from the old one comes back with its end.
  old_session_ = std::exchange(session_, std::move(next_session_));
  if (old_session_ != nullptr) old_session_->close(Status(StatusCode::canceled, "moved home"));
  next_address_ = 0;
  away_ = false;
  handles_.clear();
  say_path(addresses_.front());
  owner_.on_link_open(*this);
}

Status Link::send(Exchange& exchange, ConstBytes body) {
  CHECK(session_ != nullptr && exchange.link_ == nullptr);
  exchange.request_id_ = session_->next_request_id();
  if (exchange.window != nullptr) {
    exchange.window->request_id = exchange.request_id_;
    session_->expose(*exchange.window);
  }
  Status sent = session_->send(static_cast<uint16_t>(exchange.type), exchange.request_id_, body,
                               exchange.window);
  // A failed send still leaves the window to be withdrawn: abandon() does it.
  if (options_.timed && sent_bytes_ == 0) {
    const uint64_t now_ns = loop_.now_ns();
    if (sent_.empty()) silent_since_ns_ = now_ns;
    if (exchange.credit_bytes > 0) speed_.begin(now_ns);
  }
  exchange.link_ = this;
  exchange.state_ = Exchange::State::sent;
  sent_.insert(exchange.request_id_, &exchange);
  sent_bytes_ += exchange.credit_bytes;
  ever_sent_bytes_ += exchange.credit_bytes;
  if (!exchange.writes()) take_credit(exchange.credit_bytes);
  look_home();
  return sent;
}

Status Link::tell(msg::Type type, ConstBytes body) {
  if (!open()) return {StatusCode::unavailable, "not connected"};
  return session_->send(static_cast<uint16_t>(type), 0, body);
}

void Link::take(Exchange& exchange) {
  sent_.erase(exchange.request_id_);
  taken(exchange);
}

void Link::taken(Exchange& exchange) {
  sent_bytes_ -= exchange.credit_bytes;
  exchange.link_ = nullptr;
  if (!exchange.writes()) give_credit(exchange.credit_bytes);
}

// `withdrawn_` completes when nothing of this session can touch the window's memory.
void Link::withdraw(Exchange& exchange) {
  take(exchange);  // one that was answered is out of sent_ already
  exchange.state_ = Exchange::State::withdrawing;
  if (exchange.window == nullptr) {
    loop_.complete(exchange.withdrawn_, Status());
  } else {
    session_->withdraw(*exchange.window, exchange.withdrawn_);
  }
}

void Link::abandon(Exchange& exchange) {
  withdraw(exchange);
  flatbuffers::FlatBufferBuilder builder(64);
  // A courtesy: a peer that does not get it finds the window gone.
  [[maybe_unused]] const Status told = tell(
      msg::Type::cancel, finish_body(builder, msg::CreateCancel(builder, exchange.request_id_)));
  move_when_quiet();
}

void Link::on_message(Session& session, const Message& message) {
  if (message.request_id == 0) return;
  reply_error(session, message.request_id,
              Status(StatusCode::unsupported, "a client answers no requests"));
}

void Link::on_reply(Session&, const Message& reply) {
  const std::optional<Exchange*> found = sent_.take(reply.request_id);
  if (!found.has_value()) return;  // given up before
  failures_ = 0;
  refusals_ = 0;
  served_ = true;
  Exchange& exchange = **found;
  if (options_.timed) {
    silent_since_ns_ = loop_.now_ns();
    const bool more = sent_bytes_ > exchange.credit_bytes;
    if (exchange.credit_bytes > 0) speed_.arrived(exchange.credit_bytes, more, silent_since_ns_);
  }
  if (reply.type == static_cast<uint16_t>(msg::Type::error)) {
    exchange.outcome = open_error(reply.body);
  } else if (reply.type != static_cast<uint16_t>(exchange.type)) {
    exchange.outcome = Status(StatusCode::io, "the reply is of another type than the request");
  } else {
    exchange.outcome = Status();
  }
  exchange.reply.assign(reply.body.data(), reply.body.size());
  if (exchange.window == nullptr || session_->let_go(*exchange.window)) {
    taken(exchange);
    move_when_quiet();
    return owner_.on_settled(exchange, false);
  }
  withdraw(exchange);
  move_when_quiet();
}

void Link::on_closed(Session& session, const Status& reason) {
  if (&session == old_session_.get()) return old_session_.reset();
  if (&session == next_session_.get()) {
    next_session_.reset();
    return owner_.on_link_open(*this);  // as it was
  }
  last_failure_ = reason.with(options_.name);
  GD2FS_LOG_WARN("{}: connection ended: {}", options_.name, reason.to_string());
  session_.reset();
  next_address();
  handles_.clear();
  const Status lost(StatusCode::unavailable, reason.text(), reason.errno_value());
  // All are told of it only when none is sent any more: who hears of it may give up others.
  List<Exchange> all;
  while (!sent_.empty()) {
    Exchange& exchange = **sent_.any();
    take(exchange);
    exchange.state_ = Exchange::State::withdrawing;
    exchange.outcome = lost;
    exchange.reply.clear();  // of an earlier try
    all.push_back(exchange);
  }
  while (Exchange* exchange = all.pop_front()) owner_.on_settled(*exchange, true);
  if (next_session_ != nullptr) return move_when_quiet();
  owner_.on_link_closed(*this, lost);
}

}  // namespace gd2fs::client
