#include "cli/exit_code.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace gd2fs::cli {

ExitCode exit_code(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
      return kExitOk;
    case StatusCode::not_found:
      return kExitNotFound;
    case StatusCode::exists:
      return kExitExists;
    case StatusCode::invalid:
      return status.errno_value() == ENOTEMPTY ? kExitExists : kExitUsage;
    case StatusCode::denied:
      return kExitDenied;
    case StatusCode::no_space:
      return kExitNoSpace;
    case StatusCode::stale:
    case StatusCode::busy:
    case StatusCode::unavailable:
    case StatusCode::timed_out:
      return kExitUnavailable;
    case StatusCode::corrupt:
      return kExitCorrupt;
    case StatusCode::unsupported:
      return kExitUnsupported;
    case StatusCode::canceled:
      return kExitInterrupted;
    case StatusCode::io:
      return kExitIo;
  }
  return kExitIo;
}

std::string remedy(const Status& status) {
  switch (status.code()) {
    case StatusCode::not_found:
      return "look with `gd2fs ls`; clusters with `gd2fs cluster ls`";
    case StatusCode::denied:
      return "give the cluster's token: GD2FS_TOKEN_FILE, or ~/.config/gd2fs/tokens/CLUSTER with "
             "mode 0600 (administration: --secret-file)";
    case StatusCode::no_space:
      return status.errno_value() == EDQUOT
                 ? "the quota is full: remove files, or raise it with `gd2fs cluster create "
                   "--quota`"
                 : "the disk is full: remove files, or start the server with one more --drive";
    case StatusCode::unavailable:
    case StatusCode::timed_out:
      return "is `gd2fs up` running there? check --cp (GD2FS_CPADDR)";
    case StatusCode::busy:
      return "try again in a moment";
    case StatusCode::corrupt:
      return "restore it from where it came from; `gd2fs scrub` and the server's log name the "
             "drive";
    default:
      return {};
  }
}

int report_failure(const Status& status) {
  const std::string_view text = status.text();
  if (text.empty()) {
    std::fprintf(stderr, "gd2fs: %s\n", std::string(status_code_name(status.code())).c_str());
  } else {
    std::fprintf(stderr, "gd2fs: %.*s\n", static_cast<int>(text.size()), text.data());
  }
  if (const std::string advice = remedy(status); !advice.empty()) {
    std::fprintf(stderr, "  try: %s\n", advice.c_str());
  }
  return exit_code(status);
}

}  // namespace gd2fs::cli
