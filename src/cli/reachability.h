// Reachability: whether this machine reaches the deployment that the settings name, measured: a
// session with its controller, then one with each server of its map, by each way that a client here
// would take. Findings are of the area "servers". Blocking; any one thread.
#pragma once

#include "cli/config.h"
#include "cli/doctor/finding.h"

namespace gd2fs::cli {

// `named`: somebody said which controller it is. Else nothing need be there.
void check_reachability(const Config& config, bool named, doctor::Findings* out);

}  // namespace gd2fs::cli
