// For tests: a client's end of an RDMA session, without manners. It has proved the token as any
// client does; then it names what keys and addresses it likes, and reads and writes by itself. Its
// protection domain is its own, as that of another process is. One loop.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/crc32c.h"
#include "fabric/rdma_handshake.h"
#include "fabric/tcp_connect.h"

namespace gd2fs {

class RawRdmaEnd final : private RdmaQueue::Owner {
 public:
  RawRdmaEnd(Loop& loop, Worker& worker) : loop_(loop), worker_(worker), ports_(loop, memory_) {}
  ~RawRdmaEnd() {
    leave();
    ports_.end_worker();
    while (ports_.closing() > 0) (void)loop_.run_queued();
  }
  RawRdmaEnd(const RawRdmaEnd&) = delete;
  RawRdmaEnd& operator=(const RawRdmaEnd&) = delete;

  // To "rdma://..."; outcome() once the loop has turned for long enough.
  void join(ConnectOptions options) {
    leave();
    outcome_.reset();
    options.address.replace(0, 4, "tcp");
    options.lanes = 0;
    loop_.spawn(run(this, std::move(options)));
  }
  const std::optional<Status>& outcome() const { return outcome_; }
  void leave() {
    if (queue_ != nullptr) queue_->detach();
    queue_.reset();
    lifeline_.reset();
    received_.clear();
    replies_ = moves_ = 0;
  }
  // What it tells of itself at the next join(): so many messages may be on their way to it.
  uint32_t buffers = RdmaQueue::kBuffers;
  // What it tells too, and does all the same.
  bool solicits = true;
  // False: what arrives stays in its buffers until read().
  bool reads_at_once = true;
  // Its queue pair carries something.
  bool open() const { return queue_ != nullptr && queue_->ok(); }
  const Status& broken() const { return queue_->broken(); }

  // --- memory, registered with its NIC, and the key to it; only while it has joined once ---
  Status add(Bytes bytes) {
    return memory_.add({.address = bytes.data(), .length_bytes = bytes.size(), .for_peers = true});
  }
  void remove(Bytes bytes) { memory_.remove({.address = bytes.data()}); }
  RemoteSegment segment(Bytes bytes) const {
    return {reinterpret_cast<uintptr_t>(bytes.data()), bytes.size(), find(bytes).remote_key, 0};
  }

  // --- what it does; each of these in one message or work request ---
  // A request for bytes into that memory, or out of it, by the keys that are named.
  void ask(uint64_t request_id, uint16_t type, bool source, const RemoteSegment& segment,
           ConstBytes body) {
    FrameHeader header;
    header.kind = FrameKind::window;
    header.type = source ? kWindowSource : 0;
    header.request_id = request_id;
    header.offset = sizeof segment;
    header.length = type;
    const ConstBytes list = as_bytes(&segment, sizeof segment);
    std::vector<std::byte> all(list.begin(), list.end());
    all.insert(all.end(), body.begin(), body.end());
    CHECK(send(header, all));
  }
  // A request without a window; false: no message can be sent now.
  bool ask(uint64_t request_id, uint16_t type, ConstBytes body) {
    FrameHeader header;
    header.type = type;
    header.request_id = request_id;
    return send(header, body);
  }
  void read() {
    std::byte bytes[4096];
    iovec part{bytes, sizeof bytes};
    while (const size_t count = queue_->receive({&part, 1})) {
      received_.insert(received_.end(), bytes, bytes + count);
    }
    while (received_.size() >= sizeof(FrameHeader)) {
      const Result<FrameHeader> header = decode_frame_header(received_.data());
      CHECK(header.has_value());
      const size_t total = sizeof(FrameHeader) + header->body_bytes + header->payload_bytes;
      if (received_.size() < total) break;
      replies_ += header->kind == FrameKind::reply;
      received_.erase(received_.begin(), received_.begin() + static_cast<ptrdiff_t>(total));
    }
    queue_->post();  // credit
  }
  // Says nothing, but brings back the credit for what was read, however little.
  void return_credit() {
    FrameHeader header;
    header.kind = FrameKind::pong;
    (void)send(header, {});
  }
  // A WRITE of its own memory into the server's, or a READ of that.
  void reach(bool write, Bytes local, uint64_t remote, uint32_t remote_key) {
    const RdmaQueue::Range range{local.data(), find(local).local_key, remote, remote_key,
                                 static_cast<uint32_t>(local.size())};
    if (write) {
      queue_->write(range, push_, 1);
    } else {
      queue_->read(range, pull_);
    }
    queue_->post();
  }

