// Workload: what the applications of one simulated run ask for: requests drawn at random over few
// names and few chunks, so that they meet. One thread.
#pragma once

#include <string>

#include "base/random.h"
#include "sim/seeds/history.h"

namespace gd2fs::sim {

struct WorkloadProfile {
  uint64_t chunk_bytes = 64 * kKiB;
  uint64_t file_max_bytes = 256 * kKiB;
  uint64_t request_max_bytes = 128 * kKiB;
  size_t paths = 4;                 // names of files in use, at most kPaths
  uint32_t data_percent = 60;       // of the requests: reads and writes
  uint32_t directory_percent = 10;  // of the others: about directories
  uint64_t think_max_ns = 10 * kMs;

  static WorkloadProfile draw(Random& random);
  std::string to_string() const;
};

class Workload {
 public:
  Workload(Random random, const WorkloadProfile& profile) : random_(random), profile_(profile) {}

  // A request: op, path, other, offset, length.
  Record draw();
  uint64_t draw_think_ns();
  const WorkloadProfile& profile() const { return profile_; }
  Random& random() { return random_; }

  static const std::vector<std::string>& directories();
  static const std::vector<std::string>& files();

 private:
  const std::string& file();
  const std::string& directory();
  // Boundaries are at multiples of 16 or 7 beyond, so that no run between two is too short to tell
  // whose it is.
  uint64_t boundary(uint64_t max_bytes);
  void draw_data(Record* record);
  void draw_names(Record* record);
  void draw_directory(Record* record);

  Random random_;
  WorkloadProfile profile_;
};

}  // namespace gd2fs::sim
