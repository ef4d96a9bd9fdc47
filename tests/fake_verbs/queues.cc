// Queue pairs, completion queues and their channels.
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include "world.h"

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace fake_verbs {

int post_send(ibv_qp* target, ibv_send_wr* first, ibv_send_wr** bad) {
  World& world = World::instance();
  {
    std::lock_guard lock(world.mutex);
    auto& pair = *static_cast<Pair*>(target);
    ++pair.device->counts.doorbells;
    for (ibv_send_wr* wr = first; wr != nullptr; wr = wr->next) {
      *bad = wr;
      if (!pair.alive || (pair.state != IBV_QPS_RTS && pair.state != IBV_QPS_ERR)) return EINVAL;
      if (pair.send_slots >= pair.sends_max) return ENOMEM;
      if (wr->num_sge > 1) return EINVAL;
      Work work;
      work.id = wr->wr_id;
      work.opcode = wr->opcode;
      work.signaled = (wr->send_flags & IBV_SEND_SIGNALED) != 0;
      work.solicited = (wr->send_flags & IBV_SEND_SOLICITED) != 0;
      work.immediate = wr->imm_data;
      if (wr->num_sge == 1) work.local = wr->sg_list[0];
      work.remote_address = wr->wr.rdma.remote_addr;
      work.remote_key = wr->wr.rdma.rkey;
      work.due_ns = World::now_ns() + world.delay_ns;
      ++pair.send_slots;
      if (pair.state == IBV_QPS_ERR) {
        world.complete_send(pair, work, IBV_WC_WR_FLUSH_ERR, 0);
      } else {
        pair.sends.push_back(work);
      }
    }
  }
  world.wake();
  return 0;
}

int post_recv(ibv_qp* target, ibv_recv_wr* first, ibv_recv_wr** bad) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& pair = *static_cast<Pair*>(target);
  for (ibv_recv_wr* wr = first; wr != nullptr; wr = wr->next) {
    *bad = wr;
    if (!pair.alive || pair.state == IBV_QPS_RESET || wr->num_sge != 1) return EINVAL;
    if (pair.receives.size() >= pair.receives_max) return ENOMEM;
    Work work;
    work.id = wr->wr_id;
    work.local = wr->sg_list[0];
    pair.receives.push_back(work);
  }
  if (pair.state == IBV_QPS_ERR) world.stop(pair);
  return 0;
}

int poll_cq(ibv_cq* target, int count, ibv_wc* out) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& queue = *static_cast<Queue*>(target);
  int taken = 0;
  while (taken < count && !queue.entries.empty()) {
    const Entry& entry = queue.entries.front();
    if (entry.sent_by != nullptr) entry.sent_by->send_slots -= entry.frees;
    out[taken++] = entry.wc;
    queue.entries.pop_front();
  }
  return taken;
}

int req_notify_cq(ibv_cq* target, int solicited_only) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (context_of(target->context).gone) return EIO;
  static_cast<Queue*>(target)->armed =
      solicited_only != 0 ? Queue::Armed::solicited : Queue::Armed::any;
  return 0;
}

}  // namespace fake_verbs

using namespace fake_verbs;

// `fd` is the reading end of a pipe, `refcnt` the writing one.
FAKE_API ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return nullptr;
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  auto* channel = new Channel;
  channel->context = context;
  channel->fd = ends[0];
  channel->refcnt = ends[1];
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  context_of(context).channels.insert(channel);
  return channel;
}
FAKE_API int ibv_destroy_comp_channel(ibv_comp_channel* target) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto* channel = static_cast<Channel*>(target);
  context_of(channel->context).channels.erase(channel);
  close(channel->fd);
  close_bell(channel->refcnt);
  delete channel;
  return 0;
}
FAKE_API int ibv_get_cq_event(ibv_comp_channel* target, ibv_cq** queue, void** owner) {
  char bell = 0;
  if (read(target->fd, &bell, 1) != 1) return -1;
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& channel = *static_cast<Channel*>(target);
  *queue = channel.events.front();
  *owner = (*queue)->cq_context;
  channel.events.pop_front();
  return 0;
}
FAKE_API void ibv_ack_cq_events(ibv_cq*, unsigned) {}

