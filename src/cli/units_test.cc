#include "cli/units.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/random.h"
#include "loop/clock.h"

namespace gd2fs::cli {
namespace {

TEST(Units, SizesAreReadWithBinaryAndDecimalUnits) {
  EXPECT_EQ(*parse_size("4096"), 4096u);
  EXPECT_EQ(*parse_size("4KiB"), 4 * kKiB);
  EXPECT_EQ(*parse_size("4 K"), 4 * kKiB);
  EXPECT_EQ(*parse_size("1.5GiB"), 3 * kGiB / 2);
  EXPECT_EQ(*parse_size("2MB"), 2'000'000u);
  EXPECT_EQ(*parse_size(" 7 "), 7u);
  EXPECT_EQ(*parse_size("18446744073709551615"), UINT64_MAX);
}

TEST(Units, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "KiB", "-1", "1.2.3M", "4 XiB", "18446744073709551616", "17e3",
                           "99999999TiB", "0x10", "1,5G", "nan", ".", "1.", "inf"}) {
    EXPECT_FALSE(parse_size(text).has_value()) << text;
  }
}

TEST(Units, DurationsNeedAUnitExceptZero) {
  EXPECT_EQ(*parse_duration("250ms"), 250 * kMs);
  EXPECT_EQ(*parse_duration("1.5s"), 1500 * kMs);
  EXPECT_EQ(*parse_duration("2h"), 7200 * kSecond);
  EXPECT_EQ(*parse_duration("0"), 0u);
  EXPECT_FALSE(parse_duration("5").has_value());
  EXPECT_FALSE(parse_duration("5 days").has_value());
  EXPECT_FALSE(parse_duration("9999999999h").has_value());
}

TEST(Units, WhatIsWrittenExactlyIsReadBackTheSame) {
  Random random(7);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t value = random.next() >> random.below(64) << random.below(40);
    EXPECT_EQ(*parse_size(exact_size(value)), value) << exact_size(value);
    EXPECT_EQ(*parse_duration(exact_duration(value)), value) << exact_duration(value);
  }
}

TEST(Units, SizesAreShownWithThreeDigits) {
  EXPECT_EQ(readable_size(0), "0 B");
  EXPECT_EQ(readable_size(1023), "1023 B");
  EXPECT_EQ(readable_size(1536), "1.50 KiB");
  EXPECT_EQ(readable_size(kGiB), "1.00 GiB");
  EXPECT_EQ(readable_size(UINT64_MAX), "16.0 EiB");
  EXPECT_EQ(readable_rate(812e6), "812 MB/s");
  EXPECT_EQ(readable_rate(2.4e9), "2.40 GB/s");
}

TEST(Units, TimesAreShownAsClocksDo) {
  EXPECT_EQ(readable_seconds(3), "0:03");
  EXPECT_EQ(readable_seconds(3723), "1:02:03");
  EXPECT_EQ(readable_time(0), "-");
  EXPECT_EQ(readable_time(1'769'860'800'000'000), "2026-01-31 12:00:00");
}

TEST(Units, SwitchesAreWordsOrDigits) {
  EXPECT_TRUE(*parse_switch("on"));
  EXPECT_FALSE(*parse_switch("false"));
  EXPECT_FALSE(parse_switch("maybe").has_value());
  EXPECT_FALSE(parse_count("12 monkeys").has_value());
}

}  // namespace
}  // namespace gd2fs::cli
