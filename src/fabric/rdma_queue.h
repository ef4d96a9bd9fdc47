// RdmaQueue: one queue pair with its message buffers and credits: a byte stream in messages of up
// to kBufferBytes, and WRITEs and READs of bulk data, in one order.
//
// A message needs one of the peer's kBuffers buffers. How many were emptied and posted again is
// told with each message, or by one without bytes when half of them were; for those kCreditBuffers
// more are posted, so that both sides can always tell.
//
// What is posted leaves with post(), in one chain, whose last work request alone asks for a
// completion: completions come in order, so it stands for all before it. A chain of nothing but
// messages asks for none as a rule: nobody waits for a message to have left, and a client would be
// woken once more for each of its requests. A work request's fate is
// told to the owner exactly once, but not after the queue broke or was detached: then whoever holds
// its memory waits until the RdmaQueue is destroyed.
//
// make() and the destructor block (milliseconds): on a worker. The rest on the port's loop.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "fabric/rdma_port.h"

namespace gd2fs {

struct Push;
struct Pull;

// What a peer has told of its queue pair.
struct RdmaPeer {
  verbs::QueuePairAddress address;
  uint32_t buffers = 0;   // for messages
  bool solicits = false;  // its messages with bytes are solicited events
};

class RdmaQueue : public ListNode<> {
 public:
  static constexpr uint32_t kBufferBytes = 8 * 1024;
  static constexpr uint32_t kBuffers = 32;  // messages on their way, each way
  static constexpr uint32_t kCreditBuffers = 4;
  static constexpr uint32_t kDataWorkMax = 128;  // WRITEs and READs posted
  static constexpr uint32_t kSendDepth = kDataWorkMax + kBuffers + kCreditBuffers;
  static constexpr uint32_t kReceiveDepth = kBuffers + kCreditBuffers;
  static constexpr uint32_t kSignalEvery = 32;
  static constexpr uint32_t kQuietMax = 8;  // work requests in a row that ask for no completion
  static constexpr uint32_t kRing = 256;    // a power of two: indices wrap around
  static_assert(kRing >= kSendDepth);
  static constexpr int kEntries = kSendDepth + kReceiveDepth;  // of a completion queue

  // One posted work request.
  struct Work {
    Push* push = nullptr;  // a WRITE of it, and of others up to `pushes` together, or
    uint32_t pushes = 0;
    Pull* pull = nullptr;  // a READ, or neither: a message
    uint32_t length_bytes = 0;
    bool buffer = false;  // that holds one of ours
    bool credit = false;  // that only returns credit
  };
  class Owner {
   public:
    // A WRITE or READ is done. Must not end the queue.
    virtual void on_work_done(const Work& work) = 0;
    // There is something to read, or room, or the queue is broken.
    virtual void on_queue_ready() = 0;
    // Whether somebody waits for the end of what was posted. If not, only a message of the peer's
    // wakes the loop (RdmaPort::arm).
    virtual bool waits_for_work() const = 0;

   protected:
    ~Owner() = default;
  };

  // Uses kEntries of `completions`; hold() keeps them.
  static Result<std::unique_ptr<RdmaQueue>> make(const std::shared_ptr<const verbs::Nic>& nic,
                                                 verbs::CompletionQueue* completions,
                                                 uint32_t first_packet);
  ~RdmaQueue();
  RdmaQueue(const RdmaQueue&) = delete;
  RdmaQueue& operator=(const RdmaQueue&) = delete;

  void hold(RdmaEntries entries) { entries_ = std::move(entries); }
  // Whoever destroys the queue elsewhere than on the loop takes them before, and lets them go
  // after.
  RdmaEntries take_entries() { return std::move(entries_); }
  verbs::QueuePairAddress address() const { return pair_->address(); }
  // Begins: receives are posted, the pair is connected to this peer.
  Status join(RdmaPort& port, const RdmaPeer& peer);
  // Once joined. Without an owner what happens is kept until look_again().
  void set_owner(Owner* owner) { owner_ = owner; }
  bool joined() const { return port_ != nullptr; }
  // Sends a message without bytes. answered(), and on_queue_ready(): the peer's NIC has taken it,
  // so packets pass, both ways. Or the queue breaks.
  void knock();
  bool answered() const { return done_ > 0; }
  // No calls to the owner any more.
  void detach();

