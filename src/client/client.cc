#include "client/client.h"

#include <algorithm>

#include "base/log.h"
#include "client/advise_operation.h"
#include "client/fsync_operation.h"
#include "client/name_operation.h"
#include "client/read_operation.h"
#include "client/readdir_operation.h"
#include "client/view_operation.h"
#include "client/write_operation.h"

namespace gd2fs::client {

Client::Client(Loop& loop, Fabric& fabric, Random random, ClientOptions options, Gpu& gpu)
    : loop_(loop),
      fabric_(fabric),
      random_(random),
      options_(std::move(options)),
      incarnation_(random_.next() | 1),
      rings_(loop, gpu, moved_, options_.gpu_ring_max_bytes,
             options_.require == Require::gpu_direct, &fabric),
      nic_credits_(options_.locals.size()) {
  controller_ = std::make_unique<Peer>(loop_, fabric_, random_.fork(),
                                       links("controller", options_.controllers, false),
                                       Sequences::kControllerOpenMax, this);
  resolver_ = std::make_unique<Resolver>(loop_, *controller_, layouts_, incarnation_);
  sizes_ = std::make_unique<Sizes>(loop_, *controller_, incarnation_);
  map_question_.set(msg::Type::cluster_map, pack_body(msg::ClusterMapT{}));
  map_question_.done.bind<&Client::on_map>(this);
  map_pause_.bind<&Client::on_map_pause>(this);
  connect_deadline_.bind<&Client::on_connect_deadline>(this);
  sweep_.bind<&Client::on_sweep>(this);
  tick_.bind<&Client::on_tick>(this);
}

Client::~Client() {
  CHECK(active_count_ == 0);
  // What holds sequences goes before the peers that count them.
  ended_.clear();
  resolver_.reset();
  sizes_.reset();
}

std::vector<LinkOptions> Client::links(const std::string& name,
                                       const std::vector<std::string>& addresses, bool data) {
  std::vector<LinkOptions> out;
  for (const LocalAddress& local : options_.locals) {
    LinkOptions link;
    link.name = name;
    link.addresses = addresses;
    link.rail = static_cast<uint32_t>(out.size());
    if (data) link.credit = &nic_credits_[out.size()];
    if (data && local.transport == Transport::rdma) {
      const bool no_tcp =
          options_.require == Require::rdma || options_.require == Require::gpu_direct;
      link.way = no_tcp ? LinkWay::rdma_only : LinkWay::rdma_first;
    }
    // Control goes wherever the routes lead; only data is bound to its NIC.
    if (data && !local.host.empty()) {
      const bool v6 = local.host.find(':') != std::string::npos;
      link.local_address = v6 ? "tcp://[" + local.host + "]" : "tcp://" + local.host;
    }
    link.cluster = options_.cluster;
    link.key = options_.key;
    link.incarnation = incarnation_;
    link.lanes = data ? options_.lanes : 1;
    // Names are few and small; only bytes gain by shared memory.
    if (data && options_.shm && options_.require != Require::rdma) {
      link.same_host = SameHost::allowed;
    }
    // Past the ring go the bytes of one host, and those of NICs.
    const bool only_here =
        options_.require == Require::shm ||
        (options_.require == Require::gpu_direct && local.transport != Transport::rdma);
    if (data && only_here) link.same_host = SameHost::required;
    link.connect_timeout_ns = std::min<uint64_t>(3 * kSecond, options_.timeout_ns);
    link.refusals_max = data ? 8 : 1;
    // The controller is asked how silent it is, rails how fast they are.
    link.timed = !data || options_.locals.size() > 1;
    out.push_back(std::move(link));
    if (!data) break;
  }
  return out;
}

// --- the cluster map ---

void Client::connect(Completion& connected, uint64_t timeout_ns) {
  CHECK(connected_ == nullptr);
  connected_ = &connected;
  loop_.start(connect_deadline_, timeout_ns);
  refresh_map();
}

void Client::end_connect(const Status& status) {
  if (connected_ == nullptr) return;
  loop_.cancel(connect_deadline_);
  loop_.complete(*std::exchange(connected_, nullptr), status);
}

void Client::on_connect_deadline(Completion&) {
  const Status last = controller_->last_failure();
  controller_->cancel(map_question_);
  loop_.cancel(map_pause_);
  end_connect(last.ok() ? Status(StatusCode::timed_out, "no controller has answered") : last);
}

void Client::refresh_map() {
  if (!map_question_.idle() || map_question_.done.pending()) return;
  loop_.cancel(map_pause_);
  controller_->start(map_question_);
}

void Client::on_map(Completion&) {
  Status status = map_question_.outcome;
  if (status.ok()) {
    const auto* reply = open_body<msg::ClusterMapReply>(map_question_.reply);
    Result<ClusterMap> map = reply == nullptr
                                 ? gd2fs::fail(StatusCode::io, "the cluster map is malformed")
                                 : cluster_map_from(*reply);
    if (map.has_value()) {
      use_map(std::move(*map));
      end_connect(Status());
      return;
    }
    status = map.error();
  }
  const bool for_good = status.is(StatusCode::denied) || status.is(StatusCode::not_found) ||
                        status.is(StatusCode::invalid) || status.is(StatusCode::unsupported);
  if (for_good) end_connect(status);
  if (connected_ != nullptr || (active_count_ > 0 && !for_good)) {
    loop_.start(map_pause_, kMapPauseNs);
  }
}

void Client::use_map(ClusterMap map) {
  for (const auto& [id, server] : map.servers) {
    if (server.addresses.empty()) continue;
    auto& peer = servers_[id];
    if (peer == nullptr) {
      peer = std::make_unique<Peer>(loop_, fabric_, random_.fork(),
                                    links("server " + std::to_string(id), server.addresses, true),
                                    Sequences::kServerOpenMax, this);
    } else {
      peer->set_addresses(server.addresses);
    }
  }
  map_ = std::move(map);
}

Peer* Client::primary_of(uint32_t group) {
  if (map_ && group < map_->groups.size()) {
    const auto found = servers_.find(map_->groups[group].members.front());
    if (found != servers_.end()) return found->second.get();
  }
  refresh_map();
  return nullptr;
}

void Client::saw_map_version(uint64_t version) {
  if (map_ && version > map_->version) refresh_map();
}

void Client::on_peer_trouble(Peer& peer) {
  // A server may have come back elsewhere; the controller's own troubles need no map.
  if (&peer == controller_.get() || map_pause_.running()) return;
  if (active_count_ > 0) loop_.start(map_pause_, kMapPauseNs);
}

// --- operations ---

// Owned by active_, then by ended_.
Operation* Client::make(Request& request) {
  switch (request.op) {
    case Op::read:
      return new (blocks_) ReadOperation(*this, request);
    case Op::view:
      return new (blocks_) ViewOperation(*this, request);
    case Op::write:
      return new (blocks_) WriteOperation(*this, request);
    case Op::readdir:
      return new (blocks_) ReaddirOperation(*this, request);
    case Op::fsync:
      return new (blocks_) FsyncOperation(*this, request);
    case Op::advise:
      if (request.advice != Advice::drop) return new (blocks_) AdviseOperation(*this, request);
      return new (blocks_) NameOperation(*this, request);
    default:
      return new (blocks_) NameOperation(*this, request);
  }
}

void Client::submit(Request& request) {
  ended_.clear();
  Operation& operation = *make(request);
  request.operation_ = &operation;
  operation.progress_ns = loop_.now_ns();
  active_.push_back(operation);
  ++active_count_;
  // It runs on between requests that follow each other, once more behind the last one.
  if (!tick_.running() && !tick_.fired.pending()) loop_.start(tick_, patience_ns() / 64);
  operation.start();
}

void Client::cancel(Request& request, const Status& why, Origin origin) {
  if (request.operation_ != nullptr) request.operation_->give_up(why, origin);
}

void Client::retire(Operation& operation) {
  Request& request = operation.request();
  request.operation_ = nullptr;
  operation.unlink();
  ended_.emplace_back(&operation);
  --active_count_;
  // The request first: whoever waits for it shall not wait for the sweeping.
  loop_.complete(request.done, request.status, request.value);
  // The next request sweeps, or the tick behind the last one. What failed may hold what others wait
  // for.
  if (!request.status.ok() && !sweep_.pending()) loop_.complete(sweep_, Status());
}

void Client::on_sweep(Completion&) {
  ended_.clear();
}

// Callers wait with the same timeout and then expect their request, so it ends a little earlier.
uint64_t Client::patience_ns() const {
  return options_.timeout_ns - std::min<uint64_t>(options_.timeout_ns / 10, 200 * kMs);
}

void Client::on_tick(Completion&) {
  ended_.clear();
  if (active_count_ == 0) return;
  const uint64_t now_ns = loop_.now_ns();
  // A controller that hangs is worse than one that is gone; while there is time, ask another.
  controller_->fail_over_if_silent(patience_ns() / 3);
  std::vector<Operation*> late;
  for (Operation* op = active_.front(); op != nullptr; op = active_.next(*op)) {
    const uint64_t progress = op->progress();
    if (progress > op->seen_progress) {
      op->seen_progress = progress;
      op->progress_ns = now_ns;
    } else if (now_ns - op->progress_ns >= patience_ns()) {
      late.push_back(op);
    }
  }
  for (Operation* op : late) {
    const Status trouble = op->trouble();
    const Status why = trouble.ok()
                           ? Status(StatusCode::timed_out, "no progress within the timeout")
                           : Status(StatusCode::unavailable, trouble.text(), EHOSTUNREACH);
    GD2FS_LOG_WARN("{}: given up: {}", op->request().path, why.to_string());
    op->give_up(why, op->waits_for());
  }
  loop_.start(tick_, patience_ns() / 64);
}

}  // namespace gd2fs::client
