#include "store/format.h"

#include <cstdio>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "store/log_record.h"

namespace gd2fs {
namespace {

// Hex without what is all zeros, as "offset: bytes" per 16, so that golden bytes stay readable.
std::string hex_lines(ConstBytes bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 16) {
    const ConstBytes line = bytes.subspan(at, std::min<size_t>(16, bytes.size() - at));
    if (std::all_of(line.begin(), line.end(), [](std::byte b) { return b == std::byte{0}; })) {
      continue;
    }
    char text[32];
    std::snprintf(text, sizeof text, "%04zx:", at);
    out += text;
    for (const std::byte b : line) {
      std::snprintf(text, sizeof text, " %02x", static_cast<unsigned>(b));
      out += text;
    }
    out += '\n';
  }
  return out;
}

DriveUuid uuid_of(uint8_t first) {
  DriveUuid uuid;
  for (size_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::byte>(first + i);
  return uuid;
}

SlotDescriptor example() {
  SlotDescriptor d;
  d.key = {.inode = 0x0001'0203'0405'0607, .chunk = 0x0809'0A0B};
  d.chunk_log2 = 22;
  d.first_block = 5;
  d.blocks = 3;
  d.version = make_version(2, 0x11);
  d.generation = 0x2122;
  d.group = 0x31;
  d.epoch = 0x41;
  d.tag = {.incarnation = 0x5152'5354'5556'5758, .sequence = 0x61, .low = 0x60};
  d.settled_version = make_version(2, 0x10);
  d.drive_tag = uuid_of(0xA0).tag();
  d.slot_class = 2;
  d.file_number = 0x71;
  d.slot = 0x81;
  d.block_crcs = {0x91929394, 0xA1A2A3A4, 0xB1B2B3B4};
  return d;
}

TEST(Format, TheSuperblockHasTheseBytesForEver) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_superblock({.deployment_id = 0x0102030405060708,
                     .uuid = uuid_of(0xA0),
                     .created_us = 0x1112131415161718,
                     .initialized = true},
                    bytes);
  EXPECT_EQ(hex_lines(bytes), R"(0000: 47 44 32 46 53 44 52 56 01 00 00 00 00 00 00 00
0010: 08 07 06 05 04 03 02 01 a0 a1 a2 a3 a4 a5 a6 a7
0020: a8 a9 aa ab ac ad ae af 18 17 16 15 14 13 12 11
0030: 01 00 00 00 00 00 00 00 00 00 00 00 53 11 81 bc
)");
  const Result<Superblock> parsed = parse_superblock(bytes);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->deployment_id, 0x0102030405060708u);
  EXPECT_EQ(parsed->uuid, uuid_of(0xA0));
  EXPECT_TRUE(parsed->initialized);
}

TEST(Format, TheDataFileHeaderHasTheseBytesForEver) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_data_file_header({.uuid = uuid_of(0xA0), .slot_class = 6, .number = 12, .slots = 254},
                          bytes);
  EXPECT_EQ(hex_lines(bytes), R"(0000: 47 44 32 46 53 44 41 54 01 00 06 00 0c 00 00 00
0010: fe 00 00 00 00 00 00 00 a0 a1 a2 a3 a4 a5 a6 a7
0020: a8 a9 aa ab ac ad ae af 00 00 00 00 00 00 00 00
0030: 00 00 00 00 00 00 00 00 00 00 00 00 97 02 15 cc
)");
  const Result<DataFileHeader> parsed = parse_data_file_header(bytes);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->slot_class, 6);
  EXPECT_EQ(parsed->number, 12u);
  EXPECT_EQ(parsed->slots, 254u);
}

