#include "meta/records.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "meta/keys.h"

namespace gd2fs {
namespace {

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

// The record's body with a right checksum behind it, as another version might have written it.
std::string with_crc(std::string_view key, std::string body) {
  const uint32_t crc =
      crc32c_extend(crc32c(as_bytes(key.data(), key.size())), as_bytes(body.data(), body.size()));
  body.append(reinterpret_cast<const char*>(&crc), sizeof crc);
  return body;
}

InodeRecord some_inode() {
  InodeRecord record;
  record.type = FileType::file;
  record.chunk_log2 = 22;
  record.layout_version = 1;
  record.generation = 3;
  record.size_bytes = 0x1000;
  record.reserved_bytes = 0x2000;
  record.mtime_us = 4;
  record.ctime_us = 5;
  record.pending_generation = 3;
  record.parent = 0x0003000000000001;
  record.name = "f";
  return record;
}

TEST(Records, golden_bytes_never_change) {
  EXPECT_EQ(hex(FormatRecord().encode(format_key())),
            "0101"
            "01000000"
            "00"
            "e22c3660");
  EXPECT_EQ(hex(CounterRecord{2}.encode(counter_key(1))),
            "0601"
            "0200000000000000"
            "94db8cd0");
  EXPECT_EQ(hex(ClusterNameRecord{3}.encode(cluster_name_key("r1"))),
            "0301"
            "0300"
            "22cde3b6");
  const ClusterRecord cluster{
      {.id = 3,
       .name = "r1",
       .policy = {.chunk_log2 = 20, .quota_bytes = 0x400, .durability = Durability::memory},
       .token = "t",
       .previous_token = "",
       .namespace_epoch = 9,
       .created_us = 7},
      ""};
  EXPECT_EQ(hex(cluster.encode(cluster_key(3))),
            "0201"
            "02007231"
            "14"
            "0004000000000000"
            "01"
            "0900000000000000"
            "010074"
            "0000"
            "0700000000000000"
            "a602985c");
  const DentryRecord dentry{.type = FileType::file, .inode = 0x0003000000000011};
  EXPECT_EQ(hex(dentry.encode(dentry_key(1, "a"))),
            "0401"
            "01"
            "1100000000000300"
            "00"
            "2a43ae99");
  const DentryRecord held{.type = FileType::none,
                          .inode = 0,
                          .holds = 1,
                          .was_type = FileType::file,
                          .was_inode = 0x0003000000000011};
  EXPECT_EQ(hex(held.encode(dentry_key(1, "a"))),
            "0401"
            "00"
            "0000000000000000"
            "01"
            "01"
            "1100000000000300"
            "ce520db0");
  EXPECT_EQ(hex(some_inode().encode(inode_key(0x0003000000000011))),
            "0501"
            "01"
            "00"
            "16"
            "01000000"
            "0300000000000000"
            "0010000000000000"
            "0020000000000000"
            "0400000000000000"
            "0500000000000000"
            "0300000000000000"
            "0100000000000300"
            "010066"
            "02b3d1be");
  InodeRecord pinned = some_inode();
  pinned.attributes = InodeRecord::kPinned;
  const std::string pinned_hex = hex(pinned.encode(inode_key(0x0003000000000011)));
  EXPECT_EQ(pinned_hex.substr(0, pinned_hex.size() - 8),
            hex(some_inode().encode(inode_key(0x0003000000000011))).substr(0, 2 * 68) + "01");
  const UsageRecord usage{
      .files = 1, .directories = -1, .size_bytes = 2, .reserved_bytes = 3, .granted_bytes = 4};
  EXPECT_EQ(hex(usage.encode(usage_key(3, 0))),
            "0901"
            "0100000000000000"
            "ffffffffffffffff"
            "0200000000000000"
            "0300000000000000"
            "0400000000000000"
            "8440c9ea");
  const IntentRecord intent{{.inode = 1,
                             .generation = 2,
                             .keep_bytes = 5,
                             .chunk_log2 = 22,
                             .unlinked = true,
                             .namespace_epoch = 0,
                             .settled = false},
                            {{7, "n"}}};
  EXPECT_EQ(hex(intent.encode(intent_key(1, 2))),
            "0a01"
            "0500000000000000"
            "16"
            "01"
            "0000000000000000"
            "00"
            "01"
            "0700000000000000"
            "01006e"
            "93f48246");
  const AnswerRecord tag{.sequence = 1,
                         .operation = 2,
                         .arguments_crc = 3,
                         .time_us = 4,
                         .status = Status(StatusCode::exists, "/a", 17),
                         .info = {},
                         .intents = {{.inode = 8, .generation = 9}}};
  EXPECT_EQ(hex(tag.encode(tag_slot_key(1, 1))),
            "0701"
            "0100000000000000"
            "02"
            "03000000"
            "0400000000000000"
            "02"
            "1100"
            "02002f61"
            "0000000000000000"
            "00"
            "0000000000000000"
            "0000000000000000"
            "0000000000000000"
            "00"
            "00000000"
            "0000000000000000"
            "0000000000000000"
            "0000000000000000"
            "01"
            "0800000000000000"
            "0900000000000000"
            "a70e1e8d");
  const TagFloorRecord floor{.sequence = 1, .time_us = 2};
  EXPECT_EQ(hex(floor.encode(tag_floor_key(1))),
            "0801"
            "0100000000000000"
            "0200000000000000"
            "a494035f");
}

TEST(Records, what_is_encoded_is_decoded) {
  const std::string key = inode_key(1);
  const InodeRecord in = some_inode();
  const InodeRecord out = InodeRecord::decode(key, in.encode(key)).value();
  EXPECT_EQ(info_of(1, out, 0), info_of(1, in, 0));
  EXPECT_EQ(out.pending_generation, in.pending_generation);
  EXPECT_EQ(out.parent, in.parent);
  EXPECT_EQ(out.name, in.name);

  AnswerRecord tag;
  tag.sequence = 7;
  tag.status = Status(StatusCode::invalid, std::string(1000, 'x'), 20);
  tag.info = info_of(1, in, 3);
  tag.intents = {{.inode = 1, .generation = 2}, {.inode = 3, .generation = 4}};
  const std::string tag_key = tag_slot_key(5, 7);
  const AnswerRecord back = AnswerRecord::decode(tag_key, tag.encode(tag_key)).value();
  EXPECT_EQ(back.status, tag.status);
  EXPECT_EQ(back.status.text().size(), AnswerRecord::kTextMaxBytes);
  EXPECT_EQ(back.info, tag.info);
  EXPECT_EQ(back.intents, tag.intents);
}

TEST(Records, any_flipped_byte_and_any_other_key_is_noticed) {
  const std::string key = inode_key(1);
  const std::string good = some_inode().encode(key);
  ASSERT_TRUE(InodeRecord::decode(key, good).has_value());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    EXPECT_EQ(InodeRecord::decode(key, bad).error().code(), StatusCode::corrupt) << i;
    EXPECT_EQ(InodeRecord::decode(key, good.substr(0, i)).error().code(), StatusCode::corrupt) << i;
  }
  const Status misplaced = InodeRecord::decode(inode_key(2), good).error();
  EXPECT_EQ(misplaced.code(), StatusCode::corrupt);
  EXPECT_NE(misplaced.text().find("I\\x00"), std::string_view::npos) << misplaced.text();
}

TEST(Records, a_record_of_another_kind_or_a_newer_version_is_not_believed) {
  const std::string key = counter_key(1);
  EXPECT_EQ(ClusterNameRecord::decode(key, CounterRecord{1}.encode(key)).error().code(),
            StatusCode::corrupt);
  std::string newer = CounterRecord{1}.encode(key);
  newer.resize(newer.size() - 4);
  newer[1] = 2;
  EXPECT_EQ(CounterRecord::decode(key, with_crc(key, newer)).error().code(),
            StatusCode::unsupported);
}

TEST(Records, fields_of_a_newer_writer_survive_being_written_back) {
  const std::string key = inode_key(1);
  std::string newer = some_inode().encode(key);
  newer.resize(newer.size() - 4);
  newer += "pinned until 2030";
  InodeRecord record = InodeRecord::decode(key, with_crc(key, newer)).value();
  record.size_bytes = 5;
  const std::string written = record.encode(key);
  EXPECT_NE(written.find("pinned until 2030"), std::string::npos);
  EXPECT_EQ(InodeRecord::decode(key, written)->size_bytes, 5u);
}

TEST(Records, fields_that_an_older_writer_did_not_know_are_zero) {
  const std::string key = intent_key(1, 2);
  std::string older = IntentRecord{{.inode = 1, .generation = 2, .keep_bytes = 9}, {}}.encode(key);
  older.resize(2 + 8);  // only keep_bytes
  const IntentRecord record = IntentRecord::decode(key, with_crc(key, older)).value();
  EXPECT_EQ(record.intent.keep_bytes, 9u);
  EXPECT_FALSE(record.intent.settled);
  older.resize(2 + 5);  // cut within a field
  EXPECT_EQ(IntentRecord::decode(key, with_crc(key, older)).error().code(), StatusCode::corrupt);
}

TEST(Records, impossible_types_are_refused) {
  const std::string key = dentry_key(1, "a");
  DentryRecord dentry{.type = FileType::none, .inode = 4};
  EXPECT_FALSE(DentryRecord::decode(key, dentry.encode(key)).has_value());  // not held
  dentry.holds = 1;
  EXPECT_TRUE(DentryRecord::decode(key, dentry.encode(key)).has_value());
  dentry.type = static_cast<FileType>(3);
  EXPECT_FALSE(DentryRecord::decode(key, dentry.encode(key)).has_value());
}

// Written before there were attributes, or by a writer that knows more of them.
TEST(Records, an_inodes_attributes_are_additive_and_unknown_ones_are_kept) {
  const std::string key = inode_key(9);
  const auto old = InodeRecord::decode(key, some_inode().encode(key));
  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(old->attributes, 0);
  std::string body = some_inode().encode(key);
  body.resize(body.size() - 4);
  body += "\x81more";
  auto newer = InodeRecord::decode(key, with_crc(key, body));
  ASSERT_TRUE(newer.has_value());
  EXPECT_EQ(newer->attributes, 0x81);
  EXPECT_TRUE(info_of(9, *newer, 1).pinned);
  newer->attributes ^= InodeRecord::kPinned;
  EXPECT_EQ(newer->encode(key), with_crc(key, body.substr(0, body.size() - 5) + "\x80more"));
}

}  // namespace
}  // namespace gd2fs
