// ExitCode: what `gd2fs` tells a script. Stable; docs/cli.md has the same table.
#pragma once

#include <string>

#include "base/status.h"

namespace gd2fs::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitDamaged = 1,      // the command ran, and found something wrong (verify, scrub, config check)
  kExitUsage = 2,        // the command line or the configuration is wrong
  kExitNotFound = 3,     // no such file, directory or cluster
  kExitExists = 4,       // it exists already, or is not empty
  kExitDenied = 5,       // no token, a wrong one, or no permission
  kExitNoSpace = 6,      // a disk or a quota is full
  kExitUnavailable = 7,  // nobody answers, or not in time: try again later
  kExitCorrupt = 8,      // the bytes are damaged and there is no good copy
  kExitUnsupported = 9,  // this version cannot do it
  kExitIo = 10,          // a local file or device failed
  kExitInterrupted = 130,  // SIGINT or SIGTERM came
};

ExitCode exit_code(const Status& status);
// One line of advice for a person, without a full stop; "" if there is none worth giving.
std::string remedy(const Status& status);
// Prints "gd2fs: TEXT" and the remedy to stderr, and answers the exit code.
int report_failure(const Status& status);

}  // namespace gd2fs::cli
