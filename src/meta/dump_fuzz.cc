// Any bytes as a line of a dump: refused, or it makes a record that gives a line with the same
// record again.
#include <cstdlib>

#include "base/fuzz_seeds.h"
#include "meta/dump_line.h"
#include "meta/sample_records.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  for (const gd2fs::KeyValue& record : gd2fs::sample_records()) {
    const auto line = gd2fs::record_to_line(record);
    if (line.has_value()) folder.add(*line);
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto line = gd2fs::JsonLine::parse(text);
  if (!line) return 0;
  auto same = gd2fs::JsonLine::parse(line->text());
  if (!same || same->text() != line->text()) std::abort();
  auto record = gd2fs::line_to_record(*line);
  if (!record) return 0;
  auto again = gd2fs::record_to_line(*record);
  if (!again) std::abort();
  auto parsed = gd2fs::JsonLine::parse(*again);
  if (!parsed) std::abort();
  auto record_again = gd2fs::line_to_record(*parsed);
  if (!record_again || *record_again != *record) std::abort();
  return 0;
}
