// Mutations: rules of the product taken out one at a time, through its doors to the world, to show
// that some seed of the simulation notices. For tests.
#pragma once

#include <string>
#include <vector>

#include "sim/seeds/seed_run.h"

namespace gd2fs::sim {

// The drives of the data server, or of the controller, answer every sync of files whose names begin
// so with ok and do nothing.
SeedMutation ignore_server_syncs(const std::string& name_prefix);
SeedMutation ignore_controller_syncs(const std::string& name_prefix);
// ... or of folders.
SeedMutation ignore_server_dir_syncs();
SeedMutation ignore_controller_dir_syncs();
// The store is never told of a fence: neither its record nor its cut happens.
SeedMutation drop_fences();
// Reads and writes come to the store with the highest generation there is.
SeedMutation blind_to_generations();
// Directory renames are not told to the server.
SeedMutation drop_namespace_fences();
// Every try of a write's pieces, or of a change of names, has a tag of its own.
SeedMutation retag_writes();
SeedMutation retag_names();
// A data server believes that its lease is much longer than the controller does.
SeedMutation stretch_leases();
// Bytes that arrive after a window was withdrawn are written into it.
SeedMutation write_late_bytes();
// Clients do not ask for their memory back before they use it again, in a world with NICs.
SeedMutation skip_recalls();
// NICs do not look at keys, while clients name those of others.
SeedMutation open_all_memory();

}  // namespace gd2fs::sim
