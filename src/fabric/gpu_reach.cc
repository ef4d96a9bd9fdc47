#include "fabric/gpu_reach.h"

#include "base/log.h"

namespace gd2fs {

GpuReach& GpuReach::instance() {
  static GpuReach reach;
  return reach;
}

std::optional<bool> GpuReach::known(const std::string& nic, const std::string& gpu) const {
  std::lock_guard lock(mutex_);
  const auto found = pairs_.find({nic, gpu});
  if (found == pairs_.end()) return std::nullopt;
  return found->second;
}

void GpuReach::forget(const std::string& nic, const std::string& gpu) {
  std::lock_guard lock(mutex_);
  pairs_.erase({nic, gpu});
}

void GpuReach::learn(const std::string& nic, const std::string& gpu, bool reached) {
  {
    std::lock_guard lock(mutex_);
    const auto [place, is_new] = pairs_.try_emplace({nic, gpu}, reached);
    const bool news = is_new || place->second != reached;
    place->second = reached;
    if (reached || !news) return;
  }
  GD2FS_LOG_WARN(
      "{} takes registrations of {} but cannot reach it (ACS? see gd2fs doctor): its bytes go by "
      "other NICs, or through pinned host memory",
      nic, gpu);
}

}  // namespace gd2fs
