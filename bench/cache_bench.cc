// cache_bench: the slab's eviction policy beside LRU on seeded traces, over the slab's own code.
//
//   cache_bench [slab_mib=4096] [seed=1]
//
// Prints the hit ratio of both on a mix of Zipf accesses and whole-file scans, and the share of hot
// pages that one scan of a file twice the slab leaves. No bytes are moved: memory is only mapped.
#include <cstdio>
#include <cstdlib>

#include "store/cache_replay.h"

namespace gd2fs {
namespace {

void print_mix(uint64_t slab_bytes, uint64_t seed, const char* name, const CacheReplay::Mix& mix) {
  CacheReplay replay(slab_bytes, seed);
  const CacheReplay::Result result = replay.play(mix);
  std::printf("%-44s %10.4f %10.4f\n", name, result.slab.value(), result.lru.value());
}

void print_scan(uint64_t slab_bytes, uint64_t seed, const char* name, double share,
                const std::vector<uint32_t>& sizes, uint32_t scan_blocks) {
  CacheReplay replay(slab_bytes, seed);
  const CacheReplay::Result result = replay.survive_scan(share, sizes, scan_blocks);
  std::printf("%-44s %10.4f %10.4f\n", name, result.slab.value(), result.lru.value());
}

void run(uint64_t slab_bytes, uint64_t seed) {
  std::printf("slab %llu MiB, seed %llu\n%-44s %10s %10s\n",
              static_cast<unsigned long long>(slab_bytes / kMiB),
              static_cast<unsigned long long>(seed), "hit ratio", "S3-FIFO", "LRU");
  print_mix(slab_bytes, seed, "zipf 0.9 + scans, 64 KiB pages", {.blocks = {1}, .scan_blocks = 1});
  print_mix(slab_bytes, seed, "zipf 0.9 + scans, 4 MiB pages", {.blocks = {64}});
  print_mix(slab_bytes, seed, "zipf 0.9 + scans, 64 KiB..1 MiB pages", {});
  print_mix(slab_bytes, seed, "zipf 0.9 + scans, 64 KiB..4 MiB pages", {.blocks = {1, 4, 16, 64}});
  print_mix(slab_bytes, seed, "zipf 0.7 + scans, 64 KiB..1 MiB pages", {.zipf = 0.7});
  print_mix(slab_bytes, seed, "zipf 1.1 + scans, 64 KiB..1 MiB pages", {.zipf = 1.1});
  print_mix(slab_bytes, seed, "zipf 0.9, no scans, 64 KiB..1 MiB pages", {.scan_every = 0});
  std::printf("%-44s\n", "hot pages left by one scan of twice the slab");
  for (const double share : {0.25, 0.5, 0.75}) {
    char name[64];
    std::snprintf(name, sizeof name, "%.0f%% of the slab hot, 64 KiB pages", share * 100);
    print_scan(slab_bytes, seed, name, share, {1}, 64);
    std::snprintf(name, sizeof name, "%.0f%% of the slab hot, 64 KiB..1 MiB pages", share * 100);
    print_scan(slab_bytes, seed, name, share, {1, 4, 16}, 64);
    std::snprintf(name, sizeof name, "%.0f%% of the slab hot, 4 MiB pages", share * 100);
    print_scan(slab_bytes, seed, name, share, {64}, 64);
  }
}

}  // namespace
}  // namespace gd2fs

int main(int argc, char** argv) {
  const uint64_t slab_mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4096;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  if (slab_mib < 64) {
    std::fprintf(stderr, "cache_bench: a slab of at least 64 MiB\n");
    return 2;
  }
  gd2fs::run(slab_mib * gd2fs::kMiB, seed);
  return 0;
}