FAKE_API ibv_cq* ibv_create_cq(ibv_context* context, int entries, void* owner,
                               ibv_comp_channel* channel, int) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto queue = std::make_unique<Queue>();
  queue->context = context;
  queue->channel = channel;
  queue->cq_context = owner;
  queue->cqe = entries;
  queue->device = &device_of(context);
  world.queues.push_back(std::move(queue));
  return world.queues.back().get();
}
FAKE_API int ibv_destroy_cq(ibv_cq* target) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  for (Pair* pair : world.live_pairs) {
    if (pair->send_cq == target || pair->recv_cq == target) return EBUSY;
  }
  auto& queue = *static_cast<Queue*>(target);
  if (queue.channel != nullptr) {
    std::erase(static_cast<Channel*>(queue.channel)->events, target);
  }
  queue.alive = false;
  queue.entries.clear();
  return 0;
}

FAKE_API ibv_qp* ibv_create_qp(ibv_pd* domain, ibv_qp_init_attr* attributes) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (context_of(domain->context).gone) {
    errno = EIO;
    return nullptr;
  }
  auto pair = std::make_unique<Pair>();
  pair->context = domain->context;
  pair->pd = domain;
  pair->send_cq = attributes->send_cq;
  pair->recv_cq = attributes->recv_cq;
  pair->qp_type = attributes->qp_type;
  pair->state = IBV_QPS_RESET;
  pair->device = &device_of(domain->context);
  pair->sends_max = attributes->cap.max_send_wr;
  pair->receives_max = attributes->cap.max_recv_wr;
  pair->qp_num = ++world.last_number;
  ++pair->device->counts.queue_pairs;
  world.pairs_by_number[pair->qp_num] = pair.get();
  world.live_pairs.push_back(pair.get());
  world.pairs.push_back(std::move(pair));
  return world.pairs.back().get();
}

FAKE_API int ibv_modify_qp(ibv_qp* target, ibv_qp_attr* attributes, int mask) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& pair = *static_cast<Pair*>(target);
  if (!pair.alive || (mask & IBV_QP_STATE) == 0) return EINVAL;
  if (context_of(pair.context).gone) return EIO;
  const ibv_qp_state from = pair.state;
  const ibv_qp_state to = attributes->qp_state;
  if (to == IBV_QPS_ERR) {
    world.stop(pair);
    return 0;
  }
  const bool next = (from == IBV_QPS_RESET && to == IBV_QPS_INIT) ||
                    (from == IBV_QPS_INIT && to == IBV_QPS_RTR) ||
                    (from == IBV_QPS_RTR && to == IBV_QPS_RTS);
  if (!next) return EINVAL;
  if (to == IBV_QPS_INIT && pair.device->infiniband) {
    const uint16_t key = attributes->pkey_index;
    if ((mask & IBV_QP_PKEY_INDEX) == 0 || key >= std::size(kPartitionKeys)) return EINVAL;
    // Nobody is a full member there, so nobody would hear it.
    if (kPartitionKeys[key] != 0xffff) return EINVAL;
    pair.partition_key = kPartitionKeys[key];
  }
  if (to == IBV_QPS_RTR) {
    const int needed = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
    if ((mask & needed) != needed) return EINVAL;
    const ibv_ah_attr& way = attributes->ah_attr;
    const bool infiniband = pair.device->infiniband;
    if (infiniband ? way.dlid == 0 || way.sl != kServiceLevel : way.is_global != 1) return EINVAL;
    pair.peer_number = attributes->dest_qp_num;
    pair.way = way;
  }
  pair.state = to;
  return 0;
}

FAKE_API int ibv_destroy_qp(ibv_qp* target) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& pair = *static_cast<Pair*>(target);
  if (!pair.alive) return EINVAL;
  pair.alive = false;
  --pair.device->counts.queue_pairs;
  if (world.late_bytes) return 0;  // what it has posted goes on
  world.stop(pair);
  std::erase(world.live_pairs, &pair);
  return 0;
}

FAKE_API const char* ibv_wc_status_str(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return "success";
    case IBV_WC_LOC_PROT_ERR:
      return "local protection error";
    case IBV_WC_WR_FLUSH_ERR:
      return "flushed";
    case IBV_WC_REM_ACCESS_ERR:
      return "remote access error";
    case IBV_WC_REM_INV_REQ_ERR:
      return "remote invalid request";
    case IBV_WC_RETRY_EXC_ERR:
      return "transport retry counter exceeded";
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return "receiver not ready, retries exceeded";
    default:
      return "error";
  }
}
