// Finding: one thing that `gd2fs doctor` looked at, how it is, and what to do about it. Plain
// values.
//
// This folder holds what looks at a machine. Each check_*() (checks.h) reads a Machine and adds
// findings; nothing here prints, changes anything or speaks to another process.
#pragma once

#include <string>
#include <vector>

namespace gd2fs::cli::doctor {

enum class Level : unsigned char {
  ok,
  note,     // GD2FS works without it, or slower
  missing,  // what was asked for cannot work
};

struct Finding {
  std::string area;     // "rdma", "memory", ...
  std::string subject;  // "mlx5_0 port 1"
  Level level = Level::ok;
  std::string found;
  std::string remedy;  // empty if there is nothing to be done
};
using Findings = std::vector<Finding>;

// What this machine must be able to do. The lack of it is `missing`, of anything else a `note`.
struct Needs {
  bool rdma = false;
  bool gpu_direct = false;
  Level lack_of_rdma() const { return rdma || gpu_direct ? Level::missing : Level::note; }
  Level lack_of_gpu_direct() const { return gpu_direct ? Level::missing : Level::note; }
};

const char* level_name(Level level);  // "ok", "note", "missing"

}  // namespace gd2fs::cli::doctor
