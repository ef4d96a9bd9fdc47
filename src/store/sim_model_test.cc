#include "store/sim_model.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

// What was seen, taken apart from the last update to the first: an update can be the last that
// happened if all it wrote is there, but for what is explained by later ones. Taking one off never
// keeps another from being taken off, so the order of the attempts does not matter.
class Peeling {
 public:
  Peeling(const Seen& seen, const std::string& base, std::vector<uint32_t> cuts)
      : seen_(seen), base_(base), cuts_(std::move(cuts)) {
    const auto end = seen.offset_bytes + static_cast<uint32_t>(seen.bytes.size());
    for (uint32_t& cut : cuts_) cut = std::clamp(cut, seen.offset_bytes, end);
    cuts_.push_back(seen.offset_bytes);
    cuts_.push_back(end);
    for (uint32_t block = 1; block < seen.block_unknown.size(); ++block) {
      cuts_.push_back(seen.offset_bytes + block * kBlockBytes);
    }
    std::sort(cuts_.begin(), cuts_.end());
    cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
    explained_.assign(cuts_.size() - 1, false);
    for (size_t i = 0; i < explained_.size(); ++i) {
      const size_t block = (cuts_[i] - seen.offset_bytes) / kBlockBytes;
      explained_[i] = !seen.block_unknown.empty() && seen.block_unknown[block];
    }
  }

  bool take_off(const ModelUpdate& update) {
    const size_t first = position(update.offset_bytes);
    const size_t end = position(update.end_bytes());
    for (size_t i = first; i < end; ++i) {
      if (!explained_[i] && !shows(update, i)) return false;
    }
    std::fill(explained_.begin() + static_cast<std::ptrdiff_t>(first),
              explained_.begin() + static_cast<std::ptrdiff_t>(end), true);
    return true;
  }

  bool rest_is_base() const {
    for (size_t i = 0; i < explained_.size(); ++i) {
      if (explained_[i]) continue;
      const size_t length_bytes = cuts_[i + 1] - cuts_[i];
      if (seen_.bytes.compare(cuts_[i] - seen_.offset_bytes, length_bytes, base_,
                              cuts_[i] - seen_.offset_bytes, length_bytes) != 0) {
        return false;
      }
    }
    return true;
  }

 private:
  size_t position(uint32_t at) const {
    return static_cast<size_t>(std::lower_bound(cuts_.begin(), cuts_.end() - 1, at) -
                               cuts_.begin());
  }
  bool shows(const ModelUpdate& update, size_t segment) const {
    std::string bytes(cuts_[segment + 1] - cuts_[segment], '\0');
    model_apply(update, bytes, cuts_[segment]);
    return seen_.bytes.compare(cuts_[segment] - seen_.offset_bytes, bytes.size(), bytes) == 0;
  }

  const Seen& seen_;
  const std::string& base_;
  std::vector<uint32_t> cuts_;
  std::vector<bool> explained_;
};

}  // namespace

