#include "store/format.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "base/crc32c.h"

namespace gd2fs {
namespace {

// Eight ASCII letters, as they appear in a hex dump.
constexpr uint64_t magic(const char (&text)[9]) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = (value << 8) | static_cast<uint8_t>(text[i]);
  return value;
}
constexpr uint64_t kSuperblockMagic = magic("GD2FSDRV");
constexpr uint64_t kDataFileMagic = magic("GD2FSDAT");
constexpr uint64_t kDescriptorMagic = magic("GD2FSEXT");
constexpr uint64_t kWipedMagic = magic("GD2FSWIP");

// Superblock and data file header: the checksum at 60 covers what is before it. That much may
// never change, so that any later version can be told from damage.
constexpr size_t kCrcAt = 60;

void put_header_crc(Bytes out) {
  store_le(&out[kCrcAt], crc32c(ConstBytes(out).first(kCrcAt)));
}

Status check_header(ConstBytes bytes, uint64_t expected_magic, uint16_t newest_version,
                    std::string_view what) {
  if (bytes.size() < kHeaderBytes) return Status(StatusCode::corrupt, what).with("too short");
  if (load_le<uint64_t>(&bytes[0]) != expected_magic ||
      load_le<uint32_t>(&bytes[kCrcAt]) != crc32c(bytes.first(kCrcAt))) {
    return Status(StatusCode::corrupt, what).with("damaged");
  }
  if (load_le<uint16_t>(&bytes[8]) > newest_version) {
    return Status(StatusCode::unsupported, what).with("written by a newer version of GD2FS");
  }
  return {};
}

bool all_zero(ConstBytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

constexpr size_t kTableCrcAt = 120;
constexpr size_t kDescriptorCrcAt = 124;

bool plausible(const SlotDescriptor& d) {
  return d.slot_class < kSlotClasses && d.chunk_log2 >= kChunkLog2Min &&
         d.chunk_log2 <= kChunkLog2Max && d.blocks >= 1 &&
         uint32_t{d.first_block} + d.blocks <= blocks_in_chunk(d.chunk_log2) &&
         d.blocks <= (1u << d.slot_class);
}

}  // namespace

uint8_t slot_class_for(uint32_t blocks) {
  CHECK(blocks >= 1 && blocks <= kChunkBlocksMax);
  return static_cast<uint8_t>(std::bit_width(blocks - 1));
}

void encode_superblock(const Superblock& superblock, Bytes out) {
  CHECK(out.size() == kHeaderBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  store_le(&out[0], kSuperblockMagic);
  store_le(&out[8], superblock.version);
  store_le(&out[16], superblock.deployment_id);
  std::copy(superblock.uuid.bytes.begin(), superblock.uuid.bytes.end(), &out[24]);
  store_le(&out[40], superblock.created_us);
  store_le(&out[48], static_cast<uint8_t>(superblock.initialized ? 1 : 0));
  put_header_crc(out);
}

Result<Superblock> parse_superblock(ConstBytes bytes) {
  GD2FS_TRY(check_header(bytes, kSuperblockMagic, kForgottenDrivesVersion, "drive.id"));
  Superblock superblock;
  superblock.deployment_id = load_le<uint64_t>(&bytes[16]);
  std::copy_n(&bytes[24], 16, superblock.uuid.bytes.begin());
  superblock.created_us = load_le<uint64_t>(&bytes[40]);
  superblock.initialized = load_le<uint8_t>(&bytes[48]) == 1;
  superblock.version = load_le<uint16_t>(&bytes[8]);
  return superblock;
}

void encode_data_file_header(const DataFileHeader& header, Bytes out) {
  CHECK(out.size() == kHeaderBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  store_le(&out[0], kDataFileMagic);
  store_le(&out[8], kStoreFormatVersion);
  store_le(&out[10], header.slot_class);
  store_le(&out[12], header.number);
  store_le(&out[16], header.slots);
  std::copy(header.uuid.bytes.begin(), header.uuid.bytes.end(), &out[24]);
  put_header_crc(out);
}

Result<DataFileHeader> parse_data_file_header(ConstBytes bytes) {
  GD2FS_TRY(check_header(bytes, kDataFileMagic, kStoreFormatVersion, "data file header"));
  DataFileHeader header;
  header.slot_class = load_le<uint8_t>(&bytes[10]);
  header.number = load_le<uint32_t>(&bytes[12]);
  header.slots = load_le<uint32_t>(&bytes[16]);
  std::copy_n(&bytes[24], 16, header.uuid.bytes.begin());
  if (header.slot_class >= kSlotClasses || header.number > kDataFileNumberMax ||
      header.slots > kSlotsPerFileMax) {
    return fail(StatusCode::corrupt, "data file header: impossible numbers");
  }
  return header;
}

std::string data_file_name(uint8_t slot_class, uint32_t number) {
  char name[32];
  std::snprintf(name, sizeof name, "data/c%02u-%04u", unsigned{slot_class}, unsigned{number});
  return name;
}

bool parse_data_file_name(std::string_view name, uint8_t* slot_class, uint32_t* number) {
  if (name.size() < 8 || name[0] != 'c' || name[3] != '-') return false;
  const char* const end = name.data() + name.size();
  unsigned parsed_class = 0;
  unsigned parsed_number = 0;
  const auto [class_end, class_error] = std::from_chars(&name[1], &name[3], parsed_class);
  const auto [number_end, number_error] = std::from_chars(&name[4], end, parsed_number);
  if (class_error != std::errc() || class_end != &name[3] || number_error != std::errc() ||
      number_end != end || parsed_class >= kSlotClasses || parsed_number > kDataFileNumberMax) {
    return false;
  }
  *slot_class = static_cast<uint8_t>(parsed_class);
  *number = parsed_number;
  // One spelling only: "c6-12" or "c06-00012" are not ours.
  return data_file_name(*slot_class, *number).substr(5) == name;
}

namespace {

// The copy at the back: the header last, the checksums before it if they do not run into the first
// ones.
size_t header_copy_at(size_t area_bytes) {
  return area_bytes - kDescriptorHeaderBytes;
}
size_t table_copy_at(size_t area_bytes, size_t table_bytes) {
  const size_t at = header_copy_at(area_bytes) - table_bytes;
  return at >= kDescriptorHeaderBytes + table_bytes ? at : 0;
}

void put_header(const SlotDescriptor& d, uint32_t table_crc, Bytes out) {
  store_le(&out[0], kDescriptorMagic);
  store_le(&out[8], kStoreFormatVersion);
  store_le(&out[10], static_cast<uint16_t>(kDescriptorHeaderBytes));
  store_le(&out[12], d.chunk_log2);
  store_le(&out[13], d.slot_class);
  store_le(&out[14], d.first_block);
  store_le(&out[16], d.blocks);
  store_le(&out[20], d.key.chunk);
  store_le(&out[24], d.key.inode);
  store_le(&out[32], d.version);
  store_le(&out[40], d.generation);
  store_le(&out[48], d.epoch);
  store_le(&out[56], d.group);
  store_le(&out[60], d.file_number);
  store_le(&out[64], d.tag.incarnation);
  store_le(&out[72], d.tag.sequence);
  store_le(&out[80], d.tag.low);
  store_le(&out[88], d.settled_version);
  store_le(&out[96], d.drive_tag);
  store_le(&out[104], d.slot);
  store_le(&out[kTableCrcAt], table_crc);
  store_le(&out[kDescriptorCrcAt], crc32c(ConstBytes(out).first(kDescriptorCrcAt)));
}

// Whether a whole header of either kind stands here.
bool whole_header(ConstBytes bytes, uint64_t expected_magic) {
  return load_le<uint64_t>(bytes.data()) == expected_magic &&
         load_le<uint16_t>(&bytes[8]) == kStoreFormatVersion &&
         load_le<uint32_t>(&bytes[kDescriptorCrcAt]) == crc32c(bytes.first(kDescriptorCrcAt));
}

bool get_header(ConstBytes bytes, SlotDescriptor* d, uint32_t* table_crc) {
  if (!whole_header(bytes, kDescriptorMagic)) return false;
  d->chunk_log2 = load_le<uint8_t>(&bytes[12]);
  d->slot_class = load_le<uint8_t>(&bytes[13]);
  d->first_block = load_le<uint16_t>(&bytes[14]);
  d->blocks = load_le<uint16_t>(&bytes[16]);
  d->key.chunk = load_le<uint32_t>(&bytes[20]);
  d->key.inode = load_le<uint64_t>(&bytes[24]);
  d->version = load_le<uint64_t>(&bytes[32]);
  d->generation = load_le<uint64_t>(&bytes[40]);
  d->epoch = load_le<uint64_t>(&bytes[48]);
  d->group = load_le<uint32_t>(&bytes[56]);
  d->file_number = load_le<uint32_t>(&bytes[60]);
  d->tag.incarnation = load_le<uint64_t>(&bytes[64]);
  d->tag.sequence = load_le<uint64_t>(&bytes[72]);
  d->tag.low = load_le<uint64_t>(&bytes[80]);
  d->settled_version = load_le<uint64_t>(&bytes[88]);
  d->drive_tag = load_le<uint64_t>(&bytes[96]);
  d->slot = load_le<uint32_t>(&bytes[104]);
  *table_crc = load_le<uint32_t>(&bytes[kTableCrcAt]);
  return load_le<uint16_t>(&bytes[10]) == kDescriptorHeaderBytes && plausible(*d);
}

bool get_table(ConstBytes bytes, uint32_t table_crc, std::vector<uint32_t>* crcs) {
  if (table_crc != crc32c(bytes)) return false;
  crcs->resize(bytes.size() / sizeof(uint32_t));
  std::copy(bytes.begin(), bytes.end(), as_writable_bytes(crcs->data(), bytes.size()).begin());
  return true;
}

}  // namespace

void encode_descriptor(const SlotDescriptor& d, Bytes out) {
  CHECK(plausible(d) && d.block_crcs.size() == d.blocks);
  CHECK(out.size() == class_descriptor_bytes(d.slot_class));
  std::fill(out.begin(), out.end(), std::byte{0});
  const ConstBytes table = as_bytes(d.block_crcs.data(), d.blocks * sizeof(uint32_t));
  const uint32_t table_crc = crc32c(table);
  put_header(d, table_crc, out);
  put_header(d, table_crc, out.subspan(header_copy_at(out.size())));
  std::copy(table.begin(), table.end(), &out[kDescriptorHeaderBytes]);
  if (const size_t copy_at = table_copy_at(out.size(), table.size())) {
    std::copy(table.begin(), table.end(), &out[copy_at]);
  }
}

void encode_wiped(Bytes out) {
  CHECK(out.size() >= kHeaderBytes);
  std::fill(out.begin(), out.end(), std::byte{0});
  for (const size_t at : {size_t{0}, header_copy_at(out.size())}) {
    const Bytes marker = out.subspan(at, kDescriptorHeaderBytes);
    store_le(&marker[0], kWipedMagic);
    store_le(&marker[8], kStoreFormatVersion);
    store_le(&marker[kDescriptorCrcAt], crc32c(ConstBytes(marker).first(kDescriptorCrcAt)));
  }
}

DescriptorVerdict parse_descriptor(ConstBytes bytes, SlotDescriptor* out) {
  if (bytes.size() < kHeaderBytes) return DescriptorVerdict::damaged;
  const ConstBytes copy = bytes.subspan(header_copy_at(bytes.size()));
  SlotDescriptor d;
  uint32_t table_crc = 0;
  // The front is written and wiped as one sector; only if that is neither counts the back.
  if (whole_header(bytes, kWipedMagic)) return DescriptorVerdict::empty;
  if (!get_header(bytes, &d, &table_crc)) {
    if (whole_header(copy, kWipedMagic) || all_zero(bytes)) return DescriptorVerdict::empty;
    if (!get_header(copy, &d, &table_crc)) return DescriptorVerdict::damaged;
  }
  const size_t table_bytes = d.blocks * sizeof(uint32_t);
  if (kDescriptorHeaderBytes + table_bytes > bytes.size()) return DescriptorVerdict::damaged;
  const size_t copy_at = table_copy_at(bytes.size(), table_bytes);
  const bool has_table =
      get_table(bytes.subspan(kDescriptorHeaderBytes, table_bytes), table_crc, &d.block_crcs) ||
      (copy_at != 0 && get_table(bytes.subspan(copy_at, table_bytes), table_crc, &d.block_crcs));
  *out = std::move(d);
  return has_table ? DescriptorVerdict::valid : DescriptorVerdict::torn;
}

}  // namespace gd2fs
