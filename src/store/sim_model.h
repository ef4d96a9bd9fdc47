// The model that the store's simulation is checked against: what each chunk must hold, and what a
// read may have seen. For tests.
//
// Chunk updates are atomic and acknowledged in the order in which they began to show. So a read
// that began when the chunk was A may answer A with the first k of the updates acknowledged since,
// and, after all of those, any of the updates still under way, in any order. After a crash a chunk
// may be A with any of the updates that were under way, in any order: which ones is then settled by
// looking.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "store/store.h"

namespace gd2fs {

// A write, or a cut (zeros from offset to the end).
struct ModelUpdate {
  uint64_t id = 0;
  bool cut = false;
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;
};

// Bytes that name the write and the place they belong to.
inline void model_fill(uint64_t id, uint32_t offset_bytes, Bytes out) {
  const uint64_t name = mix64(id);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t at = offset_bytes + i;
    out[i] = static_cast<std::byte>((name >> (8 * (at % 8))) ^ (at >> 3) ^ (at >> 11));
  }
}

inline void model_apply(const ModelUpdate& update, std::string& bytes, uint32_t bytes_offset) {
  const uint32_t begin = std::max(update.offset_bytes, bytes_offset);
  const uint32_t end = std::min<uint32_t>(update.offset_bytes + update.length_bytes,
                                          bytes_offset + static_cast<uint32_t>(bytes.size()));
  if (begin >= end) return;
  const Bytes out = as_writable_bytes(&bytes[begin - bytes_offset], end - begin);
  if (update.cut) {
    std::fill(out.begin(), out.end(), std::byte{0});
  } else {
    model_fill(update.id, begin, out);
  }
}

// What was read: per block the bytes, or none where the answer was an error.
struct Seen {
  uint32_t offset_bytes = 0;
  std::string bytes;
  std::vector<bool> block_unknown;  // empty: all known
  bool equals(const std::string& other) const {
    if (block_unknown.empty()) return bytes == other;
    for (size_t block = 0; block < block_unknown.size(); ++block) {
      if (block_unknown[block]) continue;
      if (bytes.compare(block * kBlockBytes, kBlockBytes, other, block * kBlockBytes,
                        kBlockBytes) != 0) {
        return false;
      }
    }
    return true;
  }
};

class ModelChunk {
 public:
  explicit ModelChunk(uint8_t chunk_log2) : acked_(size_t{1} << chunk_log2, '\0') {}

  void begin(const ModelUpdate& update) { under_way_.push_back(update); }
  void forget(uint64_t id) {
    std::erase_if(under_way_, [&](const ModelUpdate& u) { return u.id == id; });
  }
  void ack(const ModelUpdate& update) {
    forget(update.id);
    model_apply(update, acked_, 0);
    acks_.push_back(update);
  }
  const std::string& acked() const { return acked_; }
  size_t acks() const { return acks_.size(); }
  const std::vector<ModelUpdate>& under_way() const { return under_way_; }

  // Whether a read that began with `before` (of its range) and after `acks_before` acknowledgements
  // may answer this now.
  bool may_answer(const Seen& seen, std::string before, size_t acks_before) const {
    for (size_t i = acks_before;; ++i) {
      if (seen.equals(before)) return true;
      if (i == acks_.size()) break;
      model_apply(acks_[i], before, seen.offset_bytes);
    }
    std::vector<std::vector<ModelUpdate>> matches;
    search(seen, before, under_way_, {}, matches, true);
    return !matches.empty();
  }

  // After a restart: settles what was under way. False if nothing explains what was seen. For each
  // update under way: applied, not applied, or no telling.
  struct Settled {
    std::vector<uint64_t> applied;
    std::vector<uint64_t> dropped;
  };
  bool settle(const Seen& seen, Settled* settled) {
    std::vector<std::vector<ModelUpdate>> matches;
    search(seen, acked_, under_way_, {}, matches, false);
    if (matches.empty()) return false;
    for (const ModelUpdate& update : under_way_) {
      size_t with = 0;
      for (const auto& match : matches) {
        with += std::any_of(match.begin(), match.end(),
                            [&](const ModelUpdate& u) { return u.id == update.id; });
      }
      if (with == matches.size()) settled->applied.push_back(update.id);
      if (with == 0) settled->dropped.push_back(update.id);
    }
    for (const ModelUpdate& update : matches.front()) model_apply(update, acked_, 0);
    under_way_.clear();
    acks_.clear();
    return true;
  }

 private:
  // All orders of all subsets of `left`, applied to `state`.
  static void search(const Seen& seen, const std::string& state,
                     const std::vector<ModelUpdate>& left, const std::vector<ModelUpdate>& taken,
                     std::vector<std::vector<ModelUpdate>>& matches, bool first_only) {
    if (seen.equals(state)) matches.push_back(taken);
    if (first_only && !matches.empty()) return;
    for (size_t i = 0; i < left.size(); ++i) {
      std::vector<ModelUpdate> rest = left;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
      std::vector<ModelUpdate> with = taken;
      with.push_back(left[i]);
      std::string next = state;
      model_apply(left[i], next, seen.offset_bytes);
      search(seen, next, rest, with, matches, first_only);
    }
  }

  std::string acked_;
  std::vector<ModelUpdate> acks_;
  std::vector<ModelUpdate> under_way_;
};

struct ModelFile {
  uint64_t inode = 0;
  uint64_t generation = 1;        // what clients are told
  uint64_t fence_generation = 1;  // the highest that a fence was sent with
  bool gone = false;              // unlinked: nobody uses it any more, but late requests
  uint8_t chunk_log2 = 0;
  std::vector<ModelChunk> chunks;
};

}  // namespace gd2fs
