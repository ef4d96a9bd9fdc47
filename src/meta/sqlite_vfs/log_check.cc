#include "meta/sqlite_vfs/log_check.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace gd2fs {
namespace {

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = 24;
constexpr uint32_t kMagic = 0x377f0682;  // its last bit: checksums take words as big-endian
constexpr uint64_t kLogMaxBytes = 1 * kGiB;

uint32_t load_be(ConstBytes bytes, size_t at) {
  return std::byteswap(load_le<uint32_t>(&bytes[at]));
}

// SQLite's checksum: two sums over pairs of words, each going on from the one before.
struct Sums {
  uint32_t first = 0;
  uint32_t second = 0;
  bool big_endian = false;

  void add(ConstBytes bytes) {
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += word(bytes, at) + second;
      second += word(bytes, at + 4) + first;
    }
  }
  bool equals(ConstBytes bytes, size_t at) const {
    return load_be(bytes, at) == first && load_be(bytes, at + 4) == second;
  }

 private:
  uint32_t word(ConstBytes bytes, size_t at) const {
    return big_endian ? load_be(bytes, at) : load_le<uint32_t>(&bytes[at]);
  }
};

}  // namespace

LogCondition check_log_bytes(ConstBytes log) {
  if (log.size() < kHeaderBytes) return LogCondition::whole;  // nothing was ever synced
  const ConstBytes header = log.first(kHeaderBytes);
  const uint32_t magic = load_be(header, 0);
  const size_t page_bytes = load_be(header, 8);
  Sums sums{.big_endian = (magic & 1) != 0};
  sums.add(header.first(24));
  const bool whole_header = (magic & ~1u) == kMagic && sums.equals(header, 24) &&
                            page_bytes >= 512 && page_bytes <= 65536;
  if (!whole_header) return LogCondition::damaged;  // it is synced before the first frame
  const size_t frame_bytes = kFrameHeaderBytes + page_bytes;
  const auto is_of_this_log = [&](ConstBytes frame) {
    return std::equal(&frame[8], &frame[16], &header[16]);  // the salts
  };
  size_t at = kHeaderBytes;
  for (; at + frame_bytes <= log.size(); at += frame_bytes) {
    const ConstBytes frame = log.subspan(at, frame_bytes);
    Sums with = sums;
    with.add(frame.first(8));
    with.add(frame.subspan(kFrameHeaderBytes));
    if (!is_of_this_log(frame) || !with.equals(frame, 16)) break;
    sums = with;
  }
  // The frame at the break may be one that a crash cut short. Behind it there is nothing but what
  // an older log left, or else it was whole once.
  for (at += frame_bytes; at + frame_bytes <= log.size(); at += frame_bytes) {
    if (is_of_this_log(log.subspan(at, frame_bytes))) return LogCondition::damaged;
  }
  return LogCondition::whole;
}

Result<LogCondition> check_database_log(Disk& disk, const std::string& name) {
  auto file = disk.open(name + "-wal", OpenMode::read_only, OpenKind::cached);
  if (!file && file.error().is(StatusCode::not_found)) return LogCondition::missing;
  if (!file) return fail(file.error());
  GD2FS_ASSIGN(const uint64_t size_bytes, (*file)->size_bytes());
  if (size_bytes > kLogMaxBytes) return fail(StatusCode::corrupt, name + "-wal: too long");
  std::vector<std::byte> bytes(size_bytes);
  GD2FS_ASSIGN(const size_t got, (*file)->read_at(0, bytes));
  return check_log_bytes(ConstBytes(bytes).first(got));
}

}  // namespace gd2fs
