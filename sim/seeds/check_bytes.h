// check_bytes: could each chunk of a file have held what every read says? Bytes tell which write
// they are of; within one chunk reads and writes happen at one moment each, truncates clear what
// they cut. Bytes that nobody wrote there are wrong at once. Pure.
#pragma once

#include <string>

#include "sim/seeds/file_history.h"

namespace gd2fs::sim {

// Empty, or what is wrong, with the records concerned. `history` names the author of bytes that are
// in the wrong place.
std::string check_bytes(const FileHistory& file, uint64_t chunk_bytes, const History& history);

// Buffers of reads that have ended may not change any more, nor those that an application watches.
std::string check_buffers(const History& history);

}  // namespace gd2fs::sim
