// BulkBoard: what the loop of a session and the pumps of its bulk lanes know together: the memory
// that stripes may land in, the stripes that want to leave, and the word that goes back to the
// loop.
//
// Everything stands under one lock that is held for a few instructions; no bytes move under it. A
// pump calls only while it is inside its lane's gate, so that who holds all gates is alone with the
// board. What has been forgotten leaves no word behind: the pointers in a word are good when the
// loop takes it, one at a time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fabric/frame_reader.h"
#include "fabric/frame_writer.h"

namespace gd2fs {

using LaneMask = uint32_t;
static_assert(kLanesMax <= 32);

class BulkBoard : public std::enable_shared_from_this<BulkBoard> {
 public:
  struct Arrived {
    uint64_t request_id = 0;
    uint64_t offset = 0;
    uint64_t length_bytes = 0;
    bool ok = false;           // its crc was right
    Window* window = nullptr;  // of a stripe, or
    Pull* pull = nullptr;      // of a pulled
  };
  struct Sent {
    Push* push = nullptr;
    Window* window = nullptr;
    uint64_t length_bytes = 0;
  };

  // on_word: on the loop, when there is something to take; not after detach().
  BulkBoard(Loop& loop, std::function<void()> on_word)
      : loop_(loop), on_word_(std::move(on_word)) {}

  // --- the loop ---
  void detach() { on_word_ = nullptr; }
  void expose(Window& window);
  // The lanes whose stripe is landing in it at this moment. Of the stripes that have not begun to
  // leave, where they lie.
  LaneMask forget(Window& window, std::vector<PullRange>* gone);
  void expect(Pull& pull, PullRange range);
  // A stripe of a pull that comes over another lane. False: it is landing already, or not wanted.
  bool claim(const FrameHeader& header);
  LaneMask forget(const Pull& pull);
  void queue(const OutStripe& stripe);
  uint64_t queued_bytes() const;
  template <class Drop>
  void drop_queued(Drop drop) {
    std::lock_guard lock(mutex_);
    std::erase_if(queued_, [&](const OutStripe& stripe) {
      if (!drop(stripe)) return false;
      queued_bytes_ -= stripe.header.payload_bytes;
      return true;
    });
  }
  // Up to `most` lanes that found nothing to send; they are thought busy from here on.
  LaneMask take_idle(size_t most);
  void add_idle(uint16_t lane);
  bool next(Arrived* arrived);
  bool next(Sent* sent);
  Status failure() const;  // of any lane, the first
  void call_loop();        // on_word() will be called, soon

  // --- the pumps ---
  Result<Landing> land(uint16_t lane, const FrameHeader& header);
  void landed(uint16_t lane, const InFrame& frame);
  void sent(const OutFrame& frame);
  void fail(const Status& status);

  // --- both ---
  bool take(OutStripe* stripe);
  // The same; if there is none the lane is idle.
  bool take_or_idle(uint16_t lane, OutStripe* stripe);

 private:
  struct StripeName {
    uint64_t request_id;
    uint64_t offset;
    friend bool operator==(const StripeName&, const StripeName&) = default;
  };
  struct StripeNameHash {
    size_t operator()(const StripeName& name) const {
      return static_cast<size_t>((name.request_id * 0x9E3779B97F4A7C15) ^
                                 (name.offset / kStripeDefaultBytes));
    }
  };
  struct Expected {
    Pull* pull;
    Bytes place;
    std::span<uint32_t> block_crcs;
  };
  struct Current {  // what is landing over one lane
    const Window* window = nullptr;
    const Pull* pull = nullptr;
  };
  Result<Landing> land_stripe(uint16_t lane, const FrameHeader& header);
  Landing land_pulled(uint16_t lane, const FrameHeader& header);
  bool take_locked(OutStripe* stripe);

  Loop& loop_;
  std::function<void()> on_word_;  // the loop's
  mutable std::mutex mutex_;       // of the rest
  std::unordered_map<uint64_t, Window*> windows_;
  std::unordered_map<StripeName, Expected, StripeNameHash> expected_;
  Current current_[kLanesMax];
  std::deque<OutStripe> queued_;
  uint64_t queued_bytes_ = 0;
  LaneMask idle_ = 0;
  std::deque<Arrived> arrived_;
  std::deque<Sent> sent_;
  Status failure_;
  bool called_ = false;
};

}  // namespace gd2fs