TEST(Format, TheDescriptorHasTheseBytesForEver) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_descriptor(example(), bytes);
  EXPECT_EQ(hex_lines(bytes), R"(0000: 47 44 32 46 53 45 58 54 01 00 80 00 16 02 05 00
0010: 03 00 00 00 0b 0a 09 08 07 06 05 04 03 02 01 00
0020: 11 00 00 00 00 02 00 00 22 21 00 00 00 00 00 00
0030: 41 00 00 00 00 00 00 00 31 00 00 00 71 00 00 00
0040: 58 57 56 55 54 53 52 51 61 00 00 00 00 00 00 00
0050: 60 00 00 00 00 00 00 00 10 00 00 00 00 02 00 00
0060: a0 a1 a2 a3 a4 a5 a6 a7 81 00 00 00 00 00 00 00
0070: 00 00 00 00 00 00 00 00 ac 96 19 27 5e d4 a9 9d
0080: 94 93 92 91 a4 a3 a2 a1 b4 b3 b2 b1 00 00 00 00
0f70: 00 00 00 00 94 93 92 91 a4 a3 a2 a1 b4 b3 b2 b1
0f80: 47 44 32 46 53 45 58 54 01 00 80 00 16 02 05 00
0f90: 03 00 00 00 0b 0a 09 08 07 06 05 04 03 02 01 00
0fa0: 11 00 00 00 00 02 00 00 22 21 00 00 00 00 00 00
0fb0: 41 00 00 00 00 00 00 00 31 00 00 00 71 00 00 00
0fc0: 58 57 56 55 54 53 52 51 61 00 00 00 00 00 00 00
0fd0: 60 00 00 00 00 00 00 00 10 00 00 00 00 02 00 00
0fe0: a0 a1 a2 a3 a4 a5 a6 a7 81 00 00 00 00 00 00 00
0ff0: 00 00 00 00 00 00 00 00 ac 96 19 27 5e d4 a9 9d
)");
  SlotDescriptor parsed;
  ASSERT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::valid);
  EXPECT_EQ(parsed.key, example().key);
  EXPECT_EQ(parsed.version, example().version);
  EXPECT_EQ(parsed.tag.low, 0x60u);
  EXPECT_EQ(parsed.block_crcs, example().block_crcs);
}

TEST(Format, AWipedSlotHasTheseBytesForEver) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_wiped(bytes);
  EXPECT_EQ(hex_lines(bytes), R"(0000: 47 44 32 46 53 57 49 50 01 00 00 00 00 00 00 00
0070: 00 00 00 00 00 00 00 00 00 00 00 00 57 69 46 e9
0f80: 47 44 32 46 53 57 49 50 01 00 00 00 00 00 00 00
0ff0: 00 00 00 00 00 00 00 00 00 00 00 00 57 69 46 e9
)");
}

TEST(Format, TheLogHasTheseBytesForEver) {
  std::string payload;
  LogRecord identity = LogRecord::of(LogRecord::Kind::identity, 7);
  identity.uuid = uuid_of(0xA0);
  encode_log_record(identity, &payload);
  encode_log_record(LogRecord::of(LogRecord::Kind::epoch_start, 2), &payload);
  encode_log_record(LogRecord::of(LogRecord::Kind::file_created, 6, 12), &payload);
  LogRecord fence = LogRecord::of(LogRecord::Kind::fence);
  fence.fence = {.inode = 0x11,
                 .generation = 0x12,
                 .keep_bytes = 0x13,
                 .floor_version = 0x14,
                 .chunk_log2 = 22,
                 .unlinked = true};
  encode_log_record(fence, &payload);
  LogRecord tag = LogRecord::of(LogRecord::Kind::tag);
  tag.tag = {.tag = {.incarnation = 0x21, .sequence = 0x22, .low = 0x23},
             .key = {.inode = 0x24, .chunk = 0x25},
             .version = 0x26};
  encode_log_record(tag, &payload);
  encode_log_record(LogRecord::of(LogRecord::Kind::clean_close, 0x31, 0x32), &payload);
  const std::string frame = encode_log_frame(1, payload);
  EXPECT_EQ(frame.size() % kLogAlignBytes, 0u);
  EXPECT_EQ(hex_lines(as_bytes(frame.data(), frame.size())),
            R"(0000: 47 4c 4f 47 01 00 00 00 01 00 00 00 00 00 00 00
0010: a8 00 00 00 00 00 00 00 00 00 00 00 be 60 da 9b
0020: 01 18 00 07 00 00 00 00 00 00 00 a0 a1 a2 a3 a4
0030: a5 a6 a7 a8 a9 aa ab ac ad ae af 02 10 00 02 00
0040: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 03 10
0050: 00 06 00 00 00 00 00 00 00 0c 00 00 00 00 00 00
0060: 00 05 22 00 11 00 00 00 00 00 00 00 12 00 00 00
0070: 00 00 00 00 13 00 00 00 00 00 00 00 14 00 00 00
0080: 00 00 00 00 16 01 0a 2c 00 21 00 00 00 00 00 00
0090: 00 22 00 00 00 00 00 00 00 23 00 00 00 00 00 00
00a0: 00 24 00 00 00 00 00 00 00 25 00 00 00 26 00 00
00b0: 00 00 00 00 00 07 10 00 31 00 00 00 00 00 00 00
00c0: 32 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
)");
  const LogContent content = parse_log(as_bytes(frame.data(), frame.size()));
  ASSERT_EQ(content.records.size(), 6u);
  EXPECT_FALSE(content.damaged);
  EXPECT_EQ(content.records[3].fence, fence.fence);
  EXPECT_EQ(content.records[4].tag.tag.low, 0x23u);
}

