// Samples: times of a repeated measurement, and what is said of them.
#pragma once

#include <cstddef>
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

}  // namespace gd2fs
