// QueuePair, CompletionQueue, CompletionChannel: verbs objects that end with their owners.
//
// Making and ending them are calls into the device (up to milliseconds): not on a loop, but for an
// owner that cannot wait. Posting and polling cost nothing of the kind: ibv_post_send,
// ibv_post_recv, ibv_poll_cq on get().
#pragma once

#include "verbs/nic.h"

namespace gd2fs::verbs {

// Tells of completions by a readable fd.
class CompletionChannel {
 public:
  static Result<std::unique_ptr<CompletionChannel>> make(std::shared_ptr<const Nic> nic);
  ~CompletionChannel();
  CompletionChannel(const CompletionChannel&) = delete;
  CompletionChannel& operator=(const CompletionChannel&) = delete;
  int fd() const { return channel_->fd; }  // non-blocking
  ibv_comp_channel* get() const { return channel_; }
  // Takes one event off the fd; false: there is none.
  bool take_event();

 private:
  CompletionChannel(std::shared_ptr<const Nic> nic, ibv_comp_channel* channel)
      : nic_(std::move(nic)), channel_(channel) {}
  std::shared_ptr<const Nic> nic_;
  ibv_comp_channel* channel_;
};

class CompletionQueue {
 public:
  // The channel must outlive it.
  static Result<std::unique_ptr<CompletionQueue>> make(std::shared_ptr<const Nic> nic, int entries,
                                                       CompletionChannel& channel);
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  ibv_cq* get() const { return queue_; }

 private:
  CompletionQueue(std::shared_ptr<const Nic> nic, ibv_cq* queue)
      : nic_(std::move(nic)), queue_(queue) {}
  std::shared_ptr<const Nic> nic_;
  ibv_cq* queue_;
};

// Where a queue pair is, for its peer.
struct QueuePairAddress {
  LinkLayer link_layer = LinkLayer::ethernet;
  uint16_t lid = 0;  // of InfiniBand
  ibv_gid gid{};
  uint32_t number = 0;
  uint32_t first_packet = 0;  // 24 bits, random
  ibv_mtu mtu = IBV_MTU_1024;
  uint8_t reads_max = 1;  // that it answers at once
};

// A reliable connection (RC). It is used once: made, connected, and when anything fails, ended.
class QueuePair {
 public:
  struct Depths {
    uint32_t sends = 0;
    uint32_t receives = 0;
  };
  // Can receive (INIT): buffers may be posted. The queue must outlive it. unavailable: the port is
  // down.
  static Result<std::unique_ptr<QueuePair>> make(const std::shared_ptr<const Nic>& nic,
                                                 CompletionQueue& queue, Depths depths,
                                                 uint32_t first_packet);
  // After this, and until the memory is withdrawn by other means, nothing of this connection
  // touches any memory: the device has ended what was under way.
  ~QueuePair();
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;

  QueuePairAddress address() const;
  // To ready-to-send, with both sides' limits respected. unsupported: the peer's link layer is
  // another.
  Status connect(const QueuePairAddress& peer);
  // No byte is moved any more; what is posted is flushed.
  void stop();
  ibv_qp* get() const { return pair_; }

 private:
  QueuePair(std::shared_ptr<const Nic> nic, ibv_qp* pair, const PortPlace& place,
            uint32_t first_packet)
      : nic_(std::move(nic)), pair_(pair), place_(place), first_packet_(first_packet) {}
  ibv_ah_attr way_to(const QueuePairAddress& peer) const;
  Status modify(ibv_qp_attr& attributes, int mask, const char* what);
  std::shared_ptr<const Nic> nic_;
  ibv_qp* pair_;
  PortPlace place_;
  uint32_t first_packet_;
};

}  // namespace gd2fs::verbs
