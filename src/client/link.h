// Link: one standing connection of the client: from one local NIC to one peer, which may have
// several addresses. It connects while its owner wants it, tries the addresses in turn, backs off
// between rounds, and matches replies to exchanges.
//
// Of RDMA links each has a home, the peer's NIC of its own number. One that had to go elsewhere
// looks every kHomeNs, while it is used, whether its home is there again, and moves when nothing is
// under way. Belongs to one loop.
#pragma once

#include <string>
#include <vector>

#include "base/id_map.h"
#include "base/random.h"
#include "client/exchange.h"
#include "client/handles.h"
#include "client/nic_credit.h"
#include "client/rail_speed.h"
#include "fabric/fabric.h"
#include "loop/task_group.h"

namespace gd2fs::client {

// Which of a peer's addresses a link uses: its tcp:// ones; the rdma:// ones first, and TCP as a
// fall-back that is announced; or rdma:// alone.
enum class LinkWay : uint8_t { tcp, rdma_first, rdma_only };

struct LinkOptions {
  std::string name;                    // "controller", "server 3": for messages
  std::vector<std::string> addresses;  // tried in turn
  LinkWay way = LinkWay::tcp;
  uint32_t rail = 0;  // the number of this link; it begins with the peer's NIC of that number
  NicCredit* credit = nullptr;  // of its local NIC, shared by all peers' links; outlives them
  std::string local_address;    // "" for any
  std::string cluster;
  std::string key;
  uint64_t incarnation = 0;
  uint32_t lanes = 1;
  SameHost same_host = SameHost::off;
  uint64_t connect_timeout_ns = 3 * kSecond;
  // Whether anybody asks it how fast or how silent it is: both need the clock, twice per exchange.
  bool timed = true;
  // A server may not know yet of a cluster or token that the controller made a moment ago, so it is
  // believed only when it has refused us this often without ever answering in between.
  uint32_t refusals_max = 1;
};

class Link final : public SessionEvents, public ListNode<NicCreditTag> {
 public:
  static constexpr uint64_t kBackOffMinNs = 5 * kMs;
  static constexpr uint64_t kBackOffMaxNs = 1 * kSecond;
  static constexpr uint64_t kHomeNs = 5 * kSecond;
  // Below kRequestsMax, so that the peer never has to refuse.
  static constexpr size_t kSentMax = kRequestsMax - 24;

  // All calls come from the loop, never inside a call to the link.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual bool wants_link() const = 0;  // asked before each further attempt
    virtual void on_link_open(Link& link) = 0;
    // One attempt has failed. last_word: every address refuses us for good (a wrong token); the
    // link stops trying until it is wanted again.
    virtual void on_link_failed(Link& link, const Status& why, bool last_word) = 0;
    virtual void on_link_closed(Link& link, const Status& why) = 0;
    // Its NIC has credit again after it had none. From the loop, as the rest.
    virtual void on_link_credit(Link& link) = 0;
    // The exchange is not sent any more, exchange.outcome says how it went, and its memory is out
    // of the peer's reach. `lost`: the connection ended before an answer.
    virtual void on_settled(Exchange& exchange, bool lost) = 0;
  };

  Link(Loop& loop, Fabric& fabric, Random random, Owner& owner, LinkOptions options);
  ~Link() override;

  bool open() const { return session_ != nullptr && session_->open(); }
  // Not open, but it may come to be: nobody has refused it for good.
  bool may_open() const { return !open() && !refused_; }
  bool has_room() const { return open() && next_session_ == nullptr && sent_.size() < kSentMax; }
  // False: its NIC has no credit for so many bytes now; on_link_credit() follows. (A write needs
  // none.)
  bool has_credit(const Exchange& exchange);
  size_t sent() const { return sent_.size(); }
  uint64_t sent_bytes() const { return sent_bytes_; }
  uint64_t ever_sent_bytes() const { return ever_sent_bytes_; }
  // 0: not known. (Of one that is timed.)
  double ns_per_byte() const { return speed_.ns_per_byte(loop_.now_ns()); }
  // What it sends windows over are NICs, which reach GPU memory that they know.
  bool by_nic() const { return open() && session_->path() == "rdma"; }
  bool shares_memory() const { return open() && session_->path() == "shm"; }
  // Of all GPU memory among it, the farthest. Nothing: some is out of this link's reach.
  std::optional<uint32_t> distance_to(std::span<const MemorySegment> memory) const;
  Handles& handles() { return handles_; }
  SharedStaging staging() const { return open() ? session_->staging() : SharedStaging(); }
  const LinkOptions& options() const { return options_; }
  const Status& last_failure() const { return last_failure_; }

  // Starts connecting unless it does so already: one attempt at least, and more while its owner
  // wants it. (What it was wanted for may have gone over another link before the first begins.)
  void want();
  void set_addresses(std::vector<std::string> addresses);
  // Ends the session, so that the next address is tried.
  void fail_over(Status why);
  // Since when something is unanswered and no reply has come; UINT64_MAX: nothing is. (Of one that
  // is timed.)
  uint64_t silent_since_ns() const { return sent_.empty() ? UINT64_MAX : silent_since_ns_; }

  // Exposes the window and sends. An error: nothing was sent.
  Status send(Exchange& exchange, ConstBytes body);
  Status tell(msg::Type type, ConstBytes body);
  // Gives up a sent exchange with exchange.outcome already set; on_settled follows.
  void abandon(Exchange& exchange);

  void on_message(Session& session, const Message& message) override;
  void on_reply(Session& session, const Message& reply) override;
  void on_closed(Session& session, const Status& reason) override;

 private:
  Task<void> connect();
  Task<void> go_home();
  void look_home();
  void move_when_quiet();
  void on_move(Completion&);
  void order_addresses();
  void next_address();
  void say_path(const std::string& address);
  ConnectOptions connect_options(const std::string& address) const;
  void take(Exchange& exchange);
  void taken(Exchange& exchange);  // from sent_, before
  void take_credit(uint64_t bytes);
  void give_credit(uint64_t bytes);
  void on_credit(Completion&);
  void withdraw(Exchange& exchange);
  uint64_t back_off_ns();

  Loop& loop_;
  Fabric& fabric_;
  Random random_;
  Owner& owner_;
  LinkOptions options_;
  std::vector<std::string> addresses_;  // those of options_.addresses that are used, in order
  size_t next_address_ = 0;
  bool served_ = false;    // the session has answered something
  uint32_t failures_ = 0;  // in a row
  uint32_t refusals_ = 0;  // of those, what looked like a last word
  bool connecting_ = false;
  bool refused_ = false;  // the last word of every address was no
  Status last_failure_;
  bool said_fall_back_ = false;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Session> next_session_;  // home, while something is still under way on session_
  std::unique_ptr<Session> old_session_;   // while it ends
  uint64_t looked_home_ns_ = 0;
  bool looking_home_ = false;
  bool away_ = false;
  Completion move_;
  Handles handles_;
  IdMap<Exchange*> sent_;
  uint64_t sent_bytes_ = 0;  // of what is in sent_
  uint64_t ever_sent_bytes_ = 0;
  uint64_t credit_bytes_ = 0;  // of its NIC's budget
  uint64_t silent_since_ns_ = 0;
  RailSpeed speed_;
  Completion credit_;
  TaskGroup tasks_;  // last: its frames use all of the above
};

}  // namespace gd2fs::client
