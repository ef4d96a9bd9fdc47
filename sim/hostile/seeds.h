// The scripts that the fuzzer begins with, and the test plays: one with every request there is,
// said honestly, and shorter ones.
#pragma once

#include <string>
#include <vector>

namespace gd2fs::sim {

// Every kind of request in an order in which each finds what it needs.
std::string honest_script();
std::vector<std::string> seed_scripts();

}  // namespace gd2fs::sim
