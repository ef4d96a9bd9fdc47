// DumpLine: one record of the namespace as one JSON line, and back. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "meta/json_line.h"
#include "meta/meta_store.h"

namespace gd2fs {

// corrupt if the record is damaged.
Result<std::string> record_to_line(const KeyValue& record);
// invalid if it is none of the lines that record_to_line() makes.
Result<KeyValue> line_to_record(const JsonLine& line);

}  // namespace gd2fs
