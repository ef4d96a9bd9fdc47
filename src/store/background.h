// Background: what a store does when nobody asks: rewrites chunks of many extents, wipes old
// descriptors, removes empty data files, moves the watermark on, forgets fences and clients that
// nobody needs, and keeps drive.log short. All of it waits for idle moments unless a limit is near.
//
// Thread rule: the store's loop.
#pragma once

#include <deque>
#include <set>

#include "store/rewrite_op.h"
#include "store/wipe.h"

namespace gd2fs {

// A drive.log's content made anew from what is known: what a rewrite of it writes.
std::vector<LogRecord> log_content(const StoreCore& core, const DriveUnit& unit);

class Background {
 public:
  static constexpr uint64_t kTickNs = 1 * kSecond;
  static constexpr uint64_t kIdleNs = 100 * kMs;
  static constexpr size_t kRewritesQueuedMax = 1 << 16;
  static constexpr size_t kUnwipedMax = 1 << 16;  // beyond, wiping does not wait for idle time
  static constexpr uint64_t kLogSmallBytes = 1 * kMiB;

  explicit Background(StoreCore& core);
  void start();
  void stop();  // nothing new begins; what runs counts as operations of the core
  void want_rewrite(const ChunkKey& key);
  // For shutdown: wipes everything, idle or not, then completes.
  void wipe_all(Completion& done);

 private:
  struct PerDrive {
    Background* owner = nullptr;
    DriveUnit* unit = nullptr;
    Wipe wipe;
    Completion wiped;
    bool wiping = false;
    Completion file_removed;
    bool removing = false;
    Completion watermark_logged;
    uint64_t watermark = 0;  // logged, or on its way
    bool logging = false;
    Completion log_rewritten;
    uint64_t log_bytes_after_rewrite = 0;
    Completion space_seen;
    bool looking = false;
    // Shared with the job, which may outlive a drive's being set aside.
    std::shared_ptr<DiskSpace> space = std::make_shared<DiskSpace>();
    void on_space_seen(Completion& done);
    void on_wiped(Completion&) { owner->on_wiped(*this); }
    void on_file_removed(Completion&);
    void on_watermark_logged(Completion&);
    void on_log_rewritten(Completion&);
  };

  void on_tick(Completion&);
  void tend(PerDrive& drive);
  bool idle(const PerDrive& drive) const;
  void look_at_space(PerDrive& drive);
  void wipe_some(PerDrive& drive);
  void on_wiped(PerDrive& drive);
  void log_watermark(PerDrive& drive);
  void shorten_log(PerDrive& drive);
  void forget();
  void rewrite_next();
  void on_rewritten(Completion& done);
  void check_wiped_all();

  StoreCore& core_;
  std::vector<std::unique_ptr<PerDrive>> drives_;
  Timer tick_;
  uint64_t ticks_ = 0;
  bool stopped_ = true;
  bool wipe_everything_ = false;
  Completion* wiped_all_ = nullptr;
  std::deque<ChunkKey> rewrites_;
  std::set<ChunkKey> rewrite_wanted_;
  bool rewriting_ = false;
  Completion rewritten_;
  Timer rewrite_timer_;
  void on_rewrite_timer(Completion&) { rewrite_next(); }
};

}  // namespace gd2fs
