// GpuReach: which NICs of this machine were found to reach which GPUs. It holds for the hardware,
// so the whole process shares what one ctx has learnt. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace gd2fs {

class GpuReach {
 public:
  static GpuReach& instance();
  // Nothing: it was not tried yet.
  std::optional<bool> known(const std::string& nic, const std::string& gpu) const;
  // Says in the log that a pair does not work, when it is news.
  void learn(const std::string& nic, const std::string& gpu, bool reached);
  void forget(const std::string& nic, const std::string& gpu);

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, bool> pairs_;
};

}  // namespace gd2fs
