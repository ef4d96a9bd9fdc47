// FolderJanitor: removes a folder when the process that made it ends, however it ends: a bench of
// 30 GiB that is interrupted, or killed, leaves nothing on the drive.
//
// It is a process of its own, which waits for the end of a pipe. One thread.
#pragma once

#include <string>

#include "base/status.h"

namespace gd2fs {

class FolderJanitor {
 public:
  FolderJanitor() = default;
  // Forks, so call before this process has threads of its own that hold locks.
  static Result<FolderJanitor> watch(const std::string& folder);
  FolderJanitor(FolderJanitor&& other) noexcept;
  FolderJanitor& operator=(FolderJanitor&& other) noexcept;
  ~FolderJanitor();  // the folder is removed when it returns

 private:
  void end();
  int pipe_ = -1;  // nothing is ever written to it
  int child_ = -1;
};

}  // namespace gd2fs
