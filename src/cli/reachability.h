// Reachability: whether this machine reaches the deployment that the settings name, measured: a
// session with its controller, then one with each server of its map, by each way that a client here
// would take: the network, shared memory, and from each rdma:// address of client.dp to each of the
// server's. Findings are of the area "servers". Blocking; any one thread.
#pragma once

#include "cli/config.h"
#include "cli/doctor/finding.h"

namespace gd2fs::cli {

// `named`: somebody said which controller it is. Else nothing need be there.
void check_reachability(const Config& config, const doctor::Needs& needs, bool named,
                        doctor::Findings* out);

}  // namespace gd2fs::cli
