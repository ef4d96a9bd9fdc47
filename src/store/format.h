// The bytes on a drive: superblock, data file header, slot descriptor. docs/on_disk.md tells the
// story and pins the layout; tests hold golden bytes of each.
//
// Everything is little-endian and checks itself, so a parser never trusts a length or a number
// before the checksum over it has been compared. Parsers take hostile bytes and answer a Status or
// a verdict; they never CHECK. Pure functions, any thread.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "store/drive_uuid.h"
#include "store/store.h"

namespace gd2fs {

inline constexpr uint16_t kStoreFormatVersion = 1;
// drive.id has this one when the drive's log may hold what version 1 does not know: drives that
// were given up as lost.
inline constexpr uint16_t kForgottenDrivesVersion = 2;
inline constexpr uint8_t kSlotClasses = kChunkLog2Max - kChunkLog2Min + 1;  // 64 KiB .. 64 MiB
inline constexpr uint32_t kChunkBlocksMax = 1u << (kChunkLog2Max - kChunkLog2Min);
inline constexpr uint32_t kHeaderBytes = 4096;  // superblock copy, data file header

inline constexpr uint32_t blocks_in_chunk(uint8_t chunk_log2) {
  return 1u << (chunk_log2 - kChunkLog2Min);
}
// The smallest class whose slots hold `blocks` blocks (1 .. kChunkBlocksMax).
uint8_t slot_class_for(uint32_t blocks);
inline constexpr uint64_t class_data_bytes(uint8_t slot_class) {
  return uint64_t{kBlockBytes} << slot_class;
}
// The biggest class holds 1024 block checksums, which do not fit into 4 KiB beside the header.
inline constexpr uint32_t class_descriptor_bytes(uint8_t slot_class) {
  return slot_class == kSlotClasses - 1 ? 8192 : 4096;
}
inline constexpr uint64_t class_slot_bytes(uint8_t slot_class) {
  return class_descriptor_bytes(slot_class) + class_data_bytes(slot_class);
}
inline constexpr uint64_t slot_offset(uint8_t slot_class, uint32_t slot) {
  return kHeaderBytes + slot * class_slot_bytes(slot_class);
}

// drive.id holds this twice, at 0 and at kHeaderBytes.
struct Superblock {
  uint64_t deployment_id = 0;
  DriveUuid uuid;
  uint64_t created_us = 0;
  bool initialized = false;  // log and index were made; if both are missing now, they were lost
  uint16_t version = kStoreFormatVersion;  // or kForgottenDrivesVersion
};
void encode_superblock(const Superblock& superblock, Bytes out);  // kHeaderBytes
// corrupt; unsupported if it is whole but of a newer version.
Result<Superblock> parse_superblock(ConstBytes bytes);

// The first kHeaderBytes of a data file.
struct DataFileHeader {
  DriveUuid uuid;
  uint8_t slot_class = 0;
  uint32_t number = 0;
  uint32_t slots = 0;
};
void encode_data_file_header(const DataFileHeader& header, Bytes out);
Result<DataFileHeader> parse_data_file_header(ConstBytes bytes);

inline constexpr uint32_t kDataFileNumberMax = (1u << 24) - 1;
inline constexpr uint32_t kSlotsPerFileMax = 65536;
std::string data_file_name(uint8_t slot_class, uint32_t number);  // "data/c06-0012"
// From the plain name without folder; false if it is not one of ours.
bool parse_data_file_name(std::string_view name, uint8_t* slot_class, uint32_t* number);

// What one slot holds: one chunk update.
struct SlotDescriptor {
  ChunkKey key;
  uint8_t chunk_log2 = 0;
  uint16_t first_block = 0;
  uint16_t blocks = 0;
  uint64_t version = 0;
  uint64_t generation = 0;
  uint32_t group = 0;
  uint64_t epoch = 0;
  MutationTag tag;  // incarnation 0: the store's own rewrite
  // Every version up to here was settled (committed, or wiped) when this was written, on any drive.
  uint64_t settled_version = 0;
  uint64_t drive_tag = 0;
  uint8_t slot_class = 0;  // where it lies; a write that landed elsewhere is noticed
  uint32_t file_number = 0;
  uint32_t slot = 0;
  std::vector<uint32_t> block_crcs;  // one per block
};
inline constexpr size_t kDescriptorHeaderBytes = 128;
// `out` is class_descriptor_bytes(slot_class). Header and block checksums stand at the front and
// once more at the back (the checksums where they fit), so that one flipped byte loses nothing:
// without its index a drive knows an extent only from here.
void encode_descriptor(const SlotDescriptor& descriptor, Bytes out);
// What a wiped slot holds instead. Not zeros: a crash in the middle leaves the first sector either
// old or new, and both are understood; half a descriptor behind a zeroed sector would not be.
void encode_wiped(Bytes out);

enum class DescriptorVerdict : uint8_t {
  valid,
  empty,    // never written (all zeros), or wiped
  torn,     // the header is whole, the block checksums are not
  damaged,  // neither
};
DescriptorVerdict parse_descriptor(ConstBytes bytes, SlotDescriptor* out);

// version = store epoch (24 bits) above a counter (40 bits).
inline constexpr int kVersionCounterBits = 40;
inline constexpr uint64_t make_version(uint64_t store_epoch, uint64_t counter) {
  return (store_epoch << kVersionCounterBits) | counter;
}
inline constexpr uint64_t epoch_of_version(uint64_t version) {
  return version >> kVersionCounterBits;
}

}  // namespace gd2fs
