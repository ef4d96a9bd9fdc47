// Copy: moves whole files between the local disk and a cluster, many at a time.
//
// run_copies() gives the jobs to `files` threads; each moves one file after another through a ring
// of `buffers` registered buffers, so that local reading or writing, hashing and the network
// overlap. A file appears under its name only when it is whole: it is moved under NAME.gd2fs-part
// and then renamed. Every file's SHA-256 is computed on the way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/files.h"
#include "cli/progress.h"

namespace gd2fs::cli {

inline constexpr std::string_view kPartSuffix = ".gd2fs-part";

struct CopyJob {
  enum class Kind : uint8_t { put, get, check };  // check: reads and hashes, keeps nothing
  Kind kind = Kind::put;
  std::string local;  // put, get
  std::string remote;
  std::string name;           // in the manifest
  std::string wanted_sha256;  // get, check: corrupt if it is another; "" = any

  // Afterwards.
  Status status;
  std::string sha256;
  uint64_t moved_bytes = 0;
};

struct CopyOptions {
  uint64_t files = 4;
  uint64_t buffers = 8;
  uint64_t buffer_bytes = 4 * kMiB;
  bool stop_at_first_failure = true;
};
CopyOptions copy_options(const Config& config);

// Every job that ran has its status; one that was not begun because of a failure or an interrupt
// has `canceled`. Answers the first failure, in the order of the jobs.
Status run_copies(Files& files, std::vector<CopyJob>& jobs, const CopyOptions& options,
                  Progress& progress);

// From now on SIGINT and SIGTERM only set a mark that copies look at; a second one kills.
void catch_interrupts();
bool interrupted();

}  // namespace gd2fs::cli
