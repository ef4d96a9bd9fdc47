#include "sim/seeds/check_names.h"

#include <cerrno>
#include <map>

#include "sim/seeds/name_model.h"

namespace gd2fs::sim {
namespace {

using client::Op;
using Kind = NameStep::Kind;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

class Steps {
 public:
  explicit Steps(const History& history) {
    for (const Record& record : history.records()) {
      note_path(record.path);
      if (!record.other.empty()) note_path(record.other);
    }
    for (const Record& record : history.records()) add(record);
    for (NameStep& step : steps_) {
      for (const auto& [path, span] : writes_) {
        if (span.begin >= step.span.end) break;
        uint64_t& end = step.written[path];
        end = std::max(end, span.end);
      }
    }
  }
  std::vector<NameStep> take() { return std::move(steps_); }
  std::set<uint64_t> created;

 private:
  void note_path(const std::string& path) {
    if (path != "/") names_[parent_of(path)].insert(path);
  }

  void add(const Record& record) {
    NameStep step;
    step.record = record.number;
    step.path = record.path;
    step.other = record.other;
    step.span = {record.begin, record.end, false};
    if (record.outcome == Outcome::ok) step.inode = record.facts.inode;
    if (record.outcome == Outcome::refused) step.error = record.status.errno_value();
    const bool open = record.outcome == Outcome::open || record.outcome == Outcome::failed;
    if (open) step.span = {record.begin, record.may_go_on() ? kNever : record.end, true};
    switch (record.op) {
      case Op::create:
        step.kind = Kind::create;
        if (!open && step.inode != 0) created.insert(step.inode);
        break;
      case Op::write:
        step.kind = Kind::open;
        step.any_type = false;
        writes_.push_back({record.path, step.span});
        if (open) return;
        break;
      case Op::unlink:
      case Op::rmdir:
      case Op::mkdir:
        step.kind = record.op == Op::unlink  ? Kind::unlink
                    : record.op == Op::rmdir ? Kind::rmdir
                                             : Kind::mkdir;
        step.inode = 0;
        break;
      case Op::rename:
        step.kind = Kind::rename;
        step.inode = 0;
        break;
      case Op::read:
      case Op::view:
      case Op::truncate:
      case Op::stat:
        if (open) return;
        if (!see(record, &step)) return;
        break;
      case Op::readdir:
        if (!open) add_listing(record, std::move(step));
        return;
      case Op::setattr:
      case Op::advise:
      case Op::fsync:
        return;
    }
    steps_.push_back(std::move(step));
  }

  static bool see(const Record& record, NameStep* step) {
    step->kind = Kind::see;
    if (record.op == Op::stat) {
      step->any_type = record.outcome != Outcome::ok;
      step->directory = record.facts.type == FileType::directory;
      return true;
    }
    step->any_type = false;
    if (record.outcome == Outcome::refused) step->kind = Kind::see_nothing;
    return true;
  }

  // Each name on its own: a listing leaves out what goes away while it is made.
  void add_listing(const Record& record, NameStep step) {
    step.kind = Kind::see_directory;
    step.inode = 0;
    steps_.push_back(step);
    if (record.outcome != Outcome::ok) return;
    const std::string prefix = record.path == "/" ? "/" : record.path + "/";
    std::map<std::string, const client::DirectoryEntry*> listed;
    for (const auto& entry : record.entries) listed[prefix + entry.name] = &entry;
    std::set<std::string> paths = names_[record.path];
    for (const auto& [path, entry] : listed) paths.insert(path);
    for (const std::string& path : paths) {
      NameStep one = step;
      one.path = path;
      const auto found = listed.find(path);
      if (found == listed.end()) {
        one.kind = Kind::see_nothing;
        one.error = ENOENT;
      } else {
        one.kind = Kind::see;
        one.inode = found->second->inode;
        one.any_type = false;
        one.directory = found->second->type == FileType::directory;
      }
      steps_.push_back(std::move(one));
    }
  }

  std::vector<NameStep> steps_;
  std::vector<std::pair<std::string, Span>> writes_;
  std::map<std::string, std::set<std::string>> names_;  // all that were ever spoken of, by parent
};

std::string describe(const NameModel::State& state) {
  std::string text;
  for (const auto& [path, node] : state.tree) {
    text += "  " + path + (node.directory ? "/" : "");
    text += node.inode != 0 ? " inode " + std::to_string(node.inode & 0xFFFFFFFFFFFF)
                            : " made by #" + std::to_string(node.ghost);
    text += "\n";
  }
  return text.empty() ? "  (no names)\n" : text;
}

}  // namespace

std::string check_names(const History& history) {
  Steps steps(history);
  std::vector<NameStep> all = steps.take();
  const NameModel model(std::move(all), steps.created);
  Linearizer<NameModel> linearizer(model);
  const Linear answer = linearizer.search({});
  if (answer == Linear::yes) return "";
  std::string text = answer == Linear::too_hard
                         ? "names: too many orders to search. The furthest one ends with\n"
                         : "names: no order explains the answers. The furthest one ends with\n";
  text += describe(linearizer.deepest_state()) + "and none of these can follow:\n";
  for (const size_t i : linearizer.stuck()) {
    const NameStep& step = model.step(i);
    text += "  " + step.path + (step.span.optional ? " (may have happened): " : ": ");
    text += history.records()[step.record - 1].to_string() + "\n";
  }
  return text;
}

}  // namespace gd2fs::sim
