// check_sizes: could the size of each file have been what every answer says? Writes grow it, chunk
// by chunk; truncates set it; stats and reads that came out short or full show it. (Listings do not
// count: the size in one may be that of a truncate which is not acknowledged yet.) Pure.
#pragma once

#include <string>

#include "sim/seeds/file_history.h"

namespace gd2fs::sim {

// Empty, or what is wrong, with the records concerned.
std::string check_sizes(const FileHistory& file, uint64_t chunk_bytes);

}  // namespace gd2fs::sim
