// Fabric: the door to other processes. Carries small messages and bulk bytes between two peers that
// have proved who they are; tcp and shm here, rdma later, sim in sim/, all behind these classes.
//
// The one rule that makes RDMA, shared memory and TCP alike: **the requester exposes memory, the
// responder moves the bytes.** A requester opens a Window (memory for one request), sends the
// request, and the responder push()es into that window or pull()s from it. A reply is delivered
// only after every byte pushed for its request has landed. Once withdraw() has completed, nothing
// of this session touches the window's memory again; that is what makes timeouts, cancels and
// deregistration safe.
//
// A Session is one authenticated pairing with one incarnation of a peer, over one or more lanes. It
// is one-shot: when any lane fails the whole session closes, everything pending ends with
// `unavailable`, and the owner connects anew. Thread rule: a session and all handed to it belong to
// one loop.
//
// Order: messages and replies of one session arrive in the order sent; bytes take any way, only a
// reply waits for the bytes of its own request. Requests are numbered by the side that sends them.
// A responder may hold kRequestsMax unanswered requests; the next is answered `busy` for it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/list.h"
#include "base/shared_arena.h"
#include "base/small_vector.h"
#include "base/status.h"
#include "loop/loop.h"
#include "loop/task.h"
#include "wire/frame.h"