TEST(Format, ANewerSuperblockIsToldFromADamagedOne) {
  std::vector<std::byte> bytes(kHeaderBytes);
  encode_superblock({.deployment_id = 1}, bytes);
  store_le(&bytes[8], static_cast<uint16_t>(kForgottenDrivesVersion + 1));
  EXPECT_TRUE(parse_superblock(bytes).error().is(StatusCode::corrupt));
  store_le(&bytes[60], crc32c(ConstBytes(bytes).first(60)));
  EXPECT_TRUE(parse_superblock(bytes).error().is(StatusCode::unsupported));
  encode_superblock({.deployment_id = 1, .version = kForgottenDrivesVersion}, bytes);
  EXPECT_EQ(bytes[8], std::byte{2});
  EXPECT_EQ(parse_superblock(bytes)->version, kForgottenDrivesVersion);
}

TEST(Format, TheRecordOfAForgottenDriveHasTheseBytesForEver) {
  LogRecord forgotten = LogRecord::of(LogRecord::Kind::forgotten, 0x11, 0x22);
  forgotten.uuid = uuid_of(0xA0);
  std::string payload;
  encode_log_record(forgotten, &payload);
  EXPECT_EQ(hex_lines(as_bytes(payload.data(), payload.size())),
            R"(0000: 0d 20 00 a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 aa ab ac
0010: ad ae af 11 00 00 00 00 00 00 00 22 00 00 00 00
)");
  const std::string frame = encode_log_frame(1, payload);
  const LogContent content = parse_log(as_bytes(frame.data(), frame.size()));
  ASSERT_EQ(content.records.size(), 1u);
  EXPECT_EQ(content.records[0].uuid, forgotten.uuid);
  EXPECT_EQ(content.records[0].a, 0x11u);
  EXPECT_EQ(content.records[0].b, 0x22u);
}

TEST(Format, ADriveIsNamedByItsHexDigits) {
  const DriveUuid uuid = uuid_of(0xF0);
  EXPECT_EQ(*DriveUuid::parse(uuid.to_string()), uuid);
  for (const char* wrong :
       {"", "f0", "g0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "+0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00"}) {
    EXPECT_FALSE(DriveUuid::parse(wrong).has_value()) << wrong;
  }
}

TEST(Format, AnyOneFlippedBitOfADescriptorLosesNothing) {
  for (const uint16_t blocks : {uint16_t{1}, uint16_t{64}, uint16_t{480}}) {
    SlotDescriptor d = example();
    d.chunk_log2 = kChunkLog2Max;
    d.blocks = blocks;
    d.slot_class = slot_class_for(blocks);
    d.block_crcs.assign(blocks, 0x12345678);
    std::vector<std::byte> bytes(class_descriptor_bytes(d.slot_class));
    encode_descriptor(d, bytes);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      const std::byte mask{static_cast<unsigned char>(1 << (bit % 8))};
      bytes[bit / 8] ^= mask;
      SlotDescriptor parsed;
      ASSERT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::valid) << blocks << " " << bit;
      ASSERT_EQ(parsed.version, d.version);
      ASSERT_EQ(parsed.block_crcs, d.block_crcs);
      bytes[bit / 8] ^= mask;
    }
  }
}

TEST(Format, ABigDescriptorWithDamagedChecksumsIsTornNotLost) {
  SlotDescriptor d = example();
  d.chunk_log2 = kChunkLog2Max;
  d.first_block = 0;
  d.blocks = kChunkBlocksMax;
  d.slot_class = slot_class_for(d.blocks);
  d.block_crcs.assign(d.blocks, 7);
  std::vector<std::byte> bytes(class_descriptor_bytes(d.slot_class));
  ASSERT_EQ(bytes.size(), 8192u);
  encode_descriptor(d, bytes);
  bytes[1000] ^= std::byte{1};
  SlotDescriptor parsed;
  EXPECT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::torn);
  EXPECT_EQ(parsed.key, d.key);
  bytes[1000] ^= std::byte{1};
  bytes[3] ^= std::byte{1};
  EXPECT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::valid);
}

