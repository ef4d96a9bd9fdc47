#include "sim/seeds/check_sizes.h"

#include <set>

#include "sim/seeds/linearize.h"

namespace gd2fs::sim {
namespace {

using client::Op;

struct SizeStep {
  enum class Kind : uint8_t { grow, set, is, at_least, at_most };
  Kind kind = Kind::is;
  uint64_t bytes = 0;
  Span span;
  const Record* record = nullptr;
};

class SizeModel {
 public:
  using State = uint64_t;
  explicit SizeModel(std::vector<SizeStep> steps) : steps_(std::move(steps)) {
    std::ranges::stable_sort(steps_, {}, [](const SizeStep& step) { return step.span.begin; });
  }
  size_t size() const { return steps_.size(); }
  Span span(size_t i) const { return steps_[i].span; }
  bool same(size_t, size_t) const { return false; }
  const SizeStep& step(size_t i) const { return steps_[i]; }
  std::string key(State state) const { return std::to_string(state); }
  Fit fit(State state, size_t i, State* next) const {
    const SizeStep& step = steps_[i];
    bool fits = false;
    switch (step.kind) {
      case SizeStep::Kind::is:
        fits = state == step.bytes;
        break;
      case SizeStep::Kind::at_least:
        fits = state >= step.bytes;
        break;
      case SizeStep::Kind::at_most:
        fits = state <= step.bytes;
        break;
      // One that changes nothing now may be needed later.
      case SizeStep::Kind::grow:
        if (step.span.optional && step.bytes <= state) return Fit::no;
        if (next != nullptr) *next = std::max(state, step.bytes);
        return Fit::changes;
      case SizeStep::Kind::set:
        if (next != nullptr) *next = step.bytes;
        return Fit::changes;
    }
    return fits ? Fit::same : Fit::no;
  }

 private:
  std::vector<SizeStep> steps_;
};

// Each piece of a write happens at a moment of its own.
void add_pieces(const Record& write, uint64_t chunk_bytes, Span span,
                std::vector<SizeStep>* steps) {
  for (uint64_t at = write.offset; at < write.end_offset();) {
    at = std::min(write.end_offset(), at / chunk_bytes * chunk_bytes + chunk_bytes);
    steps->push_back({SizeStep::Kind::grow, at, span, &write});
  }
}

std::vector<SizeStep> steps_of(const FileHistory& file, uint64_t chunk_bytes) {
  using Kind = SizeStep::Kind;
  std::vector<SizeStep> steps;
  const auto add = [&](const Record* record, Kind kind, uint64_t bytes) {
    steps.push_back({kind, bytes, {record->begin, record->end, false}, record});
  };
  for (const Record* record : file.surely) {
    if (record->op == Op::write) {
      add_pieces(*record, chunk_bytes, {record->begin, record->end, false}, &steps);
    }
    if (record->op == Op::truncate) add(record, Kind::set, record->length);
    if (record->op == Op::stat) add(record, Kind::is, record->facts.size_bytes);
    if (record->op != Op::read || record->length == 0) continue;
    if (record->value == record->length) {
      add(record, Kind::at_least, record->end_offset());
    } else if (record->value > 0) {
      add(record, Kind::is, record->offset + record->value);
    } else {
      add(record, Kind::at_most, record->offset);
    }
  }
  for (const Record* record : file.perhaps) {
    const Span perhaps{record->begin, record->may_go_on() ? kNever : record->end, true};
    if (record->op == Op::write) add_pieces(*record, chunk_bytes, perhaps, &steps);
    if (record->op == Op::truncate) steps.push_back({Kind::set, record->length, perhaps, record});
  }
  return steps;
}

}  // namespace

std::string check_sizes(const FileHistory& file, uint64_t chunk_bytes) {
  const SizeModel model(steps_of(file, chunk_bytes));
  std::set<uint64_t> beginnings = {0};
  if (file.create != nullptr) {
    beginnings = {file.create->length};
  } else {
    for (const Record* record : file.perhaps) {
      if (record->op == Op::create) beginnings.insert(record->length);
    }
  }
  Linearizer<SizeModel> linearizer(model);
  bool too_hard = false;
  for (const uint64_t beginning : beginnings) {
    const Linear answer = linearizer.search(beginning);
    if (answer == Linear::yes) return "";
    too_hard = too_hard || answer == Linear::too_hard;
  }
  if (too_hard) return "sizes: too many orders to search\n" + file.tell();
  std::string text = "sizes: no order explains the answers. The furthest one ends with size " +
                     std::to_string(linearizer.deepest_state()) +
                     " and none of these can follow:\n";
  for (const size_t i : linearizer.stuck()) {
    text += "  " + model.step(i).record->to_string() + "\n";
  }
  return text + file.tell();
}

}  // namespace gd2fs::sim