  // --- what has come of it ---
  size_t replies() const { return replies_; }
  size_t moves() const { return moves_; }  // its own that its NIC reports as done

 private:
  // Greets as RdmaConnect does, and keeps the queue pair to itself.
  class Greeter final : public TcpConnect {
   public:
    Greeter(RawRdmaEnd& end, ConnectOptions options)
        : TcpConnect(end.loop_, end.worker_, TcpOptions(), std::move(options)), end_(end) {}

   private:
    Task<Status> begin_session(TcpGreeting* greeting, Peer, Greeted*) override {
      Result<std::string> host = local_host_of(greeting->socket().fd());
      if (!host.has_value()) co_return host.error();
      Result<RdmaShared> shared = co_await end_.ports_.find(*host);
      if (!shared.has_value()) co_return shared.error();
      end_.port_ = shared->port;
      Result<std::unique_ptr<RdmaQueue>> queue = co_await make_rdma_queue(&loop_, *shared);
      if (!queue.has_value()) co_return queue.error();
      const std::vector<std::byte> ours = end_.pack(**queue);
      Status status = greeting->say(FrameKind::message, msg::Type::queue_pair, ours);
      if (!status.ok()) co_return status;
      Await heard;
      greeting->hear(heard.done());
      status = co_await heard;
      if (status.ok()) status = check_greeting_reply(*greeting, msg::Type::queue_pair);
      if (!status.ok()) co_return status;
      const Result<RdmaPeer> theirs = open_queue_pair(greeting->body());
      if (!theirs.has_value()) co_return theirs.error();
      status = (*queue)->join(*end_.port_, *theirs);
      if (status.ok()) status = co_await prove_rdma_queue(&loop_, queue->get(), deadline_ns());
      if (!status.ok()) co_return status;
      end_.queue_ = std::move(*queue);
      end_.queue_->set_owner(&end_);
      end_.queue_->look_again();
      end_.lifeline_.emplace(greeting->take());
      co_return Status();
    }
    RawRdmaEnd& end_;
  };
  static Task<void> run(RawRdmaEnd* end, ConnectOptions options) {
    Greeter greeter(*end, std::move(options));
    Result<std::unique_ptr<Session>> none = co_await greeter.run();
    end->outcome_ = none.has_value() ? Status() : none.error();
  }
  std::vector<std::byte> pack(const RdmaQueue& queue) const {
    const std::vector<std::byte> packed = pack_queue_pair(queue);
    msg::QueuePairT out;
    open_body<msg::QueuePair>(packed)->UnPackTo(&out);
    out.buffers = buffers;
    out.solicits = solicits;
    return pack_body(out);
  }
  // One frame in one message.
  bool send(FrameHeader header, ConstBytes body) {
    if (!queue_->has_room()) return false;
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.body_crc = body.empty() ? 0 : crc32c(body);
    std::vector<std::byte> frame(sizeof header);
    encode_frame_header(header, frame.data());
    frame.insert(frame.end(), body.begin(), body.end());
    iovec part{frame.data(), frame.size()};
    CHECK(queue_->send({&part, 1}) == frame.size());
    queue_->post();
    return true;
  }
  RdmaMemory::Part find(Bytes bytes) const {
    return memory_.find(port_->nic(), bytes.data(), bytes.size(), 0);
  }

  void on_work_done(const RdmaQueue::Work&) override { ++moves_; }
  bool waits_for_work() const override { return true; }
  void on_queue_ready() override {
    if (queue_->ok() && reads_at_once) read();
  }

  Loop& loop_;
  Worker& worker_;
  RdmaMemory memory_;
  RdmaPorts ports_;
  std::shared_ptr<RdmaPort> port_;
  std::unique_ptr<RdmaQueue> queue_;
  std::optional<TcpSocket> lifeline_;
  std::optional<Status> outcome_;
  Push push_;
  Pull pull_;
  std::vector<std::byte> received_;
  size_t replies_ = 0;
  size_t moves_ = 0;
};

}  // namespace gd2fs