  // Bytes of a message taken: 0 if there is no room now.
  size_t send(std::span<iovec> parts);
  bool has_room() const { return ok() && buffers_free_ > 0 && credits_ > 0; }
  // Received bytes put into `parts`: 0 if there are none.
  size_t receive(std::span<iovec> parts);
  bool has_received() const { return !received_.empty(); }

  bool can_move() const { return ok() && data_work_ < kDataWorkMax; }
  struct Range {
    std::byte* local = nullptr;
    uint32_t local_key = 0;
    uint64_t remote = 0;
    uint32_t remote_key = 0;
    uint32_t length_bytes = 0;
  };
  void write(const Range& range, Push& push, uint32_t pushes);
  void read(const Range& range, Pull& pull);
  // Hands what was added to the NIC.
  void post();
  // It will be told on_queue_ready() once more.
  void look_again() { port_->make_ready(*this); }
  // Takes what the NIC has completed, of all queues of the port. May end this one.
  void poll_port() { port_->poll(); }

  bool ok() const { return broken_.ok(); }
  const Status& broken() const { return broken_; }

  // --- for the port ---
  // Whether each completion is to wake the loop, and not messages of the peer's alone.
  bool needs_each_completion() const {
    return !ok() || !peer_solicits_ || owner_ == nullptr || !has_room() || !can_move() ||
           credit_work_ > 0 || owner_->waits_for_work();
  }
  // WRITEs or READs are posted: their memory is held until they are found to be done.
  bool holds_memory() const { return data_work_ > 0; }
  // It will carry nothing more: breaks, and says so to its owner.
  void cut(const Status& why) { break_off(why); }
  bool is(const ibv_qp* pair) const { return pair_->get() == pair; }
  void attached(uint16_t slot, uint16_t generation);
  uint16_t slot() const { return slot_; }
  void on_completion(const ibv_wc& completion);
  void on_ready() {
    if (owner_ != nullptr) owner_->on_queue_ready();
  }

 private:
  struct Received {
    uint32_t buffer = 0;
    uint32_t length_bytes = 0;
    uint32_t taken_bytes = 0;
  };
  RdmaQueue() = default;
  uint64_t id_of(uint32_t index) const { return id_base_ | index; }
  ibv_send_wr& add(const Work& work, ibv_wr_opcode opcode);
  void add_message(uint32_t buffer, uint32_t length_bytes);
  void add_move(const Range& range, ibv_wr_opcode opcode, const Work& work);
  Status post_receive(uint32_t buffer);
  void retire(uint32_t index);
  void take_received(const ibv_wc& completion);
  void break_off(Status why);

  std::shared_ptr<const verbs::Nic> nic_;
  RdmaEntries entries_;
  std::byte* buffers_ = nullptr;  // kReceiveDepth to receive into, then kBuffers to send from
  std::unique_ptr<verbs::MemoryRegion> region_;
  uint32_t message_key_ = 0;  // of them
  std::unique_ptr<verbs::QueuePair> pair_;
  RdmaPort* port_ = nullptr;
  Owner* owner_ = nullptr;
  uint16_t slot_ = 0;
  uint64_t id_base_ = 0;
  Status broken_;

  // Work requests by index, modulo kRing: done_ <= posted_ <= added_.
  uint32_t added_ = 0;
  uint32_t posted_ = 0;
  uint32_t done_ = 0;
  uint32_t signaled_ = 0;      // behind the last that asked for a completion
  bool wants_signal_ = false;  // something added waits for its completion
  uint32_t data_work_ = 0;
  Work work_[kRing];
  ibv_send_wr requests_[kRing] = {};
  ibv_sge parts_[kRing];

  uint32_t next_buffer_ = 0;  // to send from; they are used in turn
  uint32_t buffers_free_ = kBuffers;
  uint32_t peer_buffers_ = 0;
  bool peer_solicits_ = false;
  uint32_t credits_ = 0;      // messages that the peer has buffers for
  uint32_t credit_work_ = 0;  // messages that only return credit, posted
  uint32_t to_return_ = 0;    // buffers emptied and posted again since we said so
  std::deque<Received> received_;
};

}  // namespace gd2fs