TEST(Format, ZerosAndWipedSlotsAreEmptyAndNoiseIsDamaged) {
  std::vector<std::byte> bytes(kHeaderBytes);
  SlotDescriptor parsed;
  EXPECT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::empty);
  bytes[700] = std::byte{1};
  EXPECT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::damaged);
  encode_wiped(bytes);
  bytes[20] ^= std::byte{0x10};
  EXPECT_EQ(parse_descriptor(bytes, &parsed), DescriptorVerdict::empty);
  // Wiped at the front only, as a torn wipe leaves it.
  std::vector<std::byte> old(kHeaderBytes);
  encode_descriptor(example(), old);
  std::vector<std::byte> wiped(kHeaderBytes);
  encode_wiped(wiped);
  std::copy_n(wiped.begin(), 512, old.begin());
  EXPECT_EQ(parse_descriptor(old, &parsed), DescriptorVerdict::empty);
}

TEST(Format, SlotClassesAndFileNamesMapBackAndForth) {
  EXPECT_EQ(slot_class_for(1), 0);
  EXPECT_EQ(slot_class_for(2), 1);
  EXPECT_EQ(slot_class_for(3), 2);
  EXPECT_EQ(slot_class_for(64), 6);
  EXPECT_EQ(slot_class_for(65), 7);
  EXPECT_EQ(slot_class_for(1024), 10);
  EXPECT_EQ(data_file_name(6, 12), "data/c06-0012");
  EXPECT_EQ(data_file_name(10, 123456), "data/c10-123456");
  uint8_t slot_class = 0;
  uint32_t number = 0;
  EXPECT_TRUE(parse_data_file_name("c06-0012", &slot_class, &number));
  EXPECT_EQ(slot_class, 6);
  EXPECT_EQ(number, 12u);
  for (const char* bad : {"", "c06", "c6-0012", "c11-0000", "c06-12", "c06-00012", "c06-0012x",
                          "d06-0012", "c06-99999999", "c06--001"}) {
    EXPECT_FALSE(parse_data_file_name(bad, &slot_class, &number)) << bad;
  }
}

// A frame whose checksum is right, but which no version of ours has written.
TEST(Log, AFlagThatIsNeitherYesNorNoIsDamage) {
  LogRecord fence = LogRecord::of(LogRecord::Kind::fence);
  fence.fence.chunk_log2 = 22;
  std::string payload;
  encode_log_record(fence, &payload);
  for (const int flag : {0, 1, 2}) {
    payload.back() = static_cast<char>(flag);
    const std::string frame = encode_log_frame(1, payload);
    const LogContent log = parse_log(as_bytes(frame.data(), frame.size()));
    EXPECT_EQ(log.damaged, flag == 2) << flag;
    EXPECT_EQ(log.records.size(), flag == 2 ? 0u : 1u) << flag;
  }
}

TEST(Log, ATornLastFrameIsTheEndAndADamagedMiddleIsDamage) {
  std::string file;
  for (uint64_t number = 1; number <= 3; ++number) {
    std::string payload;
    encode_log_record(LogRecord::of(LogRecord::Kind::epoch_start, number), &payload);
    file += encode_log_frame(number, payload);
  }
  const auto parse = [&] { return parse_log(as_bytes(file.data(), file.size())); };
  EXPECT_EQ(parse().records.size(), 3u);
  EXPECT_EQ(parse().next_number, 4u);
  file[2 * kLogAlignBytes + 40] ^= 1;
  EXPECT_EQ(parse().records.size(), 2u);
  EXPECT_FALSE(parse().damaged);
  EXPECT_EQ(parse().end_bytes, 2 * kLogAlignBytes);
  file[2 * kLogAlignBytes + 40] ^= 1;
  file[kLogAlignBytes + 40] ^= 1;
  EXPECT_EQ(parse().records.size(), 1u);
  EXPECT_TRUE(parse().damaged);
}

TEST(Log, NoFlippedByteLosesARecordWhereEachFrameStandsTwice) {
  std::string file;
  for (uint64_t number = 5; number <= 7; ++number) {
    std::string payload;
    for (uint64_t i = 0; i < (number == 6 ? 60u : 1u); ++i) {
      encode_log_record(LogRecord::of(LogRecord::Kind::epoch_start, number), &payload);
    }
    const std::string frame = encode_log_frame(number, payload);
    file += frame + frame;
  }
  ASSERT_GT(file.size(), 6 * kLogAlignBytes);
  for (size_t at = 0; at < file.size(); ++at) {
    file[at] ^= 0x10;
    const LogContent content = parse_log(as_bytes(file.data(), file.size()));
    file[at] ^= 0x10;
    ASSERT_FALSE(content.damaged) << at;
    ASSERT_EQ(content.records.size(), 62u) << at;
    ASSERT_EQ(content.next_number, 8u) << at;
  }
}

}  // namespace
}  // namespace gd2fs
