#include "client/completion_status.h"

#include <cerrno>

#include <gtest/gtest.h>
#include <xfer/gd2fs.h>

namespace gd2fs::client {
namespace {

struct Row {
  Status status;
  Origin origin;
  unsigned expected_class;
  int expected_code;
  bool do_not_retry;
};

TEST(CompletionStatus, every_row_of_the_table_has_its_class_code_and_retry_bit) {
  const Row rows[] = {
      {Status(StatusCode::not_found), Origin::controller, 2, ENOENT, true},
      {Status(StatusCode::exists), Origin::controller, 2, EEXIST, true},
      {Status(StatusCode::denied), Origin::controller, 2, EACCES, true},
      {Status(StatusCode::no_space), Origin::server, 2, ENOSPC, false},
      {Status(StatusCode::no_space, "", EDQUOT), Origin::controller, 2, EDQUOT, false},
      {Status(StatusCode::corrupt), Origin::server, 2, EIO, true},
      {Status(StatusCode::invalid, "", EISDIR), Origin::controller, 2, EISDIR, true},
      {Status(StatusCode::timed_out), Origin::server, 3, ETIMEDOUT, false},
      {Status(StatusCode::unavailable), Origin::controller, 3, EHOSTUNREACH, false},
      {Status(StatusCode::canceled), Origin::iomem, 1, ECANCELED, false},
      {Status(StatusCode::canceled), Origin::controller, 1, ECANCELED, false},
      {Status(StatusCode::io), Origin::ctx, 1, EIO, false},
      {Status(StatusCode::invalid, "", EFBIG), Origin::request, 1, EFBIG, true},
      {Status(StatusCode::stale), Origin::controller, 2, ESTALE, false},
  };
  for (const Row& row : rows) {
    const uint16_t bits = completion_status(row.status, row.origin);
    EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(bits), row.expected_class) << row.status.to_string();
    EXPECT_EQ(XFER_GD2FS_STATUS_CODE(bits), static_cast<unsigned>(row.expected_code))
        << row.status.to_string();
    EXPECT_EQ(XFER_GD2FS_STATUS_DETAIL(bits), static_cast<unsigned>(row.origin));
    EXPECT_EQ(XFER_GD2FS_STATUS_DO_NOT_RETRY(bits), row.do_not_retry ? 1u : 0u);
  }
}

TEST(CompletionStatus, ok_is_zero_whatever_its_origin_and_a_failure_never_is) {
  EXPECT_EQ(completion_status(Status(), Origin::server), 0);
  for (uint8_t code = 1; code < kStatusCodes; ++code) {
    for (uint8_t origin = 0; origin <= 5; ++origin) {
      const Status status(static_cast<StatusCode>(code));
      EXPECT_NE(completion_status(status, static_cast<Origin>(origin)), 0);
    }
  }
  EXPECT_EQ(
      XFER_GD2FS_STATUS_CODE(completion_status(Status(StatusCode::io, "", 999), Origin::server)),
      static_cast<unsigned>(EIO));
}

}  // namespace
}  // namespace gd2fs::client
