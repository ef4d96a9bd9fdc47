#include "sim/seeds/check_bytes.h"

#include <map>
#include <set>

#include "base/crc32c.h"
#include "sim/seeds/linearize.h"
#include "sim/seeds/pattern.h"

namespace gd2fs::sim {
namespace {

using client::Op;

// What happened to one chunk, or was seen of it. Cells are the runs between all boundaries that the
// requests have in the file, so that each is written and read as a whole.
struct ByteStep {
  enum class Kind : uint8_t { write, cut, read };
  Kind kind = Kind::read;
  Span span;
  size_t first = 0;  // cells, counted within the chunk
  size_t last = 0;
  std::vector<uint64_t> seen;  // read: per cell, the number of the write it shows; 0: zeros
  const Record* record = nullptr;
};

class ByteModel {
 public:
  using State = std::vector<uint64_t>;
  explicit ByteModel(std::vector<ByteStep> steps) : steps_(std::move(steps)) {
    std::ranges::stable_sort(steps_, {}, [](const ByteStep& step) { return step.span.begin; });
  }
  size_t size() const { return steps_.size(); }
  Span span(size_t i) const { return steps_[i].span; }
  bool same(size_t, size_t) const { return false; }
  const ByteStep& step(size_t i) const { return steps_[i]; }
  std::string key(const State& state) const {
    return {reinterpret_cast<const char*>(state.data()), state.size() * sizeof(uint64_t)};
  }
  Fit fit(const State& state, size_t i, State* next) const {
    const ByteStep& step = steps_[i];
    if (step.kind == ByteStep::Kind::read) {
      return std::equal(step.seen.begin(), step.seen.end(), state.begin() + step.first) ? Fit::same
                                                                                        : Fit::no;
    }
    if (next != nullptr) {
      *next = state;
      const uint64_t writer = step.kind == ByteStep::Kind::write ? step.record->number : 0;
      std::fill(next->begin() + step.first, next->begin() + step.last, writer);
    }
    return Fit::changes;
  }

 private:
  std::vector<ByteStep> steps_;
};

class FileBytes {
 public:
  FileBytes(const FileHistory& file, uint64_t chunk_bytes, const History& history)
      : file_(file), chunk_bytes_(chunk_bytes), history_(history) {
    find_cells();
  }

  std::string check() {
    std::string wrong = read_cells();
    if (!wrong.empty()) return wrong + file_.tell();
    for (uint64_t chunk = 0; chunk * chunk_bytes_ < cells_.back(); ++chunk) {
      wrong = check_chunk(chunk);
      if (!wrong.empty()) return wrong + file_.tell();
    }
    return "";
  }

 private:
  void find_cells() {
    std::set<uint64_t> edges = {0};
    uint64_t end = chunk_bytes_;
    const auto add = [&](const Record* record) {
      if (record->op == Op::read || record->op == Op::write) {
        edges.insert(record->offset);
        edges.insert(record->end_offset());
        if (record->op == Op::read) edges.insert(record->offset + record->value);
        end = std::max(end, record->end_offset());
      }
      if (record->op == Op::truncate) edges.insert(record->length);
    };
    for (const Record* record : file_.surely) add(record);
    for (const Record* record : file_.perhaps) add(record);
    end = align_up(end, chunk_bytes_);
    for (uint64_t at = 0; at <= end; at += chunk_bytes_) edges.insert(at);
    edges.erase(edges.upper_bound(end), edges.end());
    cells_.assign(edges.begin(), edges.end());
  }
  // The cell that begins at this offset; one past the last for the end or beyond.
  size_t cell_at(uint64_t offset) const {
    return static_cast<size_t>(std::ranges::lower_bound(cells_, offset) - cells_.begin());
  }

  // Who wrote the cell's bytes that the record has read? Younger writes first.
  bool author(const Record& read, size_t cell, uint64_t* number) const {
    const ConstBytes bytes =
        ConstBytes(read.bytes).subspan(cells_[cell] - read.offset, cells_[cell + 1] - cells_[cell]);
    if (all_zeros(bytes)) {
      *number = 0;
      return true;
    }
    for (const auto* list : {&file_.surely, &file_.perhaps}) {
      for (auto at = list->rbegin(); at != list->rend(); ++at) {
        const Record& write = **at;
        if (write.op != Op::write || write.begin > read.end) continue;
        if (write.offset > cells_[cell] || write.end_offset() < cells_[cell + 1]) continue;
        if (!is_pattern(write.number, cells_[cell], bytes)) continue;
        *number = write.number;
        return true;
      }
    }
    return false;
  }

  std::string read_cells() {
    for (const Record* record : file_.surely) {
      if (record->op != Op::read || record->value == 0) continue;
      std::vector<uint64_t>& seen = seen_[record];
      const size_t last = cell_at(record->offset + record->value);
      for (size_t cell = cell_at(record->offset); cell < last; ++cell) {
        uint64_t number = 0;
        if (!author(*record, cell, &number)) return wrong_bytes(*record, cell);
        seen.push_back(number);
      }
    }
    return "";
  }

