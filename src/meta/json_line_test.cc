#include "meta/json_line.h"

#include <gtest/gtest.h>

#include "meta/utf8.h"

namespace gd2fs {
namespace {

TEST(JsonLine, what_is_written_is_read_and_the_text_is_stable) {
  JsonLine line;
  line.add_u64("max", UINT64_MAX);
  line.add_i64("min", INT64_MIN);
  line.add_bool("yes", true);
  line.add_bytes("text", "a\"b\\c\n\x01 \xc3\xa9/");
  line.add_bytes("raw", std::string_view("\xff\x00z", 3));
  const std::string text = line.text();
  EXPECT_EQ(text,
            "{\"max\":18446744073709551615,\"min\":-9223372036854775808,\"yes\":true,"
            "\"text\":\"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9/\",\"raw_hex\":\"ff007a\"}");
  const JsonLine back = JsonLine::parse(text).value();
  EXPECT_EQ(back.u64("max").value(), UINT64_MAX);
  EXPECT_EQ(back.i64("min").value(), INT64_MIN);
  EXPECT_TRUE(back.boolean("yes").value());
  EXPECT_EQ(back.bytes("text").value(), "a\"b\\c\n\x01 \xc3\xa9/");
  EXPECT_EQ(back.bytes("raw").value(), std::string("\xff\x00z", 3));
  EXPECT_EQ(back.text(), text);
}

TEST(JsonLine, other_writers_ways_are_read) {
  const JsonLine line =
      JsonLine::parse(" { \"a\" : 1 ,\t\"b\":\"\\u00e9\\ud83d\\ude00\\/\\t\" } ").value();
  EXPECT_EQ(line.u64("a").value(), 1u);
  EXPECT_EQ(line.bytes("b").value(), "\xc3\xa9\xf0\x9f\x98\x80/\t");
  EXPECT_TRUE(JsonLine::parse("{}").has_value());
}

TEST(JsonLine, what_is_no_flat_object_is_refused) {
  for (const char* text : {"",
                           "{",
                           "}",
                           "[]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{\"a\":1}x",
                           "{a:1}",
                           "{\"a\":{}}",
                           "{\"a\":[1]}",
                           "{\"a\":\"x}",
                           "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\u12\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{\"a\":\"\\udc00\"}",
                           "{\"a\":\"\\ud800\\u0041\"}",
                           "{\"a\":\"\xff\"}",
                           "{\"a\":\"\n\"}",
                           "{\"a\":1,\"a\":2}"}) {
    EXPECT_FALSE(JsonLine::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(JsonLine::parse(std::string(JsonLine::kLineMaxBytes + 1, ' ')).has_value());
}

TEST(JsonLine, a_field_of_the_wrong_type_or_range_is_named) {
  const JsonLine line =
      JsonLine::parse("{\"n\":300,\"m\":-1,\"s\":\"x\",\"h_hex\":\"0g\",\"o_hex\":\"abc\"}")
          .value();
  EXPECT_EQ(line.u64("n", 300).value(), 300u);
  EXPECT_FALSE(line.u64("n", 299).has_value());
  EXPECT_FALSE(line.u64("m").has_value());
  EXPECT_FALSE(line.u64("s").has_value());
  EXPECT_FALSE(line.boolean("n").has_value());
  EXPECT_FALSE(line.bytes("n").has_value());
  EXPECT_FALSE(line.bytes("h").has_value());
  EXPECT_FALSE(line.bytes("o").has_value());
  const Status missing = line.u64("nowhere").error();
  EXPECT_EQ(missing.code(), StatusCode::invalid);
  EXPECT_NE(missing.text().find("nowhere"), std::string_view::npos);
}

TEST(Utf8, follows_rfc_3629) {
  for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xe0\xa0", "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80", "\xff", "\xc3\x28"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

}  // namespace
}  // namespace gd2fs
