// ShmSession: a Session between a server and a client of the same host. A TcpSession whose one lane
// is a pair of rings in shared memory, with two short cuts for bulk bytes:
//
//   push   the server grants the place where the bytes lie (a page of an arena that the client maps
//          read-only); the client copies them, on several threads if there are many, looks whether
//          the page is still that page, and says so. Until then the server holds the page, but not
//          longer than kLeaseNs: the lease is for speed, the page's generation for truth. Bytes
//          that were gone too soon are sent through the ring if the server still has them; if not,
//          the request ends with `busy`, and its owner asks again.
//   pull   the client copies into a slot of the staging memory that the server made for it alone;
//          the server takes the bytes and their crcs from there, on several threads if there are
//          many.
//
// Where a window's bytes go on to a GPU, or come from it, the client offers them to the window's
// StraightPath: from the arena to the GPU, or from it into the slot, without a copy by the CPU.
//
// What is small, and what lies in no arena, goes through the ring as it would over TCP. Only a
// server grants and stages. docs/decisions/016-same-host-path.md has the reasons. One loop.
#pragma once

#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "base/pool.h"
#include "fabric/copy_job.h"
#include "fabric/huge_page_taker.h"
#include "fabric/shm_stream.h"
#include "fabric/tcp_session.h"

namespace gd2fs {

// The server's end: grants and their leases, staging slots.
class ShmServerSession final : public TcpSession, private ShmStream::Owner {
 public:
  static constexpr uint64_t kLeaseNs = 1 * kSecond;
  // Less than that is copied into the ring: cheaper than a grant and its answer.
  static constexpr size_t kGrantMinBytes = 4 * 1024 + 1;
  // A client that stages at least so much at once is one that writes much: the slots that its
  // writes have used get huge pages.
  static constexpr size_t kHugePagesFromBytes = 1 * kMiB;

  ShmServerSession(Loop& loop, const TcpOptions& options, SlicePool& copies, HugePageTaker& pages,
                   Peer peer, uint64_t number, std::string session_key);
  ~ShmServerSession() override;
  // What the client must have too; its memory is this session's alone.
  Status make_memory(Descriptor* segment, Descriptor* staging);
  Status join(TcpSocket socket);

  std::string_view path() const override { return "shm"; }
  bool wants_crcs() const override { return false; }
  void push(Push& push) override;
  void drop_request(uint64_t request_id) override;
  void close(Status reason) override;

 private:
  struct Given {  // an arena the client has
    std::weak_ptr<SharedArena> arena;
    bool refused = false;  // it cannot map it
  };
  struct Slot final : SliceJob {
    enum class State : uint8_t { free, asked, copying };
    State state = State::free;
    uint64_t request_id = 0;
    uint64_t offset = 0;
    uint16_t number = 0;
    Pull* pull = nullptr;  // of the copy
    ConstBytes from;
    Bytes place;
    std::span<uint32_t> block_crcs;
    void make(uint64_t begin, uint64_t end) override;
  };
  bool may_grant(const Push& push);
  void on_lease(Completion&);
  void on_second() override;
  void end_grant(Push& push);
  Status take_special(InFrame& frame) override;
  void take_granted(const FrameHeader& header);
  Status take_staged(const FrameHeader& header);
  void on_staged(SliceJob& job);
  // Waits (a tenth of a millisecond) for the copies that are under way for
  // these requests.
  template <class Which>
  void end_copies(Which which);
  void ask(Pull& pull) override;
  void ask_waiting();
  void take_huge_pages();
  bool slot_is(const FrameHeader& header) const;
  void free_slot(uint16_t slot);
  Status take_pull_gone(const FrameHeader& header) override;
  void on_arena(ShmStream::ArenaNotice) override {}
  bool busy() const override { return !copies_.idle(); }
  void send_special(FrameKind kind, uint64_t request_id, uint64_t offset, uint16_t type = 0);

