// Linearizer: is there an order of operations that a sequential model allows, in which an operation
// that ended before another began comes first?
//
// A Model has
//   using State = ...;
//   size_t size() const;                    its operations, in the order of their beginnings
//   Span span(size_t i) const;
//   Fit fit(const State&, size_t i, State* next) const;   next: the state after it, if it changes;
//                                                          nullptr: only the answer is wanted
//   std::string key(const State&) const;    equal for equal states
//   bool same(size_t i, size_t j) const;    two operations that cannot be told apart
//
// Depth first: what fits and changes nothing is taken at once (later it could only fit less well);
// then each that could come next is tried, those that must have happened before those that may
// have. Positions that failed are remembered. First with none of those that may have happened, then
// with a few, at last with all: who takes a wrong turn early finds out before it has tried every
// set of them. For tests; pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "base/random.h"

namespace gd2fs::sim {

enum class Fit : uint8_t { no, same, changes };

struct Span {
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;
  bool optional = false;  // it may never have happened
};

enum class Linear : uint8_t { yes, no, too_hard };

template <class Model>
class Linearizer {
 public:
  using State = typename Model::State;
  static constexpr size_t kPositionsMax = 100'000;
  static constexpr size_t kOptionalSteps = 4;

  explicit Linearizer(const Model& model) : model_(model) {}

  Linear search(const State& initial) {
    Position start;
    start.state = initial;
    start.done.assign(model_.size(), false);
    deepest_ = start;
    for (optional_max_ = 0;;
         optional_max_ = optional_max_ < kOptionalSteps ? optional_max_ + 1 : SIZE_MAX) {
      seen_.clear();
      too_hard_ = false;
      left_out_ = false;
      if (advance(start)) return Linear::yes;
      if (!too_hard_ && !left_out_) return Linear::no;
      if (optional_max_ == SIZE_MAX) return Linear::too_hard;
    }
  }

  // After a no: the furthest that any order came, and the operations that had to follow there.
  const State& deepest_state() const { return deepest_.state; }
  std::vector<size_t> stuck() const {
    std::vector<size_t> out;
    const uint64_t limit = next_end(deepest_);
    for (size_t i = 0; i < model_.size(); ++i) {
      const Span span = model_.span(i);
      const bool over = span.optional && span.end < deepest_.latest;
      if (!deepest_.done[i] && span.begin < limit && !over) out.push_back(i);
    }
    return out;
  }
  size_t positions() const { return seen_.size(); }

 private:
  struct Position {
    State state;
    std::vector<bool> done;
    size_t first = 0;     // all before it are done
    size_t count = 0;     // of those done that had to happen
    size_t optional = 0;  // of those done that need not have happened
    // The latest beginning of the changes done: what ended before it cannot follow. Observations do
    // not count: they are taken early without need.
    uint64_t latest = 0;
  };

  // The earliest end of what must still come: nothing that begins later can come before it.
  uint64_t next_end(const Position& at) const {
    uint64_t limit = UINT64_MAX;
    bool any = false;
    for (size_t i = at.first; i < model_.size(); ++i) {
      if (at.done[i]) continue;
      const Span span = model_.span(i);
      if (any && span.begin >= limit) break;
      if (span.optional) continue;
      any = true;
      limit = std::min(limit, span.end);
    }
    return any ? limit : 0;
  }

  static void mark(Position* at, size_t i, const Span& span) {
    at->done[i] = true;
    ++(span.optional ? at->optional : at->count);
    while (at->first < at->done.size() && at->done[at->first]) ++at->first;
  }

  // Takes all that fits as it is. 0 when nothing is left that had to happen, else next_end().
  uint64_t take_observations(Position* at) const {
    for (;;) {
      const uint64_t limit = next_end(*at);
      bool took = false;
      for (size_t i = at->first; i < model_.size(); ++i) {
        if (at->done[i]) continue;
        const Span span = model_.span(i);
        if (span.begin >= limit) break;
        if (span.optional || model_.fit(at->state, i, nullptr) != Fit::same) continue;
        mark(at, i, span);
        took = true;
      }
      if (!took) return limit;
    }
  }

  bool advance(Position at) {
    const uint64_t limit = take_observations(&at);
    if (limit == 0) return true;
    if (at.count > deepest_.count) deepest_ = at;
    if (seen_.size() >= kPositionsMax) too_hard_ = true;
    if (too_hard_ || !seen_.insert(fingerprint(at)).second) return false;
    for (Choice& choice : choices(at, limit)) {
      Position next;
      next.state = std::move(choice.next);
      next.done = at.done;
      next.first = at.first;
      next.count = at.count;
      next.optional = at.optional;
      next.latest = std::max(at.latest, choice.span.begin);
      mark(&next, choice.i, choice.span);
      if (advance(std::move(next))) return true;
      if (too_hard_) return false;
    }
    return false;
  }

  struct Choice {
    size_t i = 0;
    Span span;
    State next;
    bool helps = false;  // what is most urgent fits behind it
  };

  // The changes that may come next, the most promising first.
  std::vector<Choice> choices(const Position& at, uint64_t limit) {
    std::vector<Choice> out;
    size_t urgent = 0;
    for (size_t i = at.first; i < model_.size(); ++i) {
      const Span span = model_.span(i);
      if (span.begin >= limit) break;
      if (at.done[i]) continue;
      if (!span.optional && span.end == limit) urgent = i;
      // Of two that are the same, one is enough.
      const auto like_it = [&](const Choice& choice) { return model_.same(choice.i, i); };
      if (span.end <= at.latest || std::ranges::any_of(out, like_it)) continue;
      if (span.optional && at.optional >= optional_max_) {
        left_out_ = true;
        continue;
      }
      Choice choice{.i = i, .span = span};
      if (model_.fit(at.state, i, &choice.next) == Fit::changes) out.push_back(std::move(choice));
    }
    for (Choice& choice : out) {
      choice.helps = choice.i == urgent || model_.fit(choice.next, urgent, nullptr) != Fit::no;
    }
    std::ranges::stable_sort(out, [](const Choice& a, const Choice& b) {
      return std::tuple(!a.helps, a.span.optional, a.span.end) <
             std::tuple(!b.helps, b.span.optional, b.span.end);
    });
    return out;
  }

  // 64 bits are enough for the few positions that one search sees.
  uint64_t fingerprint(const Position& at) const {
    uint64_t hash = std::hash<std::string>()(model_.key(at.state));
    for (size_t i = at.first; i < at.done.size(); ++i) {
      if (at.done[i]) hash = mix64(hash ^ i);
    }
    return mix64(hash ^ at.first << 32);
  }

  const Model& model_;
  Position deepest_;
  std::unordered_set<uint64_t> seen_;
  bool too_hard_ = false;
  size_t optional_max_ = 0;  // of one order, in this round
  bool left_out_ = false;    // some that might have come next, for that limit
};

}  // namespace gd2fs::sim
