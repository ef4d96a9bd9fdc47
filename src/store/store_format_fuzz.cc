// Hostile bytes as a superblock, data file header, descriptor and log.
#include <algorithm>

#include "base/check.h"
#include "store/format.h"
#include "store/log_record.h"

using namespace gd2fs;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ConstBytes bytes = as_bytes(data, size);
  (void)parse_superblock(bytes).has_value();
  (void)parse_data_file_header(bytes).has_value();
  Descriptor d;
  if (parse_descriptor(bytes, &d) == DescriptorVerdict::valid) {
    CHECK(d.block_crcs.size() == d.blocks);
    std::vector<std::byte> again(class_descriptor_bytes(d.slot_class));
    encode_descriptor(d, again);
    Descriptor same;
    CHECK(parse_descriptor(again, &same) == DescriptorVerdict::valid);
    CHECK(same.version == d.version && same.block_crcs == d.block_crcs);
  }
  const LogContent log = parse_log(bytes);
  CHECK(log.end_bytes <= align_up(size, kLogAlignBytes));
  // What parses is written the same way, so the checksum is no wall for the fuzzer.
  if (size >= 2 && size < kLogFrameMaxBytes) {
    const std::string frame = encode_log_frame(1, {reinterpret_cast<const char*>(data), size});
    const LogContent framed = parse_log(as_bytes(frame.data(), frame.size()));
    CHECK(framed.damaged || framed.end_bytes == frame.size());
    std::string payload;
    for (const LogRecord& record : framed.records) encode_log_record(record, &payload);
    if (!framed.damaged) CHECK(payload == std::string(reinterpret_cast<const char*>(data), size));
  }
  uint8_t slot_class = 0;
  uint32_t number = 0;
  (void)parse_data_file_name({reinterpret_cast<const char*>(data), size}, &slot_class, &number);
  return 0;
}
