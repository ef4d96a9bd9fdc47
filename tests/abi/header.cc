// The header is C++ too, and nothing in it needs the library to be included twice.
#include <xfer/gd2fs.h>

static_assert(sizeof(xfer_gd2fs_completion) == 24, "frozen");
static_assert(XFER_GD2FS_STATUS_CODE(0x8a11) == 0x11, "");
static_assert(XFER_GD2FS_STATUS_CLASS(0x8a11) == 2, "");
static_assert(XFER_GD2FS_STATUS_DETAIL(0x8a11) == 1, "");
static_assert(XFER_GD2FS_STATUS_DO_NOT_RETRY(0x8a11) == 1, "");

int main() {
  xfer_gd2fs_options options = {};
  return options.timeout == 0 && xfer_gd2fs_version()[0] != 0 ? 0 : 1;
}
