// CacheReplay: for tests and bench/cache: plays a seeded trace of accesses against a real Slab
// (pages taken, shown and evicted by its own policy; nothing is read or copied) and against an LRU
// cache of the same size beside it. The LRU packs its pages without a gap, so it is the stronger
// opponent.
//
// The trace: objects of a few sizes whose popularity is Zipf's, and from time to time a whole file
// read once from end to end. Thread rule: one thread.
#pragma once

#include <cmath>
#include <list>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "loop/clock.h"
#include "loop/loop.h"
#include "store/slab.h"

namespace gd2fs {

// Draws from [0, n) with probability proportional to 1 / (rank + 1)^s.
class Zipf {
 public:
  Zipf(uint32_t n, double s) : upto_(n) {
    double sum = 0;
    for (uint32_t rank = 0; rank < n; ++rank) {
      sum += 1 / std::pow(rank + 1, s);
      upto_[rank] = sum;
    }
  }
  uint32_t draw(Random& random) const {
    const double at = static_cast<double>(random.next() >> 11) * 0x1p-53 * upto_.back();
    return static_cast<uint32_t>(std::upper_bound(upto_.begin(), upto_.end(), at) - upto_.begin());
  }

 private:
  std::vector<double> upto_;
};

class LruCache {
 public:
  explicit LruCache(uint64_t blocks_max) : blocks_max_(blocks_max) {}
  // Whether it was there; it is now.
  bool access(uint64_t name, uint32_t blocks) {
    const auto found = places_.find(name);
    if (found != places_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    for (blocks_ += blocks; blocks_ > blocks_max_; order_.pop_back()) {
      blocks_ -= order_.back().second;
      places_.erase(order_.back().first);
    }
    order_.emplace_front(name, blocks);
    places_[name] = order_.begin();
    return false;
  }
  bool has(uint64_t name) const { return places_.contains(name); }

 private:
  uint64_t blocks_max_;
  uint64_t blocks_ = 0;
  std::list<std::pair<uint64_t, uint32_t>> order_;  // newest first
  std::unordered_map<uint64_t, std::list<std::pair<uint64_t, uint32_t>>::iterator> places_;
};

class CacheReplay {
 public:
  struct Ratio {
    uint64_t hits = 0;
    uint64_t accesses = 0;
    double value() const {
      return accesses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(accesses);
    }
    void count(bool hit) {
      hits += hit ? 1 : 0;
      ++accesses;
    }
  };

  CacheReplay(uint64_t slab_bytes, uint64_t seed)
      : random(seed),
        slab(loop_, plain_arena_source(), slab_bytes, slab_bytes / 8),
        lru(slab.capacity_bytes() / kBlockBytes) {}

  // Object `chunk` of the file, `blocks` long: whether the slab has it. It has afterwards.
  bool access(uint64_t inode, uint32_t chunk, uint32_t blocks) {
    if (SlabPage* const page = slab.map().page_of({inode, chunk}, 0)) {
      slab.used(*page);
      return true;
    }
    SlabPage* const page = slab.take({inode, chunk}, 0, blocks);
    if (page == nullptr) return false;
    slab.show(*page, 0, blocks);
    slab.unhold(*page);
    return false;
  }
  bool access_lru(uint64_t inode, uint32_t chunk, uint32_t blocks) {
    return lru.access(inode << 32 | chunk, blocks);
  }
  // The whole file once, in order, in pieces of `blocks`.
  void scan(uint64_t inode, uint64_t length_bytes, uint32_t blocks) {
    const auto chunks = static_cast<uint32_t>(length_bytes / (uint64_t{blocks} * kBlockBytes));
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      access(inode, chunk, blocks);
      access_lru(inode, chunk, blocks);
    }
  }

  // --- the Zipf + scan mix ---
  struct Mix {
    uint32_t accesses = 200'000;
    double zipf = 0.9;
    uint32_t universe_slabs = 10;               // how many times the slab all objects are
    std::vector<uint32_t> blocks = {1, 4, 16};  // sizes of objects, drawn by their name
    uint32_t scan_every = 20'000;               // accesses; 0: never
    uint32_t scan_blocks = 64;                  // in pieces of a 4 MiB chunk
  };
  struct Result {
    Ratio slab;
    Ratio lru;
  };
  Result play(const Mix& mix) {
    uint64_t mean_blocks = 0;
    for (const uint32_t blocks : mix.blocks) mean_blocks += blocks;
    CHECK(mean_blocks > 0);
    const auto objects = static_cast<uint32_t>(
        slab.capacity_bytes() / kBlockBytes * mix.universe_slabs * mix.blocks.size() / mean_blocks);
    const Zipf zipf(objects, mix.zipf);
    Result result;
    uint64_t scanned = 0;
    for (uint32_t i = 0; i < mix.accesses; ++i) {
      if (mix.scan_every != 0 && i % mix.scan_every == mix.scan_every / 2) {
        scan(kScanned + scanned++, 2 * slab.capacity_bytes(), mix.scan_blocks);
      }
      const uint32_t object = zipf.draw(random);
      const uint32_t blocks = mix.blocks[mix64(object) % mix.blocks.size()];
      const bool hit = access(kObjects, object, blocks);
      const bool lru_hit = access_lru(kObjects, object, blocks);
      if (i < mix.accesses / 5) continue;  // the caches fill
      result.slab.count(hit);
      result.lru.count(lru_hit);
    }
    return result;
  }

  // --- what a scan leaves of the hot pages ---
  // Reads objects of these sizes, `share` of the slab in all, three times over, then one file twice
  // the slab, `scans` times; the share of the objects (counted in accesses) that are still hits.
  Result survive_scan(double share, const std::vector<uint32_t>& sizes, uint32_t scan_blocks,
                      int scans = 1) {
    const uint64_t hot_bytes =
        static_cast<uint64_t>(share * static_cast<double>(slab.capacity_bytes()));
    std::vector<uint32_t> blocks;
    for (uint64_t bytes = 0; bytes < hot_bytes; bytes += blocks.back() * kBlockBytes) {
      blocks.push_back(sizes[random.below(sizes.size())]);
    }
    for (int round = 0; round < 3; ++round) {
      for (uint32_t object = 0; object < blocks.size(); ++object) {
        access(kObjects, object, blocks[object]);
        access_lru(kObjects, object, blocks[object]);
      }
    }
    for (int i = 0; i < scans; ++i) scan(kScanned, 2 * slab.capacity_bytes(), scan_blocks);
    Result result;
    for (uint32_t object = 0; object < blocks.size(); ++object) {
      result.slab.count(slab.map().page_of({kObjects, object}, 0) != nullptr);
      result.lru.count(lru.has(kObjects << 32 | object));
    }
    return result;
  }

 private:
  static constexpr uint64_t kObjects = 1;
  static constexpr uint64_t kScanned = 1000;
  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::never};

 public:
  Random random;
  Slab slab;
  LruCache lru;
};

}  // namespace gd2fs
