// LaneGate: lets a pump's thread into the memory that a lane touches, or keeps it out.
//
// The pump is inside while it moves at most FrameReader::kTurnBytes or a stripe, never while it
// waits for anything. Who must change what the lane does holds the gate: hold() returns when the
// pump is out, in a tenth of a millisecond or so, and the pump does not get in before release().
// Not a mutex, which a busy pump would take again and again before anybody who waits for it.
#pragma once

#include <condition_variable>
#include <mutex>

namespace gd2fs {

class LaneGate {
 public:
  // The pump. False: closed for good.
  bool enter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !held_ || closed_; });
    if (closed_) return false;
    inside_ = true;
    return true;
  }
  void leave() {
    std::lock_guard lock(mutex_);
    inside_ = false;
    if (held_) changed_.notify_all();
  }

  // The loop.
  void hold() {
    std::unique_lock lock(mutex_);
    held_ = true;
    changed_.wait(lock, [&] { return !inside_; });
  }
  void release() {
    std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  class Held {
   public:
    explicit Held(LaneGate& gate) : gate_(gate) { gate_.hold(); }
    ~Held() { gate_.release(); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    LaneGate& gate_;
  };
  // While it is held.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false;
  bool held_ = false;
  bool closed_ = false;
};

}  // namespace gd2fs
