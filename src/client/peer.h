// Peer: somebody the client asks: the controllers of the deployment, or one data server. Queues
// exchanges until a connection and credit allow, spreads them over its links (one per local NIC;
// those for GPU memory over the links that are nearest to it) by when they will have arrived, and
// retries: after a lost connection at once, after `busy` with growing pauses, until the owner gives
// up. What must reach GPU memory waits beside the queues, holding up nobody, while no open link
// does and another may come to be open.
//
// Credit: so many bytes are asked for and not yet answered. Of reads at most kReadCreditBytes, so
// that many servers cannot drown one client (incast); all peers together have a budget per local
// NIC (nic_credit.h). Of writes, whose bytes the server fetches when it has room,
// kWriteCreditBytes. Small exchanges need no credit and never queue behind big ones, nor reads
// behind writes. Belongs to one loop.
#pragma once

#include <memory>
#include <vector>

#include "client/link.h"
#include "client/sequences.h"

namespace gd2fs::client {

class Peer final : public Link::Owner {
 public:
  static constexpr uint64_t kReadCreditBytes = 64 << 20;
  // While a commit holds half of them (a flush takes as long as what the drive was given before it)
  // the other half keeps the drive busy.
  static constexpr uint64_t kWriteCreditBytes = 2 * kReadCreditBytes;
  static constexpr uint64_t kSmallBytes = 64 << 10;
  static constexpr uint64_t kPauseMinNs = 500 * kUs;
  static constexpr uint64_t kPauseMaxNs = 100 * kMs;

  // Told of every failed attempt and lost connection: the peer may have moved.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void on_peer_trouble(Peer& peer) = 0;
  };

  Peer(Loop& loop, Fabric& fabric, Random random, std::vector<LinkOptions> links,
       uint64_t sequences_open_max, Watcher* watcher);
  ~Peer() override;

  void start(Exchange& exchange);
  // Gives up; `done` completes soon with `canceled`, or with the answer if that came first. Nothing
  // happens to an exchange that is idle.
  void cancel(Exchange& exchange);

  // Sequences of mutations for this peer. take: 0 when too many are open; compose() answers
  // no_sequence() then, and is asked again when there is room.
  uint64_t take_sequence() { return sequences_.take(); }
  void end_sequence(uint64_t sequence);
  uint64_t low_sequence() const { return sequences_.low(); }
  static Status no_sequence() { return {StatusCode::busy, "too many open sequences"}; }

  void set_addresses(const std::vector<std::string>& addresses);
  // Ends the sessions that have answered nothing for so long, if there are other addresses to try.
  void fail_over_if_silent(uint64_t silent_ns);
  // Some link is open.
  bool reachable() const;
  // All its links go, or will go as far as is known, from NIC to NIC.
  bool by_nics() const;
  // It is on this host, and all its open links go through shared memory.
  bool shares_memory() const;
  // Of every open link.
  std::vector<SharedStaging> staging() const;
  // Why the last attempt to connect failed, or the last connection ended.
  Status last_failure() const;
  // What keeps this exchange from being sent, as far as it is known: no link is open, or none that
  // reaches its memory.
  Status trouble(const Exchange& exchange) const;
  // The server does not know this file's handle: present the capability again.
  void forget_handle(uint64_t inode);

  bool wants_link() const override {
    return !small_.empty() || !reads_.waiting.empty() || !writes_.waiting.empty() ||
           !unreached_.empty();
  }
  void on_link_open(Link& link) override;
  void on_link_failed(Link& link, const Status& why, bool last_word) override;
  void on_link_closed(Link& link, const Status& why) override;
  void on_link_credit(Link&) override { pump(); }
  void on_settled(Exchange& exchange, bool lost) override;

 private:
  // Of the exchanges that need credit those of one direction.
  struct Flow {
    uint64_t bytes_max;
    uint64_t used_bytes = 0;
    List<Exchange> waiting = {};
    // Something always may, however big.
    bool allows(uint64_t bytes) const { return used_bytes == 0 || used_bytes + bytes <= bytes_max; }
  };

  bool small(const Exchange& exchange) const { return exchange.credit_bytes <= kSmallBytes; }
  Flow& flow_of(const Exchange& exchange) { return exchange.writes() ? writes_ : reads_; }
  List<Exchange>& queue_of(const Exchange& exchange);
  void queue(Exchange& exchange);
  void pump();
  void pump(List<Exchange>& from);
  bool start_now(Exchange& exchange);
  bool send(Link& link, Exchange& exchange);
  void on_room(Completion&) { pump(); }
  void pause(Exchange& exchange);
  void end(Exchange& exchange);
  // With *waits, no link: what is open does not reach it, and another may come to be open.
  Link* pick(const Exchange& exchange, bool* waits);
  bool link_may_open() const;
  void queue_unreached();
  static void on_pause_over(void* exchange, Completion&);

  Loop& loop_;
  Watcher* watcher_;
  std::vector<std::unique_ptr<Link>> links_;
  List<Exchange> small_;
  Flow reads_{kReadCreditBytes};
  Flow writes_{kWriteCreditBytes};
  List<Exchange> unreached_;  // until a link opens or closes, or none may open any more
  Sequences sequences_;
  bool out_of_sequences_ = false;
  Completion room_;
  flatbuffers::FlatBufferBuilder builder_;
};

}  // namespace gd2fs::client
