#include "sim/seeds/file_history.h"

#include <algorithm>
#include <set>

namespace gd2fs::sim {
namespace {

using client::Op;

// Which inodes were at which paths, at some time.
class Places {
 public:
  explicit Places(const History& history) {
    for (const Record& record : history.records()) {
      if (record.op == Op::rename && record.outcome != Outcome::refused) {
        renames_.push_back({record.path, record.other});
      }
      if (record.outcome != Outcome::ok) continue;
      if (record.facts.type == FileType::directory) directories_.insert(record.facts.inode);
      if (record.facts.inode != 0) note(record.path, record.facts.inode);
      const std::string prefix = record.path == "/" ? "/" : record.path + "/";
      for (const auto& entry : record.entries) {
        if (entry.type == FileType::directory) directories_.insert(entry.inode);
        note(prefix + entry.name, entry.inode);
      }
    }
    while (!fresh_.empty()) {
      const auto [path, inode] = fresh_.back();
      fresh_.pop_back();
      for (const auto& [from, to] : renames_) {
        carry(path, inode, from, to);
        carry(path, inode, to, from);
      }
    }
  }
  bool perhaps(const std::string& path, uint64_t inode) const {
    return places_.contains({path, inode});
  }
  bool is_directory(uint64_t inode) const { return directories_.contains(inode); }
  std::set<uint64_t> inodes() const {
    std::set<uint64_t> out;
    for (const auto& [path, inode] : places_) out.insert(inode);
    return out;
  }

 private:
  void note(const std::string& path, uint64_t inode) {
    if (places_.insert({path, inode}).second) fresh_.push_back({path, inode});
  }
  void carry(const std::string& path, uint64_t inode, const std::string& from,
             const std::string& to) {
    // Folders that are renamed into each other in turn have no end.
    if (std::ranges::count(path, '/') > kDepthMax) return;
    if (path == from || path.starts_with(from + "/")) note(to + path.substr(from.size()), inode);
  }

  static constexpr int kDepthMax = 5;
  std::set<std::pair<std::string, uint64_t>> places_;
  std::vector<std::pair<std::string, uint64_t>> fresh_;
  std::vector<std::pair<std::string, std::string>> renames_;
  std::set<uint64_t> directories_;
};

void add_known(const Record& record, FileHistory* file) {
  switch (record.op) {
    case Op::create:
      file->create = &record;
      break;
    case Op::read:
    case Op::write:
    case Op::truncate:
    case Op::stat:
      file->surely.push_back(&record);
      break;
    default:
      break;
  }
}

}  // namespace

std::map<uint64_t, FileHistory> file_histories(const History& history) {
  const Places places(history);
  std::map<uint64_t, FileHistory> files;
  for (const uint64_t inode : places.inodes()) {
    if (!places.is_directory(inode)) files[inode].inode = inode;
  }
  for (const Record& record : history.records()) {
    if (record.outcome == Outcome::ok) {
      const auto found = files.find(record.facts.inode);
      if (found != files.end()) add_known(record, &found->second);
      continue;
    }
    const bool changes =
        record.op == Op::write || record.op == Op::truncate || record.op == Op::create;
    if (!changes || record.outcome == Outcome::refused) continue;
    for (auto& [inode, file] : files) {
      if (places.perhaps(record.path, inode)) file.perhaps.push_back(&record);
    }
  }
  return files;
}

std::string FileHistory::tell() const {
  std::vector<const Record*> all = surely;
  all.insert(all.end(), perhaps.begin(), perhaps.end());
  if (create != nullptr) all.push_back(create);
  std::ranges::sort(all, {}, [](const Record* record) { return record->begin; });
  std::string text = "inode " + std::to_string(inode & 0xFFFFFFFFFFFF) + ":\n";
  for (const Record* record : all) text += "  " + record->to_string() + "\n";
  return text;
}

}  // namespace gd2fs::sim
