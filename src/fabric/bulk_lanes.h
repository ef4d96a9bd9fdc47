// BulkLanes: the lanes of a session but for the first, where the process has threads to move them
// (lane_pumps.h). The session keeps all that is protocol on its loop; here it leaves what these
// lanes are to send, and the memory that they may receive into, and takes what has come of it.
//
// Each lane joins a pump with the first bytes that arrive over it, or when so much waits to be sent
// that waking threads costs less than it gains. One loop; nothing here waits longer than a pump
// needs for one call to the kernel.
#pragma once

#include <memory>
#include <vector>

#include "fabric/bulk_lane.h"

namespace gd2fs {

class BulkLanes {
 public:
  // So much is kept ready for each lane, so that none waits for the loop.
  static constexpr uint64_t kReadyBytesPerLane = 1 << 20;

  // So much must wait to be sent before lanes are woken for it. on_word: there is something on the
  // board.
  BulkLanes(Loop& loop, std::shared_ptr<LanePumps> pumps, uint64_t help_from_bytes, uint32_t lanes,
            std::function<void()> on_word);
  ~BulkLanes() { stop(); }
  BulkLanes(const BulkLanes&) = delete;
  BulkLanes& operator=(const BulkLanes&) = delete;

  BulkBoard& board() { return *board_; }
  bool has(uint16_t index) const { return slots_[index].lane != nullptr; }
  void add(uint16_t index, TcpSocket socket);
  Status start();  // those that are there, and each later one when it comes
  bool wants_stripes() const;
  void wake();  // lanes for what is queued, if it is worth it

  // When these return no lane touches that memory. `gone`: ranges that nobody will send any more.
  void forget(Window& window, std::vector<PullRange>* gone);
  void forget(const Pull& pull);

  // Pings what was silent; an error: a lane was silent for too long.
  Status tick(uint64_t tick_ns, uint64_t dead_after_ns);
  // Closes all connections. From here on no lane touches any memory.
  void stop();

 private:
  struct Slot {
    BulkLanes* owner = nullptr;
    std::unique_ptr<BulkLane> lane;
    LanePump* pump = nullptr;
    Watch waits;  // for the first bytes; stays in the loop's set, so that a fork finds the socket
    void on_first_bytes(uint32_t events);
  };
  Status wait_for_first_bytes(Slot& slot);
  bool run(Slot& slot);
  template <class Do>
  void with_held(LaneMask lanes, Do what);

  Loop& loop_;
  const std::shared_ptr<LanePumps> pumps_;
  const uint64_t help_from_bytes_;
  const std::shared_ptr<BulkBoard> board_;
  std::vector<Slot> slots_;  // by lane; the first stays empty
  bool started_ = false;
};

}  // namespace gd2fs
