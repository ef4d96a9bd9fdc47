#include "cli/doctor/finding.h"

namespace gd2fs::cli::doctor {

const char* level_name(Level level) {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::note:
      return "note";
    case Level::missing:
      return "missing";
  }
  return "";
}

}  // namespace gd2fs::cli::doctor