namespace gd2fs {

class Session;

// A message or reply as it arrived; body is verified against its crc, not yet as FlatBuffers, is
// 8-byte aligned, and is valid only during the call.
struct Message {
  FrameKind kind = FrameKind::message;
  uint16_t type = 0;
  uint64_t request_id = 0;
  ConstBytes body;
};

struct MemorySegment {
  std::byte* data = nullptr;
  uint64_t length_bytes = 0;
  // GPU memory: its GpuTarget (gpu/gpu.h) and what tells registrations apart. In a window only for
  // a session that reaches GPUs by itself; the others are given host memory in its place.
  uint32_t target = 0;  // 0: host memory
  uint32_t region = 0;
};

using MemorySegments = SmallVector<MemorySegment, 2>;

// A range of a window whose bytes lie, or have to get, into memory that the peer shares with us.
// The session's own; out of its hands from take() until done, or until take_back() says true.
struct StraightPart : ListNode<> {
  uint64_t offset = 0;                // in the window
  Bytes bytes;                        // of a sink's they are only read
  Bytes mapping;                      // the whole memory that they lie in
  std::shared_ptr<const void> keeps;  // that memory where it is
  Completion done;                    // nothing touches the bytes any more
  // StraightPath's own.
  void* batch = nullptr;
  uint32_t target = 0;
  uint32_t mapping_number = 0;
  bool begun = false;
};

// The way past a window's own memory, between a GPU and memory that is shared with the peer. The
// window's owner has one where the bytes go on to a GPU, or come from it; a session that shares
// memory with its peer offers the parts. What is not taken of a sink moves through the window. A
// source with a StraightPath has no memory that a CPU can read: what is not taken is withdrawn.
class StraightPath {
 public:
  virtual ~StraightPath() = default;
  // False: not now, or not all of it belongs to one GPU.
  virtual bool take(StraightPart& part) = 0;
  // True: it was not begun, and done will not complete.
  virtual bool take_back(StraightPart& part) = 0;
  // Sink: these were the right bytes, so that they need not come through the window any more.
  virtual void arrived(uint64_t offset, uint64_t length_bytes) = 0;
  // Sink: these have come through the window and are right; they may go on before the reply is
  // there. Not told by every session, nor of all bytes.
  virtual void landed(uint64_t /*offset*/, uint64_t /*length_bytes*/) {}
};

// Bytes pushed for a window that were not copied into it: they lie in memory that a server on this
// host may recycle at any time. Whoever looks at them asks afterwards whether they still were
// right.
struct LentBytes {
  uint64_t offset = 0;  // in the window
  ConstBytes bytes;
  const Generation* unit = nullptr;
  uint64_t generation = 0;
  std::shared_ptr<const void> mapping;  // keeps bytes and unit readable
  bool still_right() const { return still_there(*unit, generation); }
};

// The requester's memory for one request; owned by the requester until withdrawn.
struct Window : ListNode<> {
  enum class Direction : uint8_t { sink, source };
  uint64_t request_id = 0;
  Direction direction = Direction::sink;
  MemorySegments segments;           // offset 0 is the first byte of the first segment
  StraightPath* straight = nullptr;  // null: there is none
  // Of a sink: who reads the bytes next is a device, and soon. Where they are copied by a CPU, they
  // are kept out of its caches.
  bool around_caches = false;
  uint64_t moved_bytes = 0;  // landed in (sink) or handed over (source); for progress
  // If set, what can be lent is noted here instead of being copied into the segments.
  std::vector<LentBytes>* lent = nullptr;
  uint64_t length_bytes() const;  // sums the segments
  // The fabric's own, from expose() on.
  uint64_t total_bytes = 0;
  bool device = false;        // some of it is GPU memory
  bool shown = false;         // the peer's NIC has its keys
  uint32_t stripes_busy = 0;  // on their way out, and their memory still needed
  size_t hint_segment = 0;
  uint64_t hint_offset = 0;
};

inline constexpr uint32_t kPullBlockBytes = 64 * 1024;
static_assert(kStripeDefaultBytes % kPullBlockBytes == 0);

// Where a push's bytes lie in memory that a peer on this host may map. There the peer is told the
// place and copies from it itself; the page is held until it has, but not longer than a lease.
struct SharedPlace {
  SharedArena* arena = nullptr;  // null: nowhere
  uint64_t offset = 0;
  uint64_t generation = 0;
};

// Responder: move `bytes` into the peer's window of request_id at `offset`. The memory must stay
// until `done` (it is free for reuse then; it need not have arrived). `crc` is of these bytes. A
// push of at most kStripeDefaultBytes goes out with that crc as it is; the bytes of a longer one
// are read once more for the crcs of its stripes, which costs a fifth of the throughput.
struct Push : ListNode<> {
  uint64_t request_id = 0;
  uint64_t offset = 0;
  ConstBytes bytes;     // any length; the fabric cuts it into stripes
  uint32_t crc = 0;     // of all bytes
  bool has_crc = true;  // false: crc is not known; only for a session that does not want it
  SharedPlace place;
  bool lend = false;  // the peer would rather look at the bytes than have them, however few
  Completion done;
  // The fabric's own, between push() and done.
  uint64_t grant = 0;
  uint64_t granted_ns = 0;
  uint64_t cut_bytes = 0;     // made into stripes so far
  uint32_t cut_crc = 0;       // of those
  uint32_t stripes_busy = 0;  // cut, and the memory still needed
  Status outcome;
};

// Responder: fetch `into.size()` bytes of the peer's window of request_id from `offset`. When
// `done` is ok all bytes are in `into` and were checked against the sender's crc. canceled: the
// peer withdrew the window; corrupt: the peer changed the bytes while they were sent.
struct Pull : ListNode<> {
  uint64_t request_id = 0;
  uint64_t offset = 0;
  Bytes into;
  // Empty, or room for the crc of each kPullBlockBytes of `into` (the last may be shorter), filled
  // when the pull ends ok: the fabric takes them as the bytes arrive, in the cache, so that who
  // keeps them need not read the bytes again.
  std::span<uint32_t> block_crcs;
  // Somebody waits for nothing but these bytes (not for a drive): worth a core more, if a copy is
  // what brings them.
  bool urgent = false;
  Completion done;
  // The fabric's own, between pull() and done. Stripe i lies at offset + i * kStripeDefaultBytes;
  // those before first_missing have arrived, of the 64 after it the set bits of arrived.
  uint64_t asked_bytes = 0;
  uint32_t first_missing = 0;
  uint64_t arrived = 0;
  uint32_t reads_busy = 0;  // RDMA READs under way
  Status outcome;
};

enum class PeerRole : uint8_t { client = 0, server = 1, controller = 2, admin = 3 };

struct Peer {
  PeerRole role = PeerRole::client;
  std::string cluster;  // the cluster whose token was proved; empty for server and admin roles
  uint32_t server_id = 0;
  uint64_t incarnation = 0;  // of the peer's process or ctx
  std::string address;       // "tcp://10.0.0.1:41234", for messages
};

// Memory that a session shares with its peer for the bytes of sources.
struct SharedStaging {
  Bytes memory;
  std::shared_ptr<const void> keeps;  // it where it is
};

class SessionEvents {
 public:
  virtual ~SessionEvents() = default;
  // Requests and one-way messages.
  virtual void on_message(Session& session, const Message& message) = 0;
  // A reply, after all bytes pushed for it have landed.
  virtual void on_reply(Session& session, const Message& reply) = 0;
  // Exactly once, from the loop, never inside a call to the session. All windows are withdrawn, all
  // pushes and pulls have completed. The owner may destroy the session in here; `reason` stays.
  virtual void on_closed(Session& session, const Status& reason) = 0;
};

class Session {
 public:
  // Destroying an open session ends it without a call to on_closed; the owner must have no push or
  // pull pending then. Not from inside on_message or on_reply.
  virtual ~Session() = default;
  virtual const Peer& peer() const = 0;
  virtual bool open() const = 0;
  virtual std::string_view path() const = 0;  // "tcp", "shm", "rdma", "sim"
  void set_events(SessionEvents* events) { events_ = events; }
  // Requester. Not empty: a source window may have a StraightPath, which is
  // given parts in here.
  virtual SharedStaging staging() const { return {}; }

