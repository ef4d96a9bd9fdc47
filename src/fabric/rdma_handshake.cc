#include "fabric/rdma_handshake.h"

#include <algorithm>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/log.h"
#include "fabric/detached.h"
#include "wire/token.h"

namespace gd2fs {

// --- ports ---

Worker& RdmaPorts::worker() {
  if (worker_ == nullptr) worker_ = std::make_unique<ThreadWorker>("gd2fs-verbs");
  return *worker_;
}

// Many may ask for a device that was lost: the first job opens it, and the others find it there.
// On the worker, and at start-up.
Result<std::shared_ptr<RdmaPort>> RdmaPorts::open(const std::string& address,
                                                  const std::shared_ptr<const verbs::Nic>& gone) {
  std::lock_guard lock(opening_);
  Opened& last = opened_[address];
  if (last.nic != nullptr) {
    if (last.nic != gone) {
      if (auto port = last.port.lock()) return port;
    }
    memory_.remove_nic(*last.nic);  // it is gone, or who asked for it has not waited
    last = Opened();
  }
  GD2FS_ASSIGN(std::shared_ptr<verbs::Nic> nic, verbs::Nic::open(address));
  GD2FS_ASSIGN(std::shared_ptr<RdmaPort> port, RdmaPort::open(loop_, nic));
  memory_.add_nic(nic);
  last = {port, nic};
  return port;
}

Result<std::shared_ptr<RdmaPort>> RdmaPorts::keep(const std::string& address,
                                                  Result<std::shared_ptr<RdmaPort>> opened) {
  if (!opened.has_value()) return opened;
  // Somebody else may have it meanwhile, or have had and lost it.
  const auto before = ports_.find(address);
  const bool known = before != ports_.end();
  if (known && (!before->second->gone() || before->second == *opened)) return before->second;
  GD2FS_TRY((*opened)->start());
  GD2FS_LOG_INFO("rdma://{} is {}", address, (*opened)->nic().name());
  if (known) (*opened)->counters() += before->second->counters();
  ports_.insert_or_assign(address, *opened);
  return opened;
}

Status RdmaPorts::open_now(const std::string& address) {
  const auto found = ports_.find(address);
  if (found != ports_.end() && !found->second->gone()) return {};
  const auto gone = found == ports_.end() ? nullptr : found->second->shared_nic();
  const auto port = keep(address, open(address, gone));
  return port.has_value() ? Status() : port.error();
}

Task<Result<RdmaShared>> RdmaPorts::find(std::string address) {
  RdmaShared shared;
  shared.memory = &memory_;
  shared.closing = closing_;
  shared.worker = &worker();
  const auto found = ports_.find(address);
  std::shared_ptr<const verbs::Nic> gone;
  if (found != ports_.end()) {
    shared.port = found->second;
    if (!shared.port->gone()) co_return shared;
    gone = std::exchange(shared.port, nullptr)->shared_nic();
  }
  std::move_only_function<Result<std::shared_ptr<RdmaPort>>()> job = [this, address, gone] {
    return open(address, gone);
  };
  Detached<std::shared_ptr<RdmaPort>> opened(loop_, worker(), std::move(job));
  Await& ended = opened.ended();
  [[maybe_unused]] const Status waited = co_await ended;
  Result<std::shared_ptr<RdmaPort>> port = keep(address, opened.take());
  if (!port.has_value()) {
    // A device that is reset is away for some seconds. It was there: that is no last word.
    if (gone != nullptr) co_return fail(StatusCode::unavailable, port.error().to_string());
    co_return fail(port.error());
  }
  shared.port = *port;
  co_return shared;
}

std::vector<RdmaNicFacts> RdmaPorts::facts() {
  std::vector<RdmaNicFacts> all;
  for (const auto& [address, port] : ports_) {
    RdmaNicFacts& facts = all.emplace_back();
    facts.address = address;
    facts.name = port->nic().name();
    facts.up = port->up();
    facts.queue_pairs = port->queue_pairs();
    facts.counters = port->counters();
    port->ask_whether_up(worker(), closing_);
  }
  std::ranges::sort(all, {}, &RdmaNicFacts::address);
  return all;
}

namespace {

// Owns itself until the worker is done with it.
struct Doubt {
  Job job;
  std::shared_ptr<bool> doubting;
  std::shared_ptr<uint32_t> closing;
  void on_done(Completion&) {
    *doubting = false;
    --*closing;
    delete this;
  }
};

}  // namespace

void RdmaPorts::doubt_reach(const void* address, uint32_t region) {
  if (std::exchange(*doubting_, true)) return;
  ++*closing_;
  auto* doubt = new Doubt;
  doubt->doubting = doubting_;
  doubt->closing = closing_;
  doubt->job.run = [memory = &memory_, address, region]() -> Status {
    memory->check(address, region);
    return {};
  };
  doubt->job.done.bind<&Doubt::on_done>(doubt);
  worker().submit(loop_, doubt->job);
}

RdmaCounters RdmaPorts::counters() const {
  RdmaCounters all;
  for (const auto& [address, port] : ports_) all += port->counters();
  return all;
}

// --- queue pairs ---

Task<Result<std::unique_ptr<RdmaQueue>>> make_rdma_queue(Loop* loop, RdmaShared shared) {
  RdmaEntries entries = shared.port->take_entries(RdmaQueue::kEntries);
  if (entries.queue() == nullptr) {
    std::move_only_function<Result<std::unique_ptr<verbs::CompletionQueue>>()> make =
        [port = shared.port] { return RdmaPort::make_completions(port); };
    Detached<std::unique_ptr<verbs::CompletionQueue>> made(*loop, *shared.worker, std::move(make));
    Await& ended = made.ended();
    [[maybe_unused]] const Status waited = co_await ended;
    Result<std::unique_ptr<verbs::CompletionQueue>> completions = made.take();
    if (!completions.has_value()) co_return fail(completions.error());
    shared.port->add_completions(std::move(*completions));
    entries = shared.port->take_entries(RdmaQueue::kEntries);
    if (entries.queue() == nullptr) co_return fail(StatusCode::unsupported, "max_cqe is too low");
  }
  uint32_t first_packet = 0;
  secure_random(as_writable_bytes(&first_packet, sizeof first_packet));
  verbs::CompletionQueue* const completions = entries.queue();
  std::move_only_function<Result<std::unique_ptr<RdmaQueue>>()> make =
      [nic = shared.port->shared_nic(), completions, first_packet] {
        return RdmaQueue::make(nic, completions, first_packet);
      };
  Detached<std::unique_ptr<RdmaQueue>> made(*loop, *shared.worker, std::move(make));
  Await& ended = made.ended();
  [[maybe_unused]] const Status waited = co_await ended;
  Result<std::unique_ptr<RdmaQueue>> queue = made.take();
  if (queue.has_value()) (*queue)->hold(std::move(entries));
  co_return queue;
}

namespace {

class Proof final : public RdmaQueue::Owner {
 public:
  Proof(Loop& loop, RdmaQueue& queue, uint64_t deadline_ns) : loop_(loop), queue_(queue) {
    timer_.bind<&Proof::on_late>(this);
    ended_.done().start();
    queue_.set_owner(this);
    loop_.start_at(timer_, deadline_ns);
    queue_.knock();
  }
  ~Proof() { queue_.set_owner(nullptr); }
  Proof(const Proof&) = delete;
  Proof& operator=(const Proof&) = delete;
  Await& ended() { return ended_; }

