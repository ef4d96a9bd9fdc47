// RdmaSession: a Session over RDMA. A TcpSession whose one lane is a queue pair, with two short
// cuts for bulk bytes: the client tells with its request where its window lies and by which keys,
// the server WRITEs a push there, or READs a pull, itself, and posts the reply behind. What has no
// keys, and what is small, goes through the stream as it would over TCP.
//
// The server is done with a window when its reply has arrived, or when it has answered a recall, or
// when the client's queue pair is destroyed. docs/decisions/021-rdma.md has the reasons. One loop.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

#include "fabric/rdma_memory.h"
#include "fabric/rdma_stream.h"
#include "fabric/tcp_session.h"
#include "loop/worker.h"

namespace gd2fs {

// What the sessions of one NIC share.
struct RdmaShared {
  std::shared_ptr<RdmaPort> port;
  RdmaMemory* memory = nullptr;  // outlives the sessions
  Worker* worker = nullptr;      // ends queue pairs; outlives the sessions
  std::shared_ptr<uint32_t>
      closing;  // what the worker is about to do on its own: to end queue pairs
};

class RdmaSession : public TcpSession, private RdmaQueue::Owner {
 public:
  RdmaSession(Loop& loop, const TcpOptions& options, Peer peer, uint64_t number,
              std::string session_key, RdmaShared shared, std::unique_ptr<RdmaQueue> queue);
  ~RdmaSession() override;
  Status join(TcpSocket socket);
  Status join(std::unique_ptr<RdmaLifeline> lifeline);
  std::string_view path() const override { return "rdma"; }

 protected:
  void on_flush(Completion& done) override;
  void end_close() override;
  // Adds what bulk bytes may be posted now.
  virtual void move_bytes() {}
  virtual bool has_bytes_to_move() const { return false; }
  // The queue pair is destroyed: no memory is touched any more.
  virtual void on_queue_gone() = 0;
  // Destroys it now; for destructors.
  void destroy_queue();
  bool queue_gone() const { return queue_ == nullptr && closer_ == nullptr; }

  RdmaQueue* queue() { return queue_.get(); }
  const verbs::Nic& nic() const { return shared_.port->nic(); }
  // As RdmaMemory's.
  RdmaMemory::Part find_memory(const void* address, uint64_t length_bytes, uint32_t region) {
    return shared_.memory->find(nic(), address, length_bytes, region, known_);
  }
  bool memory_covers(const void* address, uint64_t length_bytes, uint32_t region = 0) {
    return shared_.memory->covers(nic(), address, length_bytes, region, known_);
  }
  RdmaCounters& counters() { return shared_.port->counters(); }
  void send_bare(FrameKind kind, uint64_t request_id);

 private:
  // Ends a queue pair on the worker; outlives the session if need be.
  struct Closer {
    Job job;
    std::unique_ptr<RdmaQueue> queue;
    RdmaSession* session = nullptr;
    RdmaEntries entries;
    std::shared_ptr<uint32_t> closing;
    std::mutex mutex;
    std::condition_variable ended;
    bool gone = false;
    void end();
    void on_done(Completion&);
  };
  void on_queue_ready() override;

  RdmaShared shared_;
  RdmaMemory::Known known_;
  std::unique_ptr<RdmaQueue> queue_;
  Closer* closer_ = nullptr;  // while it works
  RdmaStream* stream_ = nullptr;
};

// The server's end: it moves the bytes.
class RdmaServerSession final : public RdmaSession {
 public:
  static constexpr uint32_t kMoveMaxBytes = 1 << 20;  // of one work request
  static constexpr uint64_t kPostedMaxBytes = 32 << 20;
  static constexpr size_t kWindowsMax = 2 * kRequestsMax;

  using RdmaSession::RdmaSession;
  ~RdmaServerSession() override;
  // The NIC checks what it moves; what must go through the stream gets its checksum here.
  bool wants_crcs() const override { return false; }
  void push(Push& push) override;
  void pull(Pull& pull) override;
  Status reply(uint16_t type, uint64_t request_id, ConstBytes body) override;
  void drop_request(uint64_t request_id) override;

