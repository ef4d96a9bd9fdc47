// How many cores this process may use: those that it may be scheduled on, and of them no more than
// its control group's quota of CPU time, or a container's, allows. For deciding how many threads
// pay. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace gd2fs {

// Asked for once per process; at least 1.
uint32_t usable_cores();

// The quota of a control group and of those above it, rounded up to whole cores; UINT32_MAX: there
// is none. `groups`: as /proc/self/cgroup says; `mount`: where their files are (/sys/fs/cgroup).
uint32_t cores_of_quota(const std::string& groups, const std::string& mount);

}  // namespace gd2fs
