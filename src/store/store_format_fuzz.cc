// Hostile bytes as a superblock, data file header, descriptor and log; as they are, and with right
// checksums, so that the fuzzer gets past them.
#include <algorithm>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/fuzz_seeds.h"
#include "store/format.h"
#include "store/log_record.h"

namespace gd2fs {
namespace {

// Where docs/on_disk.md puts them.
constexpr size_t kHeaderCrcAt = 60;
constexpr size_t kDescriptorBlocksAt = 16;
constexpr size_t kDescriptorTableCrcAt = 120;
constexpr size_t kDescriptorCrcAt = 124;

void parse_headers(ConstBytes bytes) {
  (void)parse_superblock(bytes).has_value();
  (void)parse_data_file_header(bytes).has_value();
}

void check_descriptor(ConstBytes bytes) {
  SlotDescriptor d;
  if (parse_descriptor(bytes, &d) != DescriptorVerdict::valid) return;
  CHECK(d.block_crcs.size() == d.blocks);
  std::vector<std::byte> again(class_descriptor_bytes(d.slot_class));
  encode_descriptor(d, again);
  SlotDescriptor same;
  CHECK(parse_descriptor(again, &same) == DescriptorVerdict::valid);
  CHECK(same.version == d.version && same.block_crcs == d.block_crcs);
}

void repaired(ConstBytes bytes) {
  std::vector<std::byte> area(8192);
  std::copy_n(bytes.begin(), std::min(bytes.size(), area.size()), area.begin());
  std::vector<std::byte> header(area.begin(), area.begin() + kHeaderBytes);
  store_le(&header[kHeaderCrcAt], crc32c(ConstBytes(header).first(kHeaderCrcAt)));
  parse_headers(header);
  const size_t blocks = load_le<uint16_t>(&area[kDescriptorBlocksAt]);
  const size_t table_bytes = std::min(blocks * 4, area.size() - kDescriptorHeaderBytes);
  store_le(&area[kDescriptorTableCrcAt],
           crc32c(ConstBytes(area).subspan(kDescriptorHeaderBytes, table_bytes)));
  store_le(&area[kDescriptorCrcAt], crc32c(ConstBytes(area).first(kDescriptorCrcAt)));
  check_descriptor(area);
  area.resize(4096);
  check_descriptor(area);
}

void check_log(ConstBytes bytes) {
  const LogContent log = parse_log(bytes);
  CHECK(log.end_bytes <= align_up(bytes.size(), kLogAlignBytes));
}

// What parses is written the same way.
void check_log_payload(std::string_view bytes) {
  if (bytes.size() < 2 || bytes.size() >= kLogFrameMaxBytes) return;
  const std::string frame = encode_log_frame(1, bytes);
  const LogContent framed = parse_log(as_bytes(frame.data(), frame.size()));
  CHECK(framed.damaged || framed.end_bytes == frame.size());
  std::string payload;
  for (const LogRecord& record : framed.records) encode_log_record(record, &payload);
  if (!framed.damaged) CHECK(payload == bytes);
}

void seeds(SeedFolder& folder) {
  std::vector<std::byte> header(kHeaderBytes);
  encode_superblock({.deployment_id = 1, .uuid = {}, .created_us = 2, .initialized = true}, header);
  folder.add(ConstBytes(header).first(64));
  encode_data_file_header({.uuid = {}, .slot_class = 6, .number = 12, .slots = 64}, header);
  folder.add(ConstBytes(header).first(64));
  SlotDescriptor d;
  d.key.inode = 100;
  d.chunk_log2 = 22;
  d.slot_class = 6;
  d.first_block = 3;
  d.blocks = 5;
  d.version = 7;
  d.block_crcs = {1, 2, 3, 4, 5};
  std::vector<std::byte> area(class_descriptor_bytes(d.slot_class));
  encode_descriptor(d, area);
  folder.add(ConstBytes(area).first(kDescriptorHeaderBytes + 20));
  folder.add(area);
  encode_wiped(area);
  folder.add(area);
  std::string payload;
  for (uint8_t kind = 1; kind <= 12; ++kind) {
    std::string one;
    encode_log_record(LogRecord::of(static_cast<LogRecord::Kind>(kind), 1, 2), &one);
    folder.add(one);
    payload += one;
  }
  folder.add(payload);
  folder.add(encode_log_frame(1, payload));
  folder.add("c06-0012");
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs;  // NOLINT(google-build-using-namespace)
  const ConstBytes bytes = as_bytes(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_headers(bytes);
  check_descriptor(bytes);
  check_log(bytes);
  repaired(bytes);
  check_log_payload(text);
  uint8_t slot_class = 0;
  uint32_t number = 0;
  if (parse_data_file_name(text, &slot_class, &number)) {
    CHECK(data_file_name(slot_class, number).ends_with(text));
  }
  return 0;
}