  // Copies the body. busy when the peer has not read kSendQueueMaxBytes; unavailable when closed.
  static constexpr size_t kSendQueueMaxBytes = 8 << 20;
  // A request (request_id from next_request_id(), answered by one reply) or, with id 0, one way. A
  // request with a small source window carries its bytes along (eager), which pull() then finds
  // here already.
  virtual Status send(uint16_t type, uint64_t request_id, ConstBytes body,
                      Window* window = nullptr) = 0;
  // Answers a request. Delivered after the bytes pushed for it. A request that was dropped needs no
  // answer: ok.
  virtual Status reply(uint16_t type, uint64_t request_id, ConstBytes body) = 0;
  uint64_t next_request_id() { return ++last_request_id_; }
  // Of GPU memory that a window may lie in, as it is: how far this session's NIC is from it, 0 the
  // nearest. Nothing: this session does not reach it.
  virtual std::optional<uint32_t> distance_to(const MemorySegment&) { return std::nullopt; }

  // Requester. expose() before send().
  virtual void expose(Window& window) = 0;
  // done completes when nothing of this session can touch the memory any more; on TCP at once.
  virtual void withdraw(Window& window, Completion& done) = 0;
  // True: nothing can as it is, after a reply as a rule, and the window is withdrawn.
  virtual bool let_go(Window& /*window*/) { return false; }

  // Responder. False: the peer takes pushed bytes out of our memory, so nobody need know a checksum
  // of them, and nothing is gained by cutting them.
  virtual bool wants_crcs() const { return true; }
  // Each completes exactly once; at close with unavailable.
  virtual void push(Push& push) = 0;
  virtual void pull(Pull& pull) = 0;
  // Forgets what is queued for a request the requester gave up; its pushes and pulls complete with
  // canceled once the fabric is done with their memory.
  virtual void drop_request(uint64_t request_id) = 0;

  // Ends the session; on_closed follows from the loop.
  virtual void close(Status reason) = 0;

 protected:
  SessionEvents* events_ = nullptr;

 private:
  uint64_t last_request_id_ = 0;
};

// Who may come in. Answers the keys that prove membership of a cluster (for role client) or of the
// deployment (server, controller, admin): current first, then the previous one while a rotation
// lasts. Empty: refused.
using KeyLookup = std::function<std::vector<std::string>(PeerRole role, std::string_view cluster)>;

// Shared memory between processes of one host: may it be used, must it be?
enum class SameHost : uint8_t { off, allowed, required };

struct ListenOptions {
  uint32_t server_id = 0;
  uint64_t incarnation = 0;
  uint64_t deployment_id = 0;
  KeyLookup keys;
  bool insecure = false;         // accept anybody; must be asked for and is said loudly
  uint32_t sessions_max = 4096;  // the next one is refused with busy
  uint64_t handshake_timeout_ns = 5 * kSecond;
  // Where the socket for peers on this host lies, in a directory of its own that is made if need
  // be; empty: they come over the network too.
  std::string same_host_directory;
};

// Takes new sessions. The session's events must be set before returning.
using OnSession = std::function<void(std::unique_ptr<Session> session)>;

class Listener {
 public:
  virtual ~Listener() = default;            // stops accepting; sessions live on
  virtual std::string address() const = 0;  // as bound: "tcp://127.0.0.1:7528"
};

struct ConnectOptions {
  std::string address;  // "tcp://host:port"; host may be a name, IPv4 or [IPv6]
  // "tcp://192.168.1.100": bind to this NIC; empty or loopback: any, but on the way to loopback.
  std::string local_address;
  PeerRole role = PeerRole::client;
  std::string cluster;
  std::string key;  // the token's bytes
  bool insecure = false;
  uint64_t incarnation = 0;
  uint32_t lanes = 1;  // at least; 0: exactly one, for a session that carries messages only
  uint64_t timeout_ns = 3 * kSecond;
  SameHost same_host = SameHost::off;
  SessionEvents* events = nullptr;
};

// Memory that windows, pushes and pulls may lie in.
struct FabricMemory {
  void* address = nullptr;
  uint64_t length_bytes = 0;
  uint32_t region = 0;     // as in MemorySegment; 0: it is found by its address, and overlaps none
  bool for_peers = false;  // windows lie in it: peers may be given keys to it
  // Device memory: its dmabuf, and where in that the first byte lies. Borrowed for add_memory().
  int dmabuf = -1;
  uint64_t dmabuf_offset = 0;
  // Of device memory: the folder of its GPU in /sys, or another name of it; "": not known.
  std::string gpu;
};

class Fabric {
 public:
  virtual ~Fabric() = default;
  // Tells of memory before it is used; what bytes lie elsewhere are copied once more, by a fabric
  // whose NICs must know memory (RDMA), and the others ask for nothing. May block for 300 ms per
  // GiB: not on a loop; any thread. After remove_memory() no peer can use it; nothing may be under
  // way. Errors: nothing is wrong but that it will be copied.
  virtual Status add_memory(const FabricMemory&) { return {}; }
  virtual void remove_memory(const FabricMemory&) {}
  virtual Result<std::unique_ptr<Listener>> listen(const std::string& address,
                                                   ListenOptions options, OnSession on_session) = 0;
  // denied: the token is wrong (on either side); unavailable, timed_out: not there; unsupported:
  // the peer cannot be reached in the way that is required.
  virtual Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) = 0;
};

}  // namespace gd2fs
