#include "store/background.h"

#include <algorithm>

#include "base/log.h"

namespace gd2fs {
namespace {

constexpr uint64_t kTicksPerForget = 10;
constexpr uint64_t kRewriteDelayNs = 50 * kMs;

}  // namespace

std::vector<LogRecord> log_content(const StoreCore& core, const DriveUnit& unit) {
  using Kind = LogRecord::Kind;
  std::vector<LogRecord> records;
  LogRecord identity = LogRecord::of(Kind::identity, core.options.deployment_id);
  identity.uuid = unit.drive.uuid;
  records.push_back(identity);
  records.push_back(LogRecord::of(Kind::epoch_start, core.versions.epoch()));
  records.push_back(
      LogRecord::of(Kind::watermark, core.versions.settled(), unit.groups.transactions));
  if (unit.drive.incomplete) records.push_back(LogRecord::of(Kind::incomplete));
  core.placement.records(&records);
  for (size_t i = 0; i < unit.drive.slots.file_positions(); ++i) {
    const SlotMap::File& file = unit.drive.slots.file(static_cast<uint16_t>(i));
    if (!file.present) continue;
    records.push_back(LogRecord::of(Kind::file_created, file.slot_class, file.number));
  }
  std::vector<FenceRecord> fences;
  core.fences.records(&fences);
  for (const FenceRecord& fence : fences) {
    LogRecord record = LogRecord::of(Kind::fence);
    record.fence = fence;
    records.push_back(record);
  }
  std::vector<TagRecord> tags;
  core.dedup.logged_records(unit.drive.index(), &tags);
  for (const TagRecord& tag : tags) {
    LogRecord record = LogRecord::of(Kind::tag);
    record.tag = tag;
    records.push_back(record);
  }
  return records;
}

Background::Background(StoreCore& core) : core_(core) {
  tick_.bind<&Background::on_tick>(this);
  rewritten_.bind<&Background::on_rewritten>(this);
  rewrite_timer_.bind<&Background::on_rewrite_timer>(this);
  for (const auto& unit : core.drives) {
    auto drive = std::make_unique<PerDrive>();
    drive->owner = this;
    drive->unit = unit.get();
    drive->wiped.bind<&PerDrive::on_wiped>(drive.get());
    drive->file_removed.bind<&PerDrive::on_file_removed>(drive.get());
    drive->watermark_logged.bind<&PerDrive::on_watermark_logged>(drive.get());
    drive->log_rewritten.bind<&PerDrive::on_log_rewritten>(drive.get());
    drive->space_seen.bind<&PerDrive::on_space_seen>(drive.get());
    drive->watermark = core.versions.settled();
    drives_.push_back(std::move(drive));
  }
}

void Background::start() {
  stopped_ = false;
  for (const auto& drive : drives_) look_at_space(*drive);
  core_.loop.start(tick_, kTickNs);
}

void Background::stop() {
  stopped_ = true;
  core_.loop.cancel(tick_);
  core_.loop.cancel(rewrite_timer_);
}

void Background::on_tick(Completion&) {
  core_.loop.start(tick_, kTickNs);
  for (const auto& drive : drives_) {
    if (drive->unit->drive.serving()) tend(*drive);
  }
  if (++ticks_ % kTicksPerForget != 0) return;
  for (const auto& drive : drives_) look_at_space(*drive);
  forget();
}

void Background::look_at_space(PerDrive& drive) {
  if (drive.looking || !drive.unit->drive.serving()) return;
  drive.looking = true;
  core_.begin_operation();
  Disk* const disk = &drive.unit->drive.disk();
  drive.unit->drive.run(
      [disk, space = drive.space]() -> Status {
        GD2FS_ASSIGN(*space, disk->space());
        return {};
      },
      drive.space_seen);
}

void Background::PerDrive::on_space_seen(Completion& done) {
  looking = false;
  if (done.status.ok()) unit->drive.space = *space;
  owner->core_.end_operation();
}

bool Background::idle(const PerDrive& drive) const {
  return core_.loop.now_ns() - drive.unit->drive.last_write_ns >= kIdleNs;
}

void Background::tend(PerDrive& drive) {
  log_watermark(drive);
  wipe_some(drive);
  if (!drive.removing && idle(drive)) {
    drive.removing = true;
    core_.begin_operation();
    drive.unit->drive.remove_empty_file(false, drive.file_removed);
  }
  shorten_log(drive);
}

void Background::PerDrive::on_file_removed(Completion&) {
  removing = false;
  owner->core_.end_operation();
}

// --- old descriptors -------------------------------------------------------------------------

void Background::wipe_some(PerDrive& drive) {
  Drive& d = drive.unit->drive;
  if (drive.wiping || !d.serving() || d.slots.unsettled() == 0) return;
  if (!wipe_everything_ && !idle(drive) && d.slots.unsettled() < kUnwipedMax) return;
  std::vector<Slot> slots = d.slots.take_unsettled(Wipe::kSlotsMax);
  if (slots.empty()) return;
  drive.wiping = true;
  core_.begin_operation();
  drive.wipe.start(core_, *drive.unit, std::move(slots), drive.wiped);
}

void Background::on_wiped(PerDrive& drive) {
  drive.wiping = false;
  if (drive.unit->drive.serving()) {
    for (const Slot slot : drive.wipe.slots()) drive.unit->drive.slots.free(slot);
  }
  if (!stopped_ || wipe_everything_) wipe_some(drive);
  check_wiped_all();
  core_.end_operation();
}

void Background::wipe_all(Completion& done) {
  done.start();
  wiped_all_ = &done;
  wipe_everything_ = true;
  for (const auto& drive : drives_) wipe_some(*drive);
  check_wiped_all();
}

void Background::check_wiped_all() {
  const bool wiping =
      std::any_of(drives_.begin(), drives_.end(), [](const auto& drive) { return drive->wiping; });
  if (wiped_all_ == nullptr || wiping) return;
  core_.loop.complete(*wiped_all_, Status());
  wiped_all_ = nullptr;
}

// --- drive.log -------------------------------------------------------------------------------

// Each descriptor carries the settled version too; this is for the last ones before a pause.
void Background::log_watermark(PerDrive& drive) {
  const uint64_t settled = core_.versions.settled();
  if (drive.logging || settled <= drive.watermark) return;
  drive.watermark = settled;
  drive.logging = true;
  core_.begin_operation();
  drive.unit->drive.append_log(
      {LogRecord::of(LogRecord::Kind::watermark, settled, drive.unit->groups.transactions)},
      drive.watermark_logged);
}

void Background::PerDrive::on_watermark_logged(Completion&) {
  logging = false;
  owner->core_.end_operation();
}

void Background::shorten_log(PerDrive& drive) {
  Drive& d = drive.unit->drive;
  const uint64_t size_bytes = d.log.size_bytes();
  if (drive.logging || size_bytes < kLogSmallBytes ||
      size_bytes < 2 * drive.log_bytes_after_rewrite) {
    return;
  }
  drive.logging = true;
  core_.begin_operation();
  d.rewrite_log([this, &drive] { return log_content(core_, *drive.unit); }, drive.log_rewritten);
}

void Background::PerDrive::on_log_rewritten(Completion& done) {
  logging = false;
  log_bytes_after_rewrite = unit->drive.log.size_bytes();
  if (!done.status.ok() && !done.status.is(StatusCode::busy)) {
    unit->drive.set_aside(done.status.with("drive.log"));
  }
  owner->core_.end_operation();
}

// --- what nobody needs any more --------------------------------------------------------------

void Background::forget() {
  const uint64_t now_ns = core_.loop.now_ns();
  std::vector<DedupWindow::Forgotten> forgotten;
  const std::vector<uint64_t> expired = core_.dedup.expire(now_ns, &forgotten);
  for (const DedupWindow::Forgotten& f : forgotten) {
    core_.unit(f.drive).groups.ride().remove_tags.push_back(f.record);
  }
  bool all_here = !core_.placement.anything_missing();
  std::vector<uint64_t> settled;
  for (const auto& unit : core_.drives) {
    all_here = all_here && unit->drive.serving();
    settled.push_back(unit->drive.slots.settled_drops());
  }
  // A drive that is away may come back with what a fence cut.
  std::vector<FenceRecord> fences;
  if (all_here) fences = core_.fences.forget(now_ns, settled);
  for (const auto& unit : core_.drives) {
    IndexBatch& ride = unit->groups.ride();
    ride.remove_clients.insert(ride.remove_clients.end(), expired.begin(), expired.end());
    ride.remove_fences.insert(ride.remove_fences.end(), fences.begin(), fences.end());
    if (!ride.empty()) unit->groups.ride_changed();
  }
}

// --- rewrites --------------------------------------------------------------------------------

void Background::want_rewrite(const ChunkKey& key) {
  if (stopped_ || rewrites_.size() >= kRewritesQueuedMax) return;
  if (!rewrite_wanted_.insert(key).second) return;
  rewrites_.push_back(key);
  if (!rewriting_ && !rewrite_timer_.running()) core_.loop.start(rewrite_timer_, kRewriteDelayNs);
}

void Background::rewrite_next() {
  if (stopped_ || rewriting_ || rewrites_.empty()) return;
  const bool idle_now = std::all_of(drives_.begin(), drives_.end(),
                                    [this](const auto& drive) { return idle(*drive); });
  if (!idle_now) {
    core_.loop.start(rewrite_timer_, kRewriteDelayNs);
    return;
  }
  const ChunkKey key = rewrites_.front();
  rewrites_.pop_front();
  rewrite_wanted_.erase(key);
  uint8_t chunk_log2 = 0;
  const std::vector<Extent> extents = core_.extents_of(key, &chunk_log2);
  if (extents.size() <= kExtentsPerChunkWanted) {
    core_.loop.start(rewrite_timer_, 0);
    return;
  }
  uint32_t first = UINT32_MAX;
  uint32_t end = 0;
  for (const Extent& extent : extents) {
    first = std::min<uint32_t>(first, extent.first_block);
    end = std::max(end, extent.end_block());
  }
  rewriting_ = true;
  RewriteOp::start(core_,
                   {.why = RewriteOp::Why::background,
                    .key = key,
                    .chunk_log2 = chunk_log2,
                    .first_block = first,
                    .blocks = end - first},
                   rewritten_);
}

// A rewrite that failed is not tried again until the chunk changes.
void Background::on_rewritten(Completion&) {
  rewriting_ = false;
  if (!stopped_ && !rewrites_.empty()) core_.loop.start(rewrite_timer_, 0);
}

}  // namespace gd2fs
