// check_names: could the names have been what every answer of a history says? One sequential
// directory tree is enough to explain all creates, renames, removals, lookups and listings, and
// which inode each read, write and truncate met. An inode number never returns once its file is
// gone. Pure.
#pragma once

#include <string>

#include "sim/seeds/history.h"

namespace gd2fs::sim {

// Empty, or what is wrong, with the records concerned.
std::string check_names(const History& history);

}  // namespace gd2fs::sim