 private:
  // A client's window, from before its request until nothing of it is under way.
  struct Remote {
    bool source = false;
    bool device = false;
    std::vector<RemoteSegment> segments;
    std::vector<uint64_t> ends;  // ends[i]: bytes up to and with segment i
    uint32_t unposted = 0;       // pushes that are not posted as a whole
    uint32_t reads = 0;          // pulls that have not ended
    uint32_t transfers = 0;      // pushes and pulls that have not ended
    uint64_t moved_bytes = 0;
    bool over = false;       // answered or dropped
    bool recalled = false;   // and the client waits to be told the end: counted in recalled_
    bool has_reply = false;  // held until the last of its bytes is posted
    uint16_t reply_type = 0;
    std::vector<std::byte> reply_body;
    uint64_t length_bytes() const { return ends.empty() ? 0 : ends.back(); }
    void reset();  // as new, but for the memory of its lists
  };
  void move_bytes() override;
  bool has_bytes_to_move() const override {
    return !small_writes_.empty() || !reads_.empty() || !large_writes_.empty();
  }
  void on_work_done(const RdmaQueue::Work& work) override;
  // An answered request's WRITEs hold slab and budgets, but nobody here.
  bool waits_for_work() const override {
    return unanswered_ > 0 || recalled_ > 0 || has_bytes_to_move();
  }
  void on_queue_gone() override;
  Status take_special(InFrame& frame) override;
  Status take_window(const InFrame& frame);
  void take_recall(uint64_t request_id);
  uint64_t direct_bytes(uint64_t request_id) const override;
  bool refuse(const Remote* remote, Completion& done);
  bool may_move(const Remote* remote, uint64_t offset, ConstBytes bytes);
  bool next_range(const Remote& remote, uint64_t offset, std::byte* local, uint64_t length_bytes,
                  RdmaQueue::Range* out);
  static bool continues(const Push& first, const Push& second);
  bool write_next(List<Push>& from);
  bool read_next();
  void end_write(Push& push);
  void end_read(Pull& pull, Status status);
  void settle(uint64_t request_id, Remote& remote);

  IdTable<Remote> remotes_;
  size_t recalled_ = 0;  // of them
  uint64_t posted_bytes_ = 0;
  List<Push> small_writes_;  // with bytes left to post
  List<Push> large_writes_;
  List<Push> flying_writes_;  // posted
  List<Pull> reads_;
  List<Pull> flying_reads_;
};

// The client's end: it shows its memory, and gets it back.
class RdmaClientSession final : public RdmaSession {
 public:
  // A server that does not give memory back for so long is cut off.
  static constexpr uint64_t kRecallMaxNs = 500 * kMs;
  // A frame has room for a list and a message; what is longer goes without a list.
  static constexpr size_t kListMax = kRemoteSegmentsMax / 2;
  static constexpr size_t kListedBodyMaxBytes = kFrameBodyMaxBytes / 2;

  RdmaClientSession(Loop& loop, const TcpOptions& options, Peer peer, uint64_t number,
                    std::string session_key, RdmaShared shared, std::unique_ptr<RdmaQueue> queue);
  ~RdmaClientSession() override;
  // A window may lie in GPU memory that is registered with the NIC; unsupported if it is not.
  Status send(uint16_t type, uint64_t request_id, ConstBytes body, Window* window) override;
  void withdraw(Window& window, Completion& done) override;
  bool let_go(Window& window) override { return !window.shown && TcpSession::let_go(window); }
  std::optional<uint32_t> distance_to(const MemorySegment& memory) override;

 private:
  struct Recall {
    uint64_t request_id = 0;
    uint64_t end_ns = 0;
    Completion* done = nullptr;
  };
  bool list(const Window& window);
  void send_with_window(uint16_t type, Window& window, ConstBytes body);
  Status take_special(InFrame& frame) override;
  Status take_reply(InFrame& frame) override;
  void on_work_done(const RdmaQueue::Work&) override {}
  bool waits_for_work() const override { return false; }  // all is told by messages
  void on_queue_gone() override;
  void on_recall_late(Completion&);

  std::vector<RemoteSegment> show_list_;  // of the window that is being shown
  std::deque<Recall> recalls_;            // the oldest first
  Timer recall_late_;
  bool said_copied_ = false;
};

}  // namespace gd2fs
