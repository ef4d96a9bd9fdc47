#include "verbs/queue_pair.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>

namespace gd2fs::verbs {
namespace {

constexpr uint8_t kTimeoutExponent = 15;  // 4.096 us * 2^15 = 134 ms without an answer
// Then the connection is broken. Not 7, of which soft-RoCE never comes to the end.
constexpr uint8_t kRetries = 6;
// Credits see to it that a message always finds a buffer; this is for a peer that breaks the rule.
constexpr uint8_t kNoBufferRetries = 6;
constexpr uint8_t kNoBufferPause = 12;  // 0.64 ms
constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kReadsMax = 16;

}  // namespace

Result<std::unique_ptr<CompletionChannel>> CompletionChannel::make(std::shared_ptr<const Nic> nic) {
  ibv_comp_channel* channel = nic->library().create_comp_channel(nic->context());
  if (channel == nullptr) return fail(failure(errno, nic->name() + ": ibv_create_comp_channel"));
  std::unique_ptr<CompletionChannel> made(new CompletionChannel(std::move(nic), channel));
  const int flags = fcntl(channel->fd, F_GETFL);
  if (flags < 0 || fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail(Status::from_errno(errno, "completion channel"));
  }
  return made;
}

CompletionChannel::~CompletionChannel() {
  (void)nic_->library().destroy_comp_channel(channel_);  // nothing can be done about a failure
}

bool CompletionChannel::take_event() {
  ibv_cq* queue = nullptr;
  void* owner = nullptr;
  if (nic_->library().get_cq_event(channel_, &queue, &owner) != 0) return false;
  nic_->library().ack_cq_events(queue, 1);
  return true;
}

Result<std::unique_ptr<CompletionQueue>> CompletionQueue::make(std::shared_ptr<const Nic> nic,
                                                               int entries,
                                                               CompletionChannel& channel) {
  ibv_cq* queue = nic->library().create_cq(nic->context(), entries, nullptr, channel.get(), 0);
  if (queue == nullptr) return fail(failure(errno, nic->name() + ": ibv_create_cq"));
  return std::unique_ptr<CompletionQueue>(new CompletionQueue(std::move(nic), queue));
}

CompletionQueue::~CompletionQueue() {
  (void)nic_->library().destroy_cq(queue_);
}

Result<std::unique_ptr<QueuePair>> QueuePair::make(const std::shared_ptr<const Nic>& nic,
                                                   CompletionQueue& queue, Depths depths,
                                                   uint32_t first_packet) {
  GD2FS_ASSIGN(const PortPlace place, nic->find_again());
  ibv_qp_init_attr init{};
  init.send_cq = queue.get();
  init.recv_cq = queue.get();
  init.qp_type = IBV_QPT_RC;
  init.sq_sig_all = 0;
  init.cap.max_send_wr = depths.sends;
  init.cap.max_recv_wr = depths.receives;
  init.cap.max_send_sge = 1;
  init.cap.max_recv_sge = 1;
  ibv_qp* pair = nic->library().create_qp(nic->domain(), &init);
  if (pair == nullptr) return fail(failure(errno, nic->name() + ": ibv_create_qp"));
  std::unique_ptr<QueuePair> made(new QueuePair(nic, pair, place, first_packet & 0xffffff));
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = nic->port();
  attributes.pkey_index = place.key_index;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  GD2FS_TRY(made->modify(
      attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, "to INIT"));
  return made;
}

QueuePair::~QueuePair() {
  stop();
  (void)nic_->library().destroy_qp(pair_);  // fails only where the device is gone
}

QueuePairAddress QueuePair::address() const {
  QueuePairAddress out;
  out.link_layer = nic_->link_layer();
  out.lid = place_.lid;
  out.gid = place_.gid;
  out.number = pair_->qp_num;
  out.first_packet = first_packet_;
  out.mtu = nic_->mtu();
  out.reads_max =
      static_cast<uint8_t>(std::clamp<int>(nic_->limits().max_qp_rd_atom, 1, kReadsMax));
  return out;
}

Status QueuePair::modify(ibv_qp_attr& attributes, int mask, const char* what) {
  const int error = nic_->library().modify_qp(pair_, &attributes, mask);
  if (error == 0) return {};
  return failure(error, nic_->name() + ": ibv_modify_qp " + what);
}

// On Ethernet by GID. On InfiniBand by LID, and by GID as well to another subnet, beyond a router.
ibv_ah_attr QueuePair::way_to(const QueuePairAddress& peer) const {
  const bool infiniband = nic_->link_layer() == LinkLayer::infiniband;
  const bool same_subnet = std::memcmp(peer.gid.raw, place_.gid.raw, sizeof peer.gid.raw / 2) == 0;
  ibv_ah_attr way{};
  way.port_num = nic_->port();
  if (infiniband) {
    way.dlid = peer.lid;
    way.sl = place_.service_level;
  }
  if (infiniband && same_subnet && !place_.always_global) return way;
  way.is_global = 1;
  way.grh.dgid = peer.gid;
  way.grh.sgid_index = place_.gid_index;
  way.grh.hop_limit = kHopLimit;
  return way;
}

Status QueuePair::connect(const QueuePairAddress& peer) {
  if (peer.link_layer != nic_->link_layer()) {
    return {StatusCode::unsupported,
            nic_->name() + " is a port of " + std::string(name_of(nic_->link_layer())) +
                ", and the peer's is one of " + std::string(name_of(peer.link_layer))};
  }
  ibv_qp_attr ready{};
  ready.qp_state = IBV_QPS_RTR;
  ready.path_mtu = std::min(peer.mtu, nic_->mtu());
  ready.dest_qp_num = peer.number;
  ready.rq_psn = peer.first_packet;
  ready.max_dest_rd_atomic = address().reads_max;
  ready.min_rnr_timer = kNoBufferPause;
  ready.ah_attr = way_to(peer);
  GD2FS_TRY(modify(ready,
                   IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
                   "to RTR"));
  ibv_qp_attr send{};
  send.qp_state = IBV_QPS_RTS;
  send.timeout = kTimeoutExponent;
  send.retry_cnt = kRetries;
  send.rnr_retry = kNoBufferRetries;
  send.sq_psn = first_packet_;
  const int own = std::clamp<int>(nic_->limits().max_qp_init_rd_atom, 1, kReadsMax);
  send.max_rd_atomic = std::min(peer.reads_max, static_cast<uint8_t>(own));
  return modify(send,
                IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                "to RTS");
}

void QueuePair::stop() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  // A pair that cannot even be stopped is ended by its destruction.
  (void)nic_->library().modify_qp(pair_, &attributes, IBV_QP_STATE);
}

}  // namespace gd2fs::verbs
