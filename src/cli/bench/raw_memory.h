// The memory baseline: memcpy.
#pragma once

#include "base/bytes.h"

namespace gd2fs {

// Seconds to copy, by one thread or by two with a half each, whichever is faster. The second thread
// is there and awake before the clock runs.
double best_copy(ConstBytes from, Bytes to);
// The same with a CRC32C of every 4 KiB of the copy.
double best_checked_copy(ConstBytes from, Bytes to);

}  // namespace gd2fs
