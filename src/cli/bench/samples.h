// Samples: times of a repeated measurement, and what is said of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gd2fs {

double median(std::vector<double> values);
// The value that `percent` of them do not exceed (nearest rank).
double percentile(std::vector<double> values, double percent);
double mean(const std::vector<double>& values);

// Seconds of CLOCK_MONOTONIC, and of CPU of this process and of another one with its children.
double seconds_now();
double cpu_seconds_self();
double cpu_seconds_of(int pid);
// Memory of a process, reserved huge pages included; 0: there is none, or it has ended.
uint64_t resident_bytes_of(int pid);

struct CpuSeconds {
  double client = 0;
  double server = 0;
  double both() const { return client + server; }
  CpuSeconds& operator+=(const CpuSeconds& more) {
    client += more.client;
    server += more.server;
    return *this;
  }
};

// What this process, the client, and the server use from now on.
class CpuMeter {
 public:
  explicit CpuMeter(int server_pid) : pid_(server_pid), began_(now()) {}
  CpuSeconds used() const {
    const CpuSeconds at = now();
    return {at.client - began_.client, at.server - began_.server};
  }

 private:
  CpuSeconds now() const { return {cpu_seconds_self(), cpu_seconds_of(pid_)}; }
  int pid_;
  CpuSeconds began_;
};

}  // namespace gd2fs
