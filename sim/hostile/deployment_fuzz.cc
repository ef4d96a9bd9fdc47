// Every message there is, said by peers that hold every key, to a real controller and a real data
// server on simulated drives, network and clock: bytes become a script (sim/hostile/script.h), and
// its run is one input. See sim/hostile/hostile.h for what must hold.
#include <cstdio>
#include <cstdlib>

#include "base/fuzz_seeds.h"
#include "base/log.h"
#include "sim/hostile/hostile.h"
#include "sim/hostile/seeds.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  gd2fs::set_log_level(gd2fs::LogLevel::off);
  return gd2fs::write_seeds_if_asked(*argc, *argv, [](gd2fs::SeedFolder& folder) {
    for (const std::string& script : gd2fs::sim::seed_scripts()) folder.add(script);
  });
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gd2fs::sim::HostileDeployment deployment;
  deployment.play(gd2fs::as_bytes(data, size));
  const std::string wrong = deployment.finish();
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "%s\n", wrong.c_str());
  std::abort();
}
