#include "sim/sim_names.h"

#include <set>

#include "disk/rules.h"

namespace gd2fs {

Result<SimNames::File> SimNames::find(std::string_view name) const {
  const auto found = now_.find(name);
  if (found == now_.end()) {
    GD2FS_TRY(need_dir(disk_name_dir(name)));
    return fail(StatusCode::not_found, name);
  }
  if (found->second == nullptr) return fail(Status(StatusCode::invalid, name).with("is a folder"));
  return found->second;
}

bool SimNames::is_dir(std::string_view name) const {
  if (name.empty()) return true;
  const auto found = now_.find(name);
  return found != now_.end() && found->second == nullptr;
}

Status SimNames::need_dir(std::string_view name) const {
  for (std::string_view at = name; !at.empty(); at = disk_name_dir(at)) {
    const auto found = now_.find(at);
    if (found == now_.end()) continue;
    if (found->second != nullptr) return Status(StatusCode::invalid, at).with("is no folder");
    break;
  }
  return is_dir(name) ? Status() : Status(StatusCode::not_found, name);
}

void SimNames::apply(Tree& tree, const Change& change) {
  if (!change.from.empty()) tree.erase(change.from);
  if (change.file != nullptr || change.folder) {
    tree.insert_or_assign(change.to, change.file);
  } else {
    tree.erase(change.to);
  }
}

void SimNames::record(Change change) {
  apply(now_, change);
  changes_.push_back(std::move(change));
}

Status SimNames::create(std::string_view name, File file) {
  if (now_.contains(name)) return Status(StatusCode::exists, name);
  GD2FS_TRY(need_dir(disk_name_dir(name)));
  record({.to = std::string(name), .file = std::move(file)});
  return {};
}

Status SimNames::make_dir(std::string_view name) {
  if (is_dir(name)) return {};
  if (now_.contains(name)) return Status(StatusCode::exists, name);
  GD2FS_TRY(need_dir(disk_name_dir(name)));
  record({.to = std::string(name), .folder = true});
  return {};
}

Status SimNames::remove(std::string_view name) {
  auto file = find(name);
  if (!file) return file.error();
  record({.to = std::string(name)});
  return {};
}

Status SimNames::rename(std::string_view from, std::string_view to) {
  GD2FS_ASSIGN(File file, find(from));
  GD2FS_TRY(need_dir(disk_name_dir(to)));
  if (is_dir(to)) return Status(StatusCode::invalid, to).with("is a folder");
  if (from == to) return {};
  record({.to = std::string(to), .from = std::string(from), .file = std::move(file)});
  return {};
}

Status SimNames::sync_dir(std::string_view dir) {
  GD2FS_TRY(need_dir(dir));
  for (Change& change : changes_) {
    if (disk_name_dir(change.to) == dir) change.to_durable = true;
    if (disk_name_dir(change.from) == dir) change.from_durable = true;
  }
  size_t done = 0;
  for (; done < changes_.size() && changes_[done].durable(); ++done) {
    apply(durable_, changes_[done]);
  }
  changes_.erase(changes_.begin(), changes_.begin() + static_cast<ptrdiff_t>(done));
  return {};
}

Result<std::vector<std::string>> SimNames::list(std::string_view dir) const {
  GD2FS_TRY(need_dir(dir));
  const std::string prefix = dir.empty() ? "" : std::string(dir) + "/";
  std::vector<std::string> names;
  for (auto it = now_.lower_bound(prefix); it != now_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    const std::string_view rest = std::string_view(it->first).substr(prefix.size());
    if (!rest.contains('/')) names.emplace_back(rest);
  }
  return names;
}

void SimNames::crash(Random& random, const SimCrash& fate) {
  std::set<std::string, std::less<>> lost;
  for (const Change& change : changes_) {
    const bool follows_lost = lost.contains(change.to) || lost.contains(change.from);
    if (change.durable() || (!follows_lost && random.chance(fate.keep_percent, 100))) {
      apply(durable_, change);
    } else {
      lost.insert(change.to);
      if (!change.from.empty()) lost.insert(change.from);
    }
  }
  changes_.clear();
  now_ = std::move(durable_);
  // What lay in a lost folder is lost; a folder sorts before its content.
  for (auto it = now_.begin(); it != now_.end();) {
    it = is_dir(disk_name_dir(it->first)) ? std::next(it) : now_.erase(it);
  }
  durable_ = now_;
}

}  // namespace gd2fs
