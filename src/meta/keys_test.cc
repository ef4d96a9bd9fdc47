#include "meta/keys.h"

#include <vector>

#include <gtest/gtest.h>

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

constexpr uint64_t kInode = 0x0003000000000011;

TEST(Keys, golden_bytes_never_change) {
  EXPECT_EQ(hex(format_key()), "41");
  EXPECT_EQ(hex(cluster_key(0x0102)), "420102");
  EXPECT_EQ(hex(cluster_name_key("r1")), "437231");
  EXPECT_EQ(hex(dentry_key(kInode, "ab")), "4400030000000000116162");
  EXPECT_EQ(hex(inode_key(kInode)), "490003000000000011");
  EXPECT_EQ(hex(counter_key(3)), "4e0003");
  EXPECT_EQ(hex(tag_floor_key(0x1122334455667788)), "541122334455667788");
  EXPECT_EQ(hex(tag_slot_key(0x1122334455667788, 0xfe)), "541122334455667788fe");
  EXPECT_EQ(hex(usage_key(3, 31)), "5500031f");
  EXPECT_EQ(hex(intent_key(kInode, 5)), "5800030000000000110000000000000005");
}

TEST(Keys, byte_order_is_the_order_of_numbers_and_names) {
  const std::vector<std::string> ordered = {
      dentry_key(1, ""),     dentry_key(1, "a"),   dentry_key(1, "a\x01"),
      dentry_key(1, "ab"),   dentry_key(1, "b"),   dentry_key(1, "\xff\xff"),
      dentry_key(2, ""),     dentry_key(255, "z"), dentry_key(256, ""),
      inode_key(1),          inode_key(255),       inode_key(256),
      inode_key(UINT64_MAX), counter_key(0)};
  for (size_t i = 1; i < ordered.size(); ++i) EXPECT_LT(ordered[i - 1], ordered[i]) << i;
  EXPECT_LT(intent_key(1, 255), intent_key(1, 256));
  EXPECT_LT(intent_key(1, UINT64_MAX), intent_key(2, 0));
  EXPECT_LT(tag_floor_key(9), tag_slot_key(9, 0));
  EXPECT_LT(tag_slot_key(9, 255), tag_floor_key(10));
}

TEST(Keys, a_table_holds_its_keys_and_no_others) {
  const std::vector<std::pair<char, std::string>> keys = {
      {kFormatTable, format_key()},
      {kClusterTable, cluster_key(UINT16_MAX)},
      {kClusterNameTable, cluster_name_key("\xff")},
      {kDentryTable, dentry_key(UINT64_MAX, "\xff")},
      {kInodeTable, inode_key(UINT64_MAX)},
      {kCounterTable, counter_key(UINT16_MAX)},
      {kTagTable, tag_slot_key(UINT64_MAX, 255)},
      {kUsageTable, usage_key(UINT16_MAX, 255)},
      {kIntentTable, intent_key(UINT64_MAX, UINT64_MAX)}};
  for (const auto& [table, key] : keys) {
    for (const auto& [other, other_key] : keys) {
      const bool inside = other_key >= table_begin(table) && other_key < table_end(table);
      EXPECT_EQ(inside, table == other) << table << other;
    }
  }
}

TEST(Keys, parsing_is_the_way_back_and_refuses_other_forms) {
  EXPECT_EQ(parse_cluster_key(cluster_key(77)).value(), 77);
  EXPECT_EQ(parse_cluster_name_key(cluster_name_key("x")).value(), "x");
  EXPECT_EQ(parse_dentry_key(dentry_key(kInode, "n")).value().parent, kInode);
  EXPECT_EQ(parse_dentry_key(dentry_key(kInode, "n")).value().name, "n");
  EXPECT_EQ(parse_inode_key(inode_key(kInode)).value(), kInode);
  EXPECT_EQ(parse_counter_key(counter_key(5)).value(), 5);
  EXPECT_TRUE(parse_tag_key(tag_floor_key(7)).value().floor);
  EXPECT_EQ(parse_tag_key(tag_slot_key(7, 9)).value().incarnation, 7u);
  EXPECT_EQ(parse_tag_key(tag_slot_key(7, 9)).value().slot, 9);
  EXPECT_EQ(parse_usage_key(usage_key(2, 3)).value().shard, 3);
  EXPECT_EQ(parse_intent_key(intent_key(kInode, 4)).value().generation, 4u);
  EXPECT_EQ(parse_inode_key("I1234567").error().code(), StatusCode::corrupt);
  EXPECT_EQ(parse_inode_key("J12345678").error().code(), StatusCode::corrupt);
  EXPECT_EQ(parse_dentry_key("D1234567").error().code(), StatusCode::corrupt);
  EXPECT_EQ(parse_tag_key("T12345678910").error().code(), StatusCode::corrupt);
  EXPECT_EQ(parse_cluster_name_key("").error().code(), StatusCode::corrupt);
  EXPECT_EQ(printable_key(dentry_key(1, "a b")),
            "D\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01a\\x20b");
}

}  // namespace
}  // namespace gd2fs
