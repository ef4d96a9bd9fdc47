// The model that the store's simulation is checked against: what each chunk must hold, and what a
// read may have seen. For tests.
//
// Chunk updates are atomic and acknowledged in the order in which they begin to show. So a read
// that began when the chunk was A may answer A with the first k of the updates acknowledged since,
// or all of them and updates still under way. One that was never answered (the power failed, a
// drive hung) happened at any one moment since it was sent, or never: which is then settled by
// looking. With durability memory a crash may take back what was acknowledged and not flushed: each
// update for itself, but nothing comes in another order.
#pragma once

#include <algorithm>
#include <memory>
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
  bool unflushed = false;   // acknowledged from memory
  bool maybe_lost = false;  // and then there was a crash
  uint32_t end_bytes() const { return offset_bytes + length_bytes; }
};

// Bytes that name the write and the place they belong to.
void model_fill(uint64_t id, uint32_t offset_bytes, Bytes out);
// The update's bytes in a window that begins at bytes_offset.
void model_apply(const ModelUpdate& update, std::string& bytes, uint32_t bytes_offset);

// What was read: per block the bytes, or none where the answer was an error.
struct Seen {
  uint32_t offset_bytes = 0;
  std::string bytes;
  std::vector<bool> block_unknown;  // empty: all known
};

class ModelChunk {
 public:
  explicit ModelChunk(uint8_t chunk_log2)
      : settled_(size_t{1} << chunk_log2, '\0'), acked_(settled_) {}

  void begin(const ModelUpdate& update);  // sent again: nothing new
  void forget(uint64_t id) {
    std::erase_if(under_way_, [&](const UnderWay& u) { return u.update.id == id; });
  }
  void ack(const ModelUpdate& update) {
    forget(update.id);
    model_apply(update, acked_, 0);
    acks_.push_back(update);
  }
  // Of the acknowledged ones, the first so many are durable.
  void flushed(size_t acks) {
    for (size_t i = 0; i < std::min(acks, acks_.size()); ++i) acks_[i].unflushed = false;
  }
  void crashed() {
    for (ModelUpdate& update : acks_) update.maybe_lost = update.maybe_lost || update.unflushed;
  }
  bool is_under_way(uint64_t id) const {
    return std::any_of(under_way_.begin(), under_way_.end(),
                       [&](const UnderWay& u) { return u.update.id == id; });
  }
  const std::string& acked() const { return acked_; }
  size_t acks() const { return acks_.size(); }
  std::string under_way_text() const;

  // Whether a read that began with `before` (of its range) and after `acks_before` acknowledgements
  // may answer this now.
  bool may_answer(const Seen& seen, std::string before, size_t acks_before) const;

  // After a restart: settles what was under way. False if nothing explains what was seen. For each
  // update under way: applied, not applied, or no telling.
  struct Settled {
    std::vector<uint64_t> applied;
    std::vector<uint64_t> dropped;
    size_t lost = 0;  // of those acknowledged
  };
  bool settle(const Seen& seen, Settled* settled);

 private:
  struct UnderWay {
    ModelUpdate update;
    size_t acks_before = 0;  // acknowledged before it was sent: it comes after them
  };
  struct Explained {
    bool possible = false;
    std::vector<bool> applied;  // by position in under_way_
    size_t lost = 0;
  };
  Explained explain(const Seen& seen, size_t without) const;

  std::string settled_;  // when it was last settled
  std::string acked_;    // with all acks since
  std::vector<ModelUpdate> acks_;
  std::vector<UnderWay> under_way_;
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
