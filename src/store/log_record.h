// The records of drive.log and the frames that carry them.
//
// drive.log is small and append-only: what must survive the loss of the index. A frame is what one
// append writes: it starts at a multiple of kLogAlignBytes, carries a number one higher than the
// frame before, checks itself, and is synced before the next is written. Each stands twice in a
// row, so that one damaged byte loses nothing: without its copy, damage of the last frame could not
// be told from a write that a crash cut short. A number that is missing is real damage, and said.
//
// Parsers take hostile bytes. Pure functions, any thread.
#pragma once

#include <string>
#include <vector>

#include "store/format.h"

namespace gd2fs {

inline constexpr uint64_t kLogAlignBytes = 512;
inline constexpr size_t kLogFrameHeaderBytes = 32;
inline constexpr size_t kLogFrameMaxBytes = 256 * kKiB;  // of payload
inline constexpr uint64_t kLogFileMaxBytes = 1 * kGiB;   // a longer file is not ours

// Numbers of inode generations that outlive their requests, and what a fence dropped.
struct FenceRecord {
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t keep_bytes = UINT64_MAX;
  uint64_t floor_version = 0;  // bytes from keep_bytes on, of versions below this, are gone
  uint8_t chunk_log2 = kChunkLog2Default;
  bool unlinked = false;
  friend bool operator==(const FenceRecord&, const FenceRecord&) = default;
};

// A mutation that happened although no descriptor tells of it any more.
struct TagRecord {
  MutationTag tag;
  ChunkKey key;
  uint64_t version = 0;
};

struct LogRecord {
  enum class Kind : uint8_t {
    identity = 1,      // a = deployment id, uuid: first record of every file
    epoch_start = 2,   // a = store epoch, logged before its first version is used
    file_created = 3,  // a = class, b = number
    file_removed = 4,  // a = class, b = number; logged before the file goes
    fence = 5,
    watermark = 6,    // a = every version up to here is settled, b = index transactions
    clean_close = 7,  // a = index transactions, b = index digest; true only as the last record
    incomplete = 8,   // descriptors were lost: what no extent covers is not known to be zeros
    member = 9,       // uuid of a drive of this store
    tag = 10,
    overflow = 11,   // chunks whose home has uuid tag a were placed on the drive with tag b
    scattered = 12,  // the set of drives has changed: chunks may be on any of them
    // The drive with this uuid was given up as lost when all versions were below a. With b: inodes
    // of b's cluster from b on were made after that, and never had anything there. The one with b 0
    // is the last and makes the others count.
    forgotten = 13,
  };
  Kind kind = Kind::identity;
  uint64_t a = 0;
  uint64_t b = 0;
  DriveUuid uuid;
  FenceRecord fence;
  TagRecord tag;

  static LogRecord of(Kind kind, uint64_t a = 0, uint64_t b = 0) {
    LogRecord record;
    record.kind = kind;
    record.a = a;
    record.b = b;
    return record;
  }
};

// Appends one record's bytes to a payload.
void encode_log_record(const LogRecord& record, std::string* payload);
// One frame around `payload` (<= kLogFrameMaxBytes), padded to kLogAlignBytes.
std::string encode_log_frame(uint64_t number, std::string_view payload);

struct LogContent {
  std::vector<LogRecord> records;
  uint64_t end_bytes = 0;  // where the next frame goes
  uint64_t next_number = 1;
  bool damaged = false;  // a frame is missing before a whole one, or a record is impossible
};
// Reads all frames of a file. Never fails: what cannot be read is told by `damaged`.
LogContent parse_log(ConstBytes file);

}  // namespace gd2fs
