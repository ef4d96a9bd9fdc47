// SimNames: the folders and names of a simulated drive. A change is visible at once and durable
// after sync_dir() of the folders it touched; a crash keeps or loses each other change, but never
// keeps one while losing an earlier one of the same name. One thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "sim/sim_inode.h"

namespace gd2fs {

class SimNames {
 public:
  // Shared: an inode lives while a name, a change that a crash may undo, or an open file shows it.
  using File = std::shared_ptr<SimInode>;

  // not_found; invalid for a folder.
  Result<File> find(std::string_view name) const;
  bool exists(std::string_view name) const { return now_.contains(name); }
  bool is_dir(std::string_view name) const;  // "" is
  Status create(std::string_view name, File file);
  Status make_dir(std::string_view name);
  Status remove(std::string_view name);
  Status rename(std::string_view from, std::string_view to);
  Status sync_dir(std::string_view dir);
  Result<std::vector<std::string>> list(std::string_view dir) const;
  void crash(Random& random, const SimCrash& fate);

  template <class Visit>
  void visit_files(Visit visit) {
    for (auto& [name, file] : now_) {
      if (file != nullptr) visit(*file);
    }
  }

 private:
  using Tree = std::map<std::string, File, std::less<>>;  // nullptr = a folder
  struct Change {
    std::string to;    // gets `file` (a folder if `folder`), or goes away
    std::string from;  // goes away; "" = none
    File file;
    bool folder = false;
    bool to_durable = false;
    bool from_durable = false;
    bool durable() const { return to_durable && (from.empty() || from_durable); }
  };
  // not_found, or invalid if a file stands where a folder should, as real file systems answer.
  Status need_dir(std::string_view name) const;
  void record(Change change);
  static void apply(Tree& tree, const Change& change);

  Tree now_;
  Tree durable_;
  std::vector<Change> changes_;  // not all durable, in order
};

}  // namespace gd2fs
