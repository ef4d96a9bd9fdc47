// TcpSession: a Session over one or more byte streams (lanes), TCP connections as a rule. See
// fabric.h for what it promises and docs/protocol.md for what goes over the wire. Made by
// TcpFabric. ShmSession adds to it what shared memory makes possible.
//
// Messages, replies and pulls go over lane 0, in order. Bytes are cut into stripes late: whichever
// lane's socket takes bytes gets the next stripe, so that the fastest lane carries most and a
// reply need not wait behind bytes that were queued long ago. Where the process has threads for it
// (TcpOptions::pumps), they move the lanes but the first; everything else stays on the loop.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "base/id_map.h"
#include "fabric/bulk_lanes.h"
#include "fabric/log_limit.h"
#include "fabric/tcp_lane.h"

namespace gd2fs {

class TcpSession;

struct TcpOptions {
  // A session that carries bytes gets at least this many lanes, whatever its owner asked for.
  uint32_t lanes_min = LanePumps::kLanesMin;
  // Threads for the lanes of sessions that have several, shared by all of them, by several fabrics
  // of one loop too; null: the loop moves everything.
  std::shared_ptr<LanePumps> pumps;
  // So much must wait to be sent before these are woken for it: that takes 60 to 300 us each.
  uint64_t pumps_from_bytes = 2 << 20;
  uint64_t ping_after_ns = 2 * kSecond;  // of silence on a lane
  uint64_t dead_after_ns = 5 * kSecond;
  uint32_t greetings_max = 256;  // connections that have not yet proved themselves
};

// The sessions that a listener has let in, by number; lives as long as any of them.
struct TcpSessions {
  std::unordered_map<uint64_t, TcpSession*> by_number;
};

class TcpSession : public Session {
 public:
  static constexpr size_t kReplyReserveBytes = kSendQueueMaxBytes;  // beyond what send() may use
  // Sent before others get their turn: a drive that has ended all it had waits for the next
  // transfers, and 1 MiB takes 0.2 ms.
  static constexpr uint64_t kFlushTurnBytes = 256 * 1024;
  static constexpr uint64_t kFlushTurnBesidePumpsBytes = 512 * 1024;
  static constexpr size_t kFramesAtOnce = 16;           // in a lane; more wait in the session
  static constexpr size_t kWordsPerTurn = 256;          // of the bulk lanes
  static constexpr size_t kSmallPushBytes = 64 * 1024;  // sent before larger ones, over lane 0
  static constexpr size_t kAnswersMax = 65536;          // stripes that the peer asked for at once

  TcpSession(Loop& loop, const TcpOptions& options, Peer peer, uint64_t number, uint32_t lanes,
             std::string session_key);
  ~TcpSession() override;

  // --- for the listener and connect ---
  uint64_t number() const { return number_; }
  uint32_t lanes() const { return static_cast<uint32_t>(lanes_.size()); }
  const std::string& session_key() const { return session_key_; }
  void enter(std::shared_ptr<TcpSessions> sessions);
  // exists: that lane is there. Lane 0 comes first; the session lives from start() on.
  Status check_lane(uint16_t index) const;
  Status add_lane(uint16_t index, TcpSocket socket);
  Status add_lane(uint16_t index, std::unique_ptr<LaneStream> stream);
  Status start();
  // What the peer's Welcome allows us.
  void set_eager_max_bytes(uint32_t bytes);

  // --- Session ---
  const Peer& peer() const override { return peer_; }
  bool open() const override { return !closing_; }
  std::string_view path() const override { return "tcp"; }
  Status send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) override;
  Status reply(uint16_t type, uint64_t request_id, ConstBytes body) override;
  void expose(Window& window) override;
  void withdraw(Window& window, Completion& done) override;
  bool let_go(Window& window) override;
  void push(Push& push) override;
  void pull(Pull& pull) override;
  void drop_request(uint64_t request_id) override;
  void close(Status reason) override;

  // --- for its lanes ---
  Result<Landing> on_header(TcpLane& lane, const FrameHeader& header);
  Status on_frame(TcpLane& lane, InFrame& frame);
  void on_room() { kick(); }
  void fail(const Status& reason);  // what the peer or the network did wrong

 protected:
  // A frame of a kind that only some sessions know. An error ends the session.
  virtual Status take_special(InFrame& frame);
  // Asks the peer for more of a pull.
  virtual void ask(Pull& pull);
  // The peer has withdrawn the window of a pull that was asked for with this header.
  virtual Status take_pull_gone(const FrameHeader& header);
  // Of the bytes pushed or pulled for a request those that went another way than through frames.
  virtual uint64_t direct_bytes(uint64_t /*request_id*/) const { return 0; }
  // Whether a message with such a body can be taken now.
  Status may_send(size_t body_bytes) const;
  // The request that a push belongs to; nullptr: the push has been completed already.
  struct Incoming;
  Incoming* begin_push(Push& push);
  // nullptr: there is none, or not any more.
  Window* window_of(uint64_t request_id) {
    Window** const found = windows_.find(request_id);
    return found == nullptr ? nullptr : *found;
  }
  // All that withdraw() does but for the completion.
  void forget_window(Window& window);
  virtual Status take_reply(InFrame& frame);
  virtual void on_second() {}  // about once in a second, while all is well
  // Completes on_closed; later if something still touches memory.
  virtual void end_close() { loop_.complete(closed_, Status()); }
  // Bytes of a window are in its memory: a reply may have waited for them.
  Status stripe_landed(uint64_t request_id, Window& window, uint64_t offset, uint64_t length_bytes);
  Status landed(uint64_t request_id, Window& window, uint64_t length_bytes);

