#include "store/scrub.h"

#include <algorithm>

namespace gd2fs {
namespace {

constexpr uint32_t kStepBlocks = 16;  // 1 MiB
constexpr size_t kFindingsMax = 10'000;

void add_finding(ScrubReport& report, const std::string& text) {
  if (report.findings.size() < kFindingsMax) report.findings.push_back(text);
}

std::string where(StoreCore& core, const ChunkKey& key, const Extent& extent, uint32_t block) {
  const Drive& drive = core.unit(extent).drive;
  return "drive " + drive.path() + " " + drive.describe({extent.at.file, extent.at.slot}) +
         ": inode " + std::to_string(key.inode) + " chunk " + std::to_string(key.chunk) +
         " block " + std::to_string(block) + ": ";
}

// The slot is someone else's once the extent is dropped, so this is asked right before each read.
bool still_there(StoreCore& core, const ChunkKey& key, const Extent& extent) {
  const std::vector<Extent> extents = core.extents_of(key);
  return std::find(extents.begin(), extents.end(), extent) != extents.end() &&
         core.unit(extent).drive.serving();
}

// Waits so long that the bytes read so far stay below the rate.
uint64_t pause_ns(const ScrubReport& report, uint64_t rate_bytes_per_s, uint64_t elapsed_ns) {
  if (rate_bytes_per_s == 0) return 0;
  const double due_ns = static_cast<double>(report.bytes) * static_cast<double>(kSecond) /
                        static_cast<double>(rate_bytes_per_s);
  const double ahead_ns = due_ns - static_cast<double>(elapsed_ns);
  return ahead_ns > 0 ? static_cast<uint64_t>(ahead_ns) : 0;
}

Task<void> scrub_step(StoreCore& core, ChunkKey key, Extent extent, uint32_t block,
                      std::shared_ptr<AlignedBuffer>& buffer, ScrubReport& report) {
  const uint32_t blocks = std::min(kStepBlocks, extent.end_block() - block);
  ExtentRead read;
  Await done;
  read.start(core.loop, core.checks, core.unit(extent).drive,
             {.key = key, .extent = extent, .first_block = block, .blocks = blocks}, buffer->data(),
             nullptr, buffer, done.done());
  const Status status = co_await done;
  report.bytes += uint64_t{blocks} * kBlockBytes;
  if (!status.ok()) {
    // The kernel may still have the former one.
    buffer = std::make_shared<AlignedBuffer>(buffer->size());
    if (status.is(StatusCode::io)) report.corrupt_blocks += blocks;
    add_finding(report, where(core, key, extent, block) + status.to_string());
    co_return;
  }
  for (uint32_t b = block; b < block + blocks; ++b) {
    if (!read.bad(b)) continue;
    ++report.corrupt_blocks;
    core.report_bad(read, b, "scrub");
    add_finding(report, where(core, key, extent, b) + read.reason());
  }
}

}  // namespace

Task<ScrubReport> scrub_store(StoreCore& core, uint64_t rate_bytes_per_s) {
  ScrubReport report;
  core.begin_operation();
  const uint64_t begun_ns = core.loop.now_ns();
  auto buffer = std::make_shared<AlignedBuffer>(uint64_t{kStepBlocks} * kBlockBytes);
  for (uint32_t shard = 0; shard < ChunkIndex::kShards && !core.closing; ++shard) {
    std::vector<ChunkKey> keys;
    core.index.keys_of_shard(shard, &keys);
    for (const ChunkKey& key : keys) {
      for (const Extent& extent : core.extents_of(key)) {
        bool whole = true;
        for (uint32_t block = extent.first_block; block < extent.end_block();
             block += kStepBlocks) {
          whole = !core.closing && still_there(core, key, extent);
          if (!whole) break;
          co_await scrub_step(core, key, extent, block, buffer, report);
          const uint64_t pause = pause_ns(report, rate_bytes_per_s, core.loop.now_ns() - begun_ns);
          if (pause != 0) co_await Delay(core.loop, pause);
        }
        if (whole) ++report.extents;
      }
    }
  }
  report.finished = !core.closing;
  core.end_operation();
  co_return report;
}

}  // namespace gd2fs
