#include "cli/output.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "cli/exit_code.h"
#include "cli/json.h"
#include "cli/progress.h"

namespace gd2fs::cli {
namespace {

Table sample() {
  Table table({{"size_bytes", "SIZE"}, {"name", "NAME"}});
  table.add({Cell::size(1536), Cell::text("a\x1b[31m")});
  table.add({Cell::size(7), Cell::text("näme \"x\"")});
  return table;
}

TEST(Output, ATableIsAlignedAndCannotMoveTheCursor) {
  EXPECT_EQ(sample().as_table(),
            "    SIZE  NAME\n"
            "1.50 KiB  a?[31m\n"
            "     7 B  näme \"x\"\n");
}

TEST(Output, JsonHasPlainNumbersAndTheWholeText) {
  EXPECT_EQ(sample().as_json(),
            "[{\"size_bytes\":1536,\"name\":\"a\\u001b[31m\"},"
            "{\"size_bytes\":7,\"name\":\"näme \\\"x\\\"\"}]\n");
}

TEST(Output, ARecordIsOneObjectOrALineForEachFact) {
  Table table({{"a", "a"}, {"long_name", "long name"}});
  table.add({Cell::yes_no(true), Cell::real(1.25, 1)});
  EXPECT_EQ(table.as_record_json(), "{\"a\":true,\"long_name\":1.25}\n");
  EXPECT_EQ(table.as_record_lines(), "a          yes\nlong name  1.2\n");
}

TEST(Output, BytesThatAreNotUtf8BecomeTheReplacementCharacter) {
  EXPECT_EQ(json_quoted("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(json_quoted("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  EXPECT_EQ(json_quoted("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\"");
}

TEST(Output, EveryStatusHasAnExitCodeOfItsOwnKind) {
  EXPECT_EQ(exit_code(Status()), 0);
  EXPECT_EQ(exit_code(Status(StatusCode::not_found)), 3);
  EXPECT_EQ(exit_code(Status(StatusCode::denied)), 5);
  EXPECT_EQ(exit_code(Status(StatusCode::no_space)), 6);
  EXPECT_EQ(exit_code(Status(StatusCode::timed_out)), 7);
  EXPECT_EQ(exit_code(Status(StatusCode::corrupt)), 8);
  EXPECT_EQ(exit_code(Status::from_errno(ENOTEMPTY, "/d")), 4);
  for (uint8_t code = 1; code < kStatusCodes; ++code) {
    EXPECT_NE(exit_code(Status(static_cast<StatusCode>(code))), 0) << int{code};
  }
}

class StoppedClock final : public Clock {
 public:
  uint64_t now_ns() override { return now; }
  uint64_t wall_us() override { return now / kUs; }
  uint64_t now = kSecond;
};

TEST(Output, ProgressShowsBytesRateAndTimeLeft) {
  StoppedClock clock;
  Progress progress(clock, false, "put", 12, 4 * kGiB);
  progress.add_file();
  progress.add_bytes(kGiB);
  clock.now += 2 * kSecond;
  EXPECT_EQ(progress.line(), "put  1/12 files  1.00 GiB of 4.00 GiB  25%  537 MB/s  0:06 left");
}

}  // namespace
}  // namespace gd2fs::cli
