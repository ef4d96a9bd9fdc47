// ShmStream: a lane through shared memory: one ring each way, and beside them a unix socket that
// carries descriptors, rings for who sleeps, and tells at once when the peer has died.
//
// The bell is a message on the socket and not an eventfd: an eventfd's flags are common to all who
// hold it, so that a hostile peer could make our read or write of it wait; a socket's are our own.
// One loop.
#pragma once

#include "base/shared_arena.h"
#include "fabric/lane_stream.h"
#include "fabric/shm_memory.h"

namespace gd2fs {

class ShmStream final : public LaneStream, private Poller {
 public:
  enum class Side : uint8_t { server, client };
  // What the server gives a client beside the rings. On the client, from read() or a call to
  // take_notices().
  struct ArenaNotice {
    uint32_t id = 0;
    uint64_t length_bytes = 0;
    Descriptor memory;
    Descriptor generations;
  };
  class Owner {
   public:
    virtual void on_arena(ArenaNotice notice) = 0;
    // This side goes on working on its core while it waits for the peer.
    virtual bool busy() const = 0;

   protected:
    ~Owner() = default;
  };

  ShmStream(Loop& loop, Side side, TcpSocket socket, ShmSegment segment, Owner& owner);
  ~ShmStream() override;

  // Server: gives the arena's descriptors away. Whoever reads what is written into the ring
  // afterwards has them. False: the peer does not take them now.
  bool give(const SharedArena& arena);
  // Client: takes what lies in the socket.
  void take_notices();

  Status start(LaneEvents& events) override;
  void stop() override;
  bool open() const override { return socket_.open(); }
  Moved read(std::span<iovec> parts) override;
  Moved write(std::span<iovec> parts) override;
  void wait_for_room() override { waits_for_room_ = true; }
  bool writes_cheaply() const override { return true; }

 private:
  struct Notice {        // on the socket, from the server; from the client all bytes are bells
    uint32_t arena = 0;  // 0: a bell
    // Of a bell: one more than the core of the ringer, if that one stays busy there; 0: it is about
    // to sleep, and its core is as good as any.
    uint32_t busy_core = 0;
    uint64_t length_bytes = 0;
  };
  static_assert(sizeof(Notice) == 16);
  size_t poll() override;
  bool arm() override;
  void disarm() override;
  void on_socket(uint32_t events);
  void ring_bell();

  Loop& loop_;
  const Side side_;
  TcpSocket socket_;
  ShmSegment segment_;
  Owner& owner_;
  RingReader reader_;
  RingWriter writer_;
  LaneEvents* events_ = nullptr;
  Watch watch_;
  bool waits_for_room_ = false;
  bool peer_gone_ = false;  // the socket has ended
  bool drained_ = false;    // and what was left in the ring was read
};

}  // namespace gd2fs