  struct Incoming {  // a request of the peer
    bool replied = false;
    uint64_t pushed_bytes = 0;
    uint32_t pushes = 0;  // not yet done
    bool has_eager = false;
    std::vector<std::byte> eager;
    List<Pull> pulls;
    void drop_eager() {
      eager = {};
      has_eager = false;
    }
  };
  struct Answer {  // a stripe that the peer pulls
    Window* window;
    uint64_t offset;
    uint64_t length_bytes;
  };
  struct HeldReply {
    uint16_t type = 0;
    uint64_t pushed_bytes = 0;
    std::vector<std::byte> body;
  };

  // tcp_session.cc
  void kick();
  virtual void on_flush(Completion&);
  void on_closed(Completion&);
  void on_tick(Completion&);
  bool flush_lane(TcpLane& lane, uint64_t* written_bytes);
  void send_first(TcpLane& lane);
  void on_frame_sent(TcpLane& lane, OutFrame& frame);
  void stripe_sent(Push* push, Window* window, uint64_t length_bytes);
  void on_bulk_word();
  void send_last_words();
  // The header's lengths and checksums are filled in. `list`: what the frame's body has in front of
  // `body`.
  void queue_frame(FrameHeader& header, ConstBytes body, ConstBytes eager = {},
                   ConstBytes list = {});
  void queue_bare(TcpLane& lane, FrameKind kind);
  void release_eager(uint64_t request_id);
  // tcp_receive.cc
  Pull* find_pull(const FrameHeader& header, uint64_t length_bytes, Bytes* place);
  Result<Landing> land_stripe(const FrameHeader& header);
  Landing land_pulled(const FrameHeader& header);
  Status take_message(InFrame& frame);
  Status take_stripe(InFrame& frame);
  Status take_pull(const FrameHeader& header);
  Status take_pulled(InFrame& frame);
  void pulled_arrived(Pull& pull, uint64_t offset, bool right);
  Status take_arrived(const BulkBoard::Arrived& arrived);
  // tcp_transfers.cc
  bool next_stripe(TcpLane& lane);
  bool has_large() const { return !answers_.empty() || !large_pushes_.empty(); }
  bool next_large(OutStripe* stripe);
  void feed_bulk_lanes();
  OutStripe take_push_stripe(List<Push>& from);
  OutStripe take_answer();
  void forget_unsent(Window& window);
  void forget_answers(Window& window, std::vector<PullRange>* gone);
  void forget(Pull& pull);
  void finish_push(Push& push);
  void finish_pull(Pull& pull, Status status);
  void forget_if_done(uint64_t request_id, Incoming& request);
  Status send_gone(uint64_t request_id, uint64_t offset, uint64_t length_bytes, uint16_t slot = 0);

  Loop& loop_;
  const TcpOptions options_;
  Peer peer_;
  const uint64_t number_;
  const std::string session_key_;
  std::shared_ptr<TcpSessions> sessions_;
  std::vector<std::unique_ptr<TcpLane>> lanes_;  // null: not joined yet, or a bulk lane
  std::unique_ptr<BulkLanes> bulk_;              // null: the loop moves all lanes
  bool started_ = false;
  bool closing_ = false;
  bool about_to_flush_ = false;  // what is queued now leaves at once
  bool first_at_once_ = false;   // lane 0 writes cheaply
  Status close_reason_;
  Completion closed_;
  Completion flush_;
  Timer tick_;
  LogLimit log_limit_;

  std::deque<OutFrame> messages_;  // for lane 0, which has enough to do already
  size_t message_bytes_ = 0;       // of those and of the ones a lane is sending

  IdMap<Window*> windows_;
  std::unordered_map<uint64_t, HeldReply> held_;
  std::unordered_map<uint64_t, uint64_t> eager_out_;  // bytes, by request
  uint64_t eager_out_bytes_ = 0;
  uint64_t eager_max_bytes_ = kEagerTotalMaxBytes;
  std::deque<Answer> answers_;

  IdTable<Incoming> incoming_;
  size_t unanswered_ = 0;
  uint64_t eager_in_bytes_ = 0;
  List<Push> small_pushes_;  // with bytes left to cut
  List<Push> large_pushes_;
  List<Push> flying_pushes_;  // cut, and a lane still needs their memory
};

}  // namespace gd2fs