void model_fill(uint64_t id, uint32_t offset_bytes, Bytes out) {
  const uint64_t name = mix64(id);
  const auto byte_at = [&](uint64_t at) {
    return static_cast<std::byte>((name >> (8 * (at % 8))) ^ (at >> 3) ^ (at >> 11));
  };
  size_t i = 0;
  for (; i < out.size() && (offset_bytes + i) % 8 != 0; ++i) out[i] = byte_at(offset_bytes + i);
  for (; i + 8 <= out.size(); i += 8) {
    const uint64_t at = offset_bytes + i;
    store_le(&out[i], name ^ (((at >> 3) ^ (at >> 11)) & 0xFF) * 0x0101'0101'0101'0101);
  }
  for (; i < out.size(); ++i) out[i] = byte_at(offset_bytes + i);
}

void model_apply(const ModelUpdate& update, std::string& bytes, uint32_t bytes_offset) {
  const uint32_t begin = std::max(update.offset_bytes, bytes_offset);
  const uint32_t end =
      std::min(update.end_bytes(), bytes_offset + static_cast<uint32_t>(bytes.size()));
  if (begin >= end) return;
  const Bytes out = as_writable_bytes(&bytes[begin - bytes_offset], end - begin);
  if (update.cut) {
    std::fill(out.begin(), out.end(), std::byte{0});
  } else {
    model_fill(update.id, begin, out);
  }
}

void ModelChunk::begin(const ModelUpdate& update) {
  if (!is_under_way(update.id))
    under_way_.push_back({.update = update, .acks_before = acks_.size()});
}

std::string ModelChunk::under_way_text() const {
  std::string text;
  for (const UnderWay& u : under_way_) {
    text += " " + std::to_string(u.update.id) + (u.update.cut ? " (cut)" : "");
  }
  return text;
}

bool ModelChunk::may_answer(const Seen& seen, std::string before, size_t acks_before) const {
  for (size_t i = acks_before;; ++i) {
    if (seen.bytes == before) return true;
    if (i == acks_.size()) break;
    model_apply(acks_[i], before, seen.offset_bytes);
  }
  return explain(seen, SIZE_MAX).possible;
}

// Explains it by all acknowledged updates in their order, and any of those under way but the one at
// position `without`.
ModelChunk::Explained ModelChunk::explain(const Seen& seen, size_t without) const {
  size_t first_ack = acks_.size();
  std::vector<uint32_t> cuts;
  const auto add_cuts = [&](const ModelUpdate& update) {
    cuts.push_back(update.offset_bytes);
    cuts.push_back(update.end_bytes());
  };
  for (const UnderWay& u : under_way_) {
    first_ack = std::min(first_ack, u.acks_before);
    add_cuts(u.update);
  }
  for (size_t i = acks_.size(); i-- > 0;) {
    if (acks_[i].maybe_lost) first_ack = std::min(first_ack, i);
  }
  std::string base = settled_.substr(seen.offset_bytes, seen.bytes.size());
  for (size_t i = 0; i < first_ack; ++i) model_apply(acks_[i], base, seen.offset_bytes);
  for (size_t i = first_ack; i < acks_.size(); ++i) add_cuts(acks_[i]);
  Peeling peeling(seen, base, std::move(cuts));
  Explained explained;
  explained.applied.assign(under_way_.size(), false);
  for (size_t ack = acks_.size();; --ack) {
    for (bool more = true; more;) {
      more = false;
      for (size_t i = 0; i < under_way_.size(); ++i) {
        const UnderWay& u = under_way_[i];
        if (i == without || explained.applied[i] || u.acks_before > ack) continue;
        if (peeling.take_off(u.update)) explained.applied[i] = more = true;
      }
    }
    if (ack == first_ack) break;
    if (peeling.take_off(acks_[ack - 1])) continue;
    if (!acks_[ack - 1].maybe_lost) return explained;
    ++explained.lost;
  }
  explained.possible = peeling.rest_is_base();
  return explained;
}

bool ModelChunk::settle(const Seen& seen, Settled* settled) {
  const Explained all = explain(seen, SIZE_MAX);
  if (!all.possible) return false;
  for (size_t i = 0; i < under_way_.size(); ++i) {
    const uint64_t id = under_way_[i].update.id;
    if (!all.applied[i]) {
      settled->dropped.push_back(id);
    } else if (!explain(seen, i).possible) {
      settled->applied.push_back(id);
    }
  }
  settled->lost = all.lost;
  settled_ = acked_ = seen.bytes;
  under_way_.clear();
  acks_.clear();
  return true;
}

TEST(SimModel, AnUpdateThatWasNotAnsweredHappenedAtOneMomentSinceItWasSentOrNever) {
  const ModelUpdate first{.id = 1, .offset_bytes = 0, .length_bytes = 1000};
  const ModelUpdate unknown{.id = 2, .offset_bytes = 500, .length_bytes = 1000};
  const ModelUpdate last{.id = 3, .offset_bytes = 1200, .length_bytes = 1000};
  const auto answers = [&](std::vector<ModelUpdate> order, ModelChunk::Settled* settled) {
    ModelChunk chunk(17);
    chunk.begin(first);
    chunk.ack(first);
    chunk.begin(unknown);
    chunk.begin(last);
    chunk.ack(last);
    Seen seen{.bytes = std::string(size_t{1} << 17, '\0')};
    for (const ModelUpdate& update : order) model_apply(update, seen.bytes, 0);
    const bool read = chunk.may_answer(seen, std::string(size_t{1} << 17, 'x'), chunk.acks());
    const bool possible = chunk.settle(seen, settled);
    EXPECT_EQ(read, possible);
    return possible;
  };
  ModelChunk::Settled settled;
  EXPECT_TRUE(answers({first, last}, &settled));
  EXPECT_EQ(settled.dropped, std::vector<uint64_t>{2});
  settled = {};
  EXPECT_TRUE(answers({first, unknown, last}, &settled));
  EXPECT_EQ(settled.applied, std::vector<uint64_t>{2});
  EXPECT_TRUE(answers({first, last, unknown}, &settled));
  EXPECT_FALSE(answers({unknown, first, last}, &settled));  // it was sent later
  EXPECT_FALSE(answers({first}, &settled));
  EXPECT_FALSE(answers({first, unknown}, &settled));
  EXPECT_FALSE(answers({first, last, {.id = 4, .length_bytes = 1}}, &settled));
}

TEST(SimModel, ACrashTakesBackOnlyWhatWasNotFlushedAndChangesNoOrder) {
  const ModelUpdate first{.id = 1, .offset_bytes = 0, .length_bytes = 1000, .unflushed = true};
  const ModelUpdate second{.id = 2, .offset_bytes = 500, .length_bytes = 1000, .unflushed = true};
  const ModelUpdate third{.id = 3, .offset_bytes = 1200, .length_bytes = 1000, .unflushed = true};
  const auto holds = [&](const std::vector<ModelUpdate>& there, size_t flushed, bool crash) {
    ModelChunk chunk(17);
    for (const ModelUpdate& update : {first, second, third}) {
      chunk.begin(update);
      chunk.ack(update);
    }
    chunk.flushed(flushed);
    if (crash) chunk.crashed();
    Seen seen{.bytes = std::string(size_t{1} << 17, '\0')};
    for (const ModelUpdate& update : there) model_apply(update, seen.bytes, 0);
    ModelChunk::Settled settled;
    return chunk.settle(seen, &settled);
  };
  EXPECT_TRUE(holds({first, second, third}, 0, false));
  EXPECT_FALSE(holds({first, second}, 0, false));
  EXPECT_TRUE(holds({first, third}, 0, true));
  EXPECT_TRUE(holds({}, 0, true));
  EXPECT_TRUE(holds({first}, 1, true));
  EXPECT_FALSE(holds({third}, 1, true));
  EXPECT_FALSE(holds({second, first}, 0, true));
  EXPECT_FALSE(holds({first, third, second}, 0, true));
}

TEST(SimModel, WhatALaterUpdateCoversWhollyCannotBeTold) {
  const ModelUpdate unknown{.id = 2, .offset_bytes = 500, .length_bytes = 1000};
  const ModelUpdate cut{.id = 3, .cut = true, .offset_bytes = 0, .length_bytes = 1u << 17};
  ModelChunk chunk(17);
  chunk.begin(unknown);
  chunk.begin(cut);
  chunk.ack(cut);
  ModelChunk::Settled settled;
  EXPECT_TRUE(chunk.settle({.bytes = std::string(size_t{1} << 17, '\0')}, &settled));
  EXPECT_TRUE(settled.applied.empty());
  EXPECT_TRUE(settled.dropped.empty());
}

TEST(SimModel, ABlockThatCouldNotBeReadIsNoWitness) {
  const ModelUpdate unknown{.id = 2, .offset_bytes = 0, .length_bytes = 2 * kBlockBytes};
  ModelChunk chunk(17);
  chunk.begin(unknown);
  Seen seen{.bytes = std::string(size_t{1} << 17, '\0'), .block_unknown = {true, false}};
  ModelChunk::Settled settled;
  ModelChunk same = chunk;
  EXPECT_TRUE(same.settle(seen, &settled));
  EXPECT_EQ(settled.dropped, std::vector<uint64_t>{2});
  model_fill(2, kBlockBytes, as_writable_bytes(&seen.bytes[kBlockBytes], kBlockBytes));
  same = chunk;
  settled = {};
  EXPECT_TRUE(same.settle(seen, &settled));
  EXPECT_EQ(settled.applied, std::vector<uint64_t>{2});
}

}  // namespace gd2fs