  SlicePool& copies_;
  HugePageTaker& pages_;
  ShmSegment segment_;
  std::shared_ptr<const SharedMapping> staging_;
  ShmStream* stream_ = nullptr;  // the lane's
  std::unordered_map<uint32_t, Given> given_;
  uint64_t last_grant_ = 0;
  std::unordered_map<uint64_t, Push*> grants_;
  List<Push> granted_;  // oldest first
  Timer lease_;
  Slot slots_[kStagingSlots];
  size_t slots_used_ = 0;                // of them, from the first
  size_t pages_asked_for_ = 0;           // huge ones, from the first
  std::vector<uint16_t> free_slots_;     // the last one used is taken first: it is in the cache
  std::deque<uint64_t> wait_for_slots_;  // requests with pulls that want one
};

// The client's end: arenas mapped, copies in flight.
class ShmClientSession final : public TcpSession, private ShmStream::Owner {
 public:
  // Copied where it is noticed; more waits for its turn, or for a helper.
  static constexpr size_t kCopyNowBytes = 64 * 1024;
  // Of a window at least so large, more than a core has cache of its own, the bytes go around it.
  static constexpr uint64_t kAroundCacheBytes = 1 << 20;
  static constexpr size_t kCopiesMax = 8192;  // waiting or being made
  static constexpr uint64_t kArenaMaxBytes = 64 * kGiB;

  ShmClientSession(Loop& loop, const TcpOptions& options, SlicePool& copies, Peer peer,
                   uint64_t number, std::string session_key);
  ~ShmClientSession() override;
  Status join(TcpSocket socket, Descriptor segment, Descriptor staging);

  std::string_view path() const override { return "shm"; }
  SharedStaging staging() const override {
    return {{staging_->data(), staging_->length_bytes()}, staging_};
  }
  void withdraw(Window& window, Completion& done) override;
  bool let_go(Window&) override { return false; }  // copies may be under way

 private:
  struct Arena {
    SharedMapping memory;
    SharedMapping generations;
    const Generation& unit_at(uint64_t offset) const {
      return reinterpret_cast<const Generation*>(generations.data())[offset / kGenerationUnitBytes];
    }
  };
  struct Withdrawal {
    Completion* done = nullptr;
    uint32_t copies = 0;
  };
  struct CopyTag;
  struct Copy : CopyJob, ListNode<CopyTag> {
    StraightPart part;  // instead of the job, of what goes straight to a GPU
    bool straight = false;
    ShmClientSession* session = nullptr;
    void on_part_done(Completion& done) { session->on_straight(*this, done.status); }
    Window* window = nullptr;       // null: withdrawn
    Withdrawal* waiting = nullptr;  // for the end of this copy
    FrameHeader frame;              // the grant or stage that it serves
    GrantBody grant;
    std::shared_ptr<const Arena> arena;
  };
  Status take_special(InFrame& frame) override;
  Status take_grant(const InFrame& frame);
  Status take_stage(const FrameHeader& header);
  Status take_lost(uint64_t request_id);
  Status take_reply(InFrame& frame) override;
  std::shared_ptr<const Arena> find_arena(uint32_t id);
  void on_arena(ShmStream::ArenaNotice notice) override;
  bool busy() const override { return !copies_.idle(); }
  template <class MakePart>
  void start_copy(Copy& copy, Window& window, MakePart make_part);
  Status copy_now(const FrameHeader& frame, const GrantBody& grant, const Arena& arena,
                  Window& window);
  static void copy_into_long(Window& window, uint64_t offset, ConstBytes from);
  Status lend(const FrameHeader& frame, const GrantBody& grant, std::shared_ptr<const Arena> arena,
              Window& window);
  void copy_granted(Copy& copy, Window& window);
  bool start_straight(Copy& copy, Window& window, Bytes bytes, const SharedStaging& memory);
  void on_straight(Copy& copy, const Status& status);
  void on_copied(SliceJob& job) { on_ended(static_cast<Copy&>(job)); }
  void on_ended(Copy& copy);
  // True: it was never begun, and nobody touches its memory.
  bool take_back(Copy& copy);
  void end_copy(Copy& copy);
  void give_back(const Copy& copy);
  void send_granted(const GrantBody& grant, uint64_t request_id, bool taken);
  void send_staged(const FrameHeader& stage);
  void deliver_lost(uint64_t request_id);
  void end_close() override;

  SlicePool& copies_;
  std::shared_ptr<const SharedMapping> staging_;
  ShmStream* stream_ = nullptr;  // the lane's
  std::unordered_map<uint32_t, std::shared_ptr<const Arena>> arenas_;
  Pool<Copy> copy_pool_{"copies_max", kCopiesMax};
  List<Copy, CopyTag> in_flight_;
  std::unordered_set<uint64_t> lost_;
  bool close_waits_ = false;
};

}  // namespace gd2fs
