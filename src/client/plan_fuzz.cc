// The plan for any layout and range that a wire or a caller can name: no crash, and every stretch
// moves on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "base/fuzz_seeds.h"
#include "client/plan.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  std::string bytes(22, '\0');
  bytes[0] = 100;                  // inode
  bytes[9] = 3;                    // groups
  bytes[12] = bytes[20] = '\x7f';  // offset and length, over several chunks
  folder.add(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 22) return 0;
  gd2fs::client::PlanLayout layout;
  layout.inode = gd2fs::load_le<uint64_t>(data);
  layout.chunk_log2 = static_cast<uint8_t>(16 + data[8] % 11);
  layout.group_count = 1 + data[9] % 16;
  const uint64_t offset = gd2fs::load_le<uint64_t>(data + 10) >> 1;
  const uint64_t length = gd2fs::load_le<uint32_t>(data + 18);
  if (length > (uint64_t{1} << 63) - offset) return 0;
  gd2fs::client::Plan batches;
  uint64_t planned = 0;
  for (int stretch = 0; stretch < 64 && planned < length; ++stretch) {
    const uint64_t before = planned;
    if (!gd2fs::client::plan_stretch(layout, offset, length, &planned, &batches).ok()) return 0;
    if (planned <= before || planned > length) abort();
  }
  return 0;
}
