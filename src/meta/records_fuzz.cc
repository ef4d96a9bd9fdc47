// Any bytes as any record: decoding fails or gives something that encodes and decodes again.
#include <cstdlib>
#include <string>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fuzz_seeds.h"
#include "meta/keys.h"
#include "meta/records.h"
#include "meta/sample_records.h"

namespace {

template <class Record>
void check(const std::string& key, std::string_view value) {
  auto record = Record::decode(key, value);
  if (!record) return;
  const std::string again = record->encode(key);
  auto twice = Record::decode(key, again);
  if (!twice || twice->encode(key) != again) std::abort();
}

template <class Record>
void check_both(const std::string& key, std::string_view bytes) {
  check<Record>(key, bytes);
  // With a right checksum, so that the fuzzer gets past it.
  std::string fixed(bytes);
  const uint32_t crc = gd2fs::crc32c_extend(gd2fs::crc32c(gd2fs::as_bytes(key.data(), key.size())),
                                            gd2fs::as_bytes(bytes.data(), bytes.size()));
  fixed.append(reinterpret_cast<const char*>(&crc), sizeof crc);
  check<Record>(key, fixed);
}

// Without their checksums: the fuzzer's own come behind.
void seeds(gd2fs::SeedFolder& folder) {
  for (const gd2fs::KeyValue& record : gd2fs::sample_records()) {
    folder.add(record.key);
    folder.add(std::string_view(record.value).substr(0, record.value.size() - sizeof(uint32_t)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_both<gd2fs::FormatRecord>(gd2fs::format_key(), bytes);
  check_both<gd2fs::CounterRecord>(gd2fs::counter_key(1), bytes);
  check_both<gd2fs::ClusterNameRecord>(gd2fs::cluster_name_key("n"), bytes);
  check_both<gd2fs::ClusterRecord>(gd2fs::cluster_key(1), bytes);
  check_both<gd2fs::DentryRecord>(gd2fs::dentry_key(1, "n"), bytes);
  check_both<gd2fs::InodeRecord>(gd2fs::inode_key(1), bytes);
  check_both<gd2fs::UsageRecord>(gd2fs::usage_key(1, 1), bytes);
  check_both<gd2fs::IntentRecord>(gd2fs::intent_key(1, 1), bytes);
  check_both<gd2fs::AnswerRecord>(gd2fs::tag_slot_key(1, 1), bytes);
  check_both<gd2fs::TagFloorRecord>(gd2fs::tag_floor_key(1), bytes);
  // Any bytes as a key.
  (void)gd2fs::parse_cluster_key(bytes);
  (void)gd2fs::parse_dentry_key(bytes);
  (void)gd2fs::parse_tag_key(bytes);
  (void)gd2fs::parse_usage_key(bytes);
  (void)gd2fs::parse_intent_key(bytes);
  return 0;
}
