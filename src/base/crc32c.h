// CRC32C (Castagnoli, RFC 3720 appendix B.4): the checksum of every block, frame and record.
//
// crc32c(data) is the finished value (initial ~0, final xor ~0), so crc32c("123456789") is
// 0xE3069283. crc32c_extend continues a finished value over more bytes; crc32c_combine gives the
// value of A||B from the values of A and B, which lets a server checksum a range from stored block
// checksums without touching the data. The CPU's crc32 instruction does the work in four
// interleaved streams; a portable table version stands in elsewhere. The tests cross-check both
// against ISA-L (docs/decisions/002-crc32c.md says why ISA-L is not linked). Any thread.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace gd2fs {

uint32_t crc32c(ConstBytes data);
uint32_t crc32c_extend(uint32_t crc, ConstBytes data);
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b_bytes);
uint32_t crc32c_zeros(uint64_t length_bytes);

// crcs[i] = crc32c of block i of data, whose blocks have block_bytes, the last one possibly fewer;
// crcs has one place for each. The next block is asked for from memory before this one's end.
void crc32c_blocks(ConstBytes data, size_t block_bytes, std::span<uint32_t> crcs);
// The same while copying `from` to `to`, which is of the same size and does not overlap it. Every
// byte of `from` is read once, so that each crc is of what is in `to` even if another process
// changes `from` meanwhile. What is copied is not in the caches afterwards, but for less than a
// page at its end, or where `to` is not aligned to 16.
void crc32c_copy_blocks(ConstBytes from, Bytes to, size_t block_bytes, std::span<uint32_t> crcs);
// As crc32c_extend, copying in the same way.
uint32_t crc32c_copy_extend(uint32_t crc, ConstBytes from, Bytes to);

// The portable twin, for the cross-check.
uint32_t crc32c_extend_portable(uint32_t crc, ConstBytes data);

}  // namespace gd2fs