  std::string wrong_bytes(const Record& read, size_t cell) const {
    const ConstBytes bytes =
        ConstBytes(read.bytes).subspan(cells_[cell] - read.offset, cells_[cell + 1] - cells_[cell]);
    std::string text = "bytes: [" + std::to_string(cells_[cell]) + ", " +
                       std::to_string(cells_[cell + 1]) + ") of\n  " + read.to_string() + "\n";
    for (const Record& record : history_.records()) {
      if (record.op != Op::write || !is_pattern(record.number, cells_[cell], bytes)) continue;
      return text + "are those of\n  " + record.to_string() + "\n";
    }
    const auto same = [](std::byte b) { return [b](std::byte other) { return b == other; }; };
    if (std::ranges::all_of(bytes, same(bytes[0]))) {
      return text + "are all " + std::to_string(static_cast<int>(bytes[0])) + "\n";
    }
    return text + "are of no write, or in part\n";
  }

  std::string check_chunk(uint64_t chunk) {
    const uint64_t begin = chunk * chunk_bytes_;
    const uint64_t end = begin + chunk_bytes_;
    const size_t base = cell_at(begin);
    std::vector<ByteStep> steps;
    std::map<uint64_t, uint64_t> shown;  // by write: the end of the first read that shows it
    for (const auto& [record, seen] : seen_) {
      const uint64_t from = std::max(record->offset, begin);
      const uint64_t to = std::min(record->offset + record->value, end);
      if (from >= to) continue;
      ByteStep step;
      step.span = {record->begin, record->end, false};
      step.first = cell_at(from) - base;
      const size_t skip = cell_at(from) - cell_at(record->offset);
      step.seen.assign(seen.begin() + skip, seen.begin() + skip + (cell_at(to) - cell_at(from)));
      step.record = record;
      for (const uint64_t number : step.seen) {
        const auto [at, first] = shown.emplace(number, record->end);
        if (!first) at->second = std::min(at->second, record->end);
      }
      steps.push_back(std::move(step));
    }
    for (const auto* list : {&file_.surely, &file_.perhaps}) {
      for (const Record* record : *list) add_change(*record, begin, end, shown, &steps);
    }
    return search(chunk, base, cell_at(end) - base, std::move(steps));
  }

  void add_change(const Record& record, uint64_t begin, uint64_t end,
                  const std::map<uint64_t, uint64_t>& shown, std::vector<ByteStep>* steps) const {
    const bool known = record.outcome == Outcome::ok;
    const size_t base = cell_at(begin);
    ByteStep step;
    step.record = &record;
    step.span = {record.begin, record.may_go_on() ? kNever : record.end, !known};
    if (record.op == Op::truncate) {
      if (record.length >= end) return;
      step.kind = ByteStep::Kind::cut;
      step.first = cell_at(std::max(record.length, begin)) - base;
      step.last = cell_at(end) - base;
    } else if (record.op == Op::write) {
      const uint64_t from = std::max(record.offset, begin);
      const uint64_t to = std::min(record.end_offset(), end);
      if (from >= to) return;
      step.kind = ByteStep::Kind::write;
      step.first = cell_at(from) - base;
      step.last = cell_at(to) - base;
      if (!known) {
        // One that no read shows need not have happened; the others did, before they were seen.
        const auto seen = shown.find(record.number);
        if (seen == shown.end()) return;
        step.span = {record.begin, seen->second, false};
      }
    } else {
      return;
    }
    steps->push_back(std::move(step));
  }

  std::string search(uint64_t chunk, size_t base, size_t cells, std::vector<ByteStep> steps) const {
    const ByteModel model(std::move(steps));
    Linearizer<ByteModel> linearizer(model);
    const Linear answer = linearizer.search(ByteModel::State(cells, 0));
    if (answer == Linear::yes) return "";
    std::string text = "chunk " + std::to_string(chunk) + ": ";
    if (answer == Linear::too_hard) return text + "too many orders to search\n";
    text += "no order explains what was read. The furthest one ends with\n";
    const auto& state = linearizer.deepest_state();
    for (size_t i = 0; i < state.size();) {
      const size_t from = i;
      while (i < state.size() && state[i] == state[from]) ++i;
      text += "  [" + std::to_string(cells_[base + from]) + ", " +
              std::to_string(cells_[base + i]) + ") #" + std::to_string(state[from]) + "\n";
    }
    text += "and none of these can follow:\n";
    for (const size_t i : linearizer.stuck()) text += "  " + tell(model.step(i), base) + "\n";
    return text;
  }

  std::string tell(const ByteStep& step, size_t base) const {
    std::string text = step.record->to_string();
    for (size_t i = 0; i < step.seen.size();) {
      const size_t from = i;
      while (i < step.seen.size() && step.seen[i] == step.seen[from]) ++i;
      text += "\n      [" + std::to_string(cells_[base + step.first + from]) + ", " +
              std::to_string(cells_[base + step.first + i]) + ") #" +
              std::to_string(step.seen[from]);
    }
    return text;
  }

  const FileHistory& file_;
  const uint64_t chunk_bytes_;
  const History& history_;
  std::vector<uint64_t> cells_;  // their edges; the last one is the end
  std::map<const Record*, std::vector<uint64_t>> seen_;
};

}  // namespace

std::string check_bytes(const FileHistory& file, uint64_t chunk_bytes, const History& history) {
  return FileBytes(file, chunk_bytes, history).check();
}

std::string check_buffers(const History& history) {
  if (!history.finding().empty()) return history.finding();
  for (const Record& record : history.records()) {
    if (record.op != Op::read || record.outcome == Outcome::open) continue;
    if (crc32c(record.bytes) != record.bytes_crc) {
      return "bytes came into the memory of a request that had ended:\n  " + record.to_string();
    }
  }
  return "";
}

}  // namespace gd2fs::sim