 private:
  void on_work_done(const RdmaQueue::Work&) override {}
  bool waits_for_work() const override { return true; }
  void on_queue_ready() override {
    if (!queue_.ok()) {
      end(queue_.broken());
    } else if (queue_.answered()) {
      end(Status());
    }
  }
  void on_late(Completion&) { end(Status(StatusCode::timed_out, "no packet has passed in time")); }
  void end(const Status& status) {
    if (std::exchange(over_, true)) return;
    loop_.complete(ended_.done(), status);
  }
  Loop& loop_;
  RdmaQueue& queue_;
  Await ended_;
  Timer timer_;
  bool over_ = false;
};

}  // namespace

Task<Status> prove_rdma_queue(Loop* loop, RdmaQueue* queue, uint64_t deadline_ns) {
  Proof proof(*loop, *queue, deadline_ns);
  Await& ended = proof.ended();
  Status status = co_await ended;
  co_return status.with("between the NICs");
}

Task<void> end_rdma_queue(Loop* loop, RdmaShared shared, std::unique_ptr<RdmaQueue> queue) {
  queue->detach();
  RdmaEntries entries = queue->take_entries();
  // They are let go on the loop, once the queue pair is no more.
  std::move_only_function<Result<RdmaEntries>()> end =
      [queue = std::move(queue), entries = std::move(entries)]() mutable -> Result<RdmaEntries> {
    queue.reset();
    return std::move(entries);
  };
  Detached<RdmaEntries> ending(*loop, *shared.worker, std::move(end));
  Await& ended = ending.ended();
  [[maybe_unused]] const Status waited = co_await ended;
}

namespace {

constexpr uint16_t kLidMax = 0xbfff;  // above are those of groups

}  // namespace

std::vector<std::byte> pack_queue_pair(const RdmaQueue& queue) {
  const verbs::QueuePairAddress address = queue.address();
  msg::QueuePairT out;
  out.gid.assign(address.gid.raw, address.gid.raw + sizeof address.gid.raw);
  out.number = address.number;
  out.first_packet = address.first_packet;
  out.mtu = static_cast<uint8_t>(address.mtu);
  out.reads_max = address.reads_max;
  out.buffers = RdmaQueue::kBuffers;
  out.buffer_bytes = RdmaQueue::kBufferBytes;
  out.link_layer = address.link_layer == verbs::LinkLayer::infiniband ? msg::LinkLayer::infiniband
                                                                      : msg::LinkLayer::ethernet;
  out.lid = address.lid;
  out.solicits = true;
  return pack_body(out);
}

Result<RdmaPeer> open_queue_pair(ConstBytes body) {
  const auto* in = open_body<msg::QueuePair>(body);
  RdmaPeer peer;
  if (in == nullptr || in->gid() == nullptr || in->gid()->size() != sizeof peer.address.gid.raw) {
    return fail(StatusCode::invalid, "handshake: malformed queue pair");
  }
  if (in->buffers() == 0 || in->buffer_bytes() < RdmaQueue::kBufferBytes ||
      in->mtu() < IBV_MTU_256 || in->mtu() > IBV_MTU_4096 || in->reads_max() == 0 ||
      in->number() > 0xffffff || in->first_packet() > 0xffffff) {
    return fail(StatusCode::invalid, "handshake: a queue pair that cannot be used");
  }
  const bool infiniband = in->link_layer() == msg::LinkLayer::infiniband;
  if ((!infiniband && in->link_layer() != msg::LinkLayer::ethernet) ||
      (infiniband && (in->lid() == 0 || in->lid() > kLidMax))) {
    return fail(StatusCode::invalid, "handshake: a queue pair of an unknown place");
  }
  peer.address.link_layer = infiniband ? verbs::LinkLayer::infiniband : verbs::LinkLayer::ethernet;
  peer.address.lid = in->lid();
  std::copy(in->gid()->begin(), in->gid()->end(), peer.address.gid.raw);
  peer.address.number = in->number();
  peer.address.first_packet = in->first_packet();
  peer.address.mtu = static_cast<ibv_mtu>(in->mtu());
  peer.address.reads_max = in->reads_max();
  // We never have more on their way than we have buffers to send from.
  peer.buffers = std::min<uint32_t>(in->buffers(), RdmaQueue::kBuffers);
  peer.solicits = in->solicits();
  return peer;
}

std::string rdma_name(std::string_view tcp_address) {
  return "rdma" + std::string(tcp_address.substr(tcp_address.find(':')));
}

Result<std::string> local_host_of(int fd) {
  GD2FS_ASSIGN(const SocketAddress address, socket_address_of(fd));
  char text[INET6_ADDRSTRLEN] = {};
  if (address.family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address.get());
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
  } else {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address.get());
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
      inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    }
  }
  return std::string(text);
}

}  // namespace gd2fs
