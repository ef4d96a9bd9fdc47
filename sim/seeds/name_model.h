// NameModel: a tree of names with the rules of the protocol, as a model for the Linearizer. Pure.
//
// A file or directory is known by its inode number where an answer told it; until then by the
// number of the record that made it (a `ghost`). The first answer that shows a ghost under a number
// binds it.
//
// A write makes its file if there is none, and makes another one when that goes away before any
// byte has moved. So a file may appear at any moment at a path that is being written; here it does
// when some answer needs it, later perhaps than the write's end, but not behind a removal that
// began after it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/seeds/history.h"
#include "sim/seeds/linearize.h"

namespace gd2fs::sim {

// One thing that happened to names, or was seen of them, at one moment.
struct NameStep {
  enum class Kind : uint8_t {
    create,       // a file that was not there
    open,         // a file, made if it was not there
    see,          // this path is `inode`
    see_nothing,  // a listing did not show it; or it answers `error`
    mkdir,
    rmdir,
    unlink,
    rename,
    see_directory,  // this path can be listed
  };
  Kind kind = Kind::see;
  Span span;
  std::string path;
  std::string other;
  int error = 0;         // the errno that was answered
  uint64_t inode = 0;    // as answered; 0: not told
  bool any_type = true;  // see: else `directory` was told
  bool directory = false;
  uint64_t record = 0;
  std::map<std::string, uint64_t> written;  // by path: when the last write of it ended
};

struct NameNode {
  bool directory = false;
  uint64_t inode = 0;  // 0: not known yet
  uint64_t ghost = 0;  // the record that made it
};

class NameModel {
 public:
  struct State {
    std::map<std::string, NameNode> tree;
    std::set<uint64_t> used;               // inode numbers that were ever given
    std::map<std::string, uint64_t> gone;  // by path: when its last removal began
    std::set<std::string> maybe;           // paths where a file may have come to with its directory
  };

  // `created`: numbers that creates were answered with, which no other file can have.
  NameModel(std::vector<NameStep> steps, std::set<uint64_t> created);

  size_t size() const { return steps_.size(); }
  Span span(size_t i) const { return steps_[i].span; }
  Fit fit(const State& state, size_t i, State* next) const;
  std::string key(const State& state) const;
  bool same(size_t i, size_t j) const {
    const NameStep& a = steps_[i];
    const NameStep& b = steps_[j];
    return a.span.optional && b.span.optional && a.span.end == b.span.end && a.kind == b.kind &&
           a.path == b.path && a.other == b.other;
  }
  const NameStep& step(size_t i) const { return steps_[i]; }

 private:
  using Tree = std::map<std::string, NameNode>;
  Fit fit_as_it_is(const State& state, const NameStep& step, State* next) const;
  Fit refuse(const NameStep& step, int error) const;
  Fit make(const State& state, const NameStep& step, bool directory, State* next) const;
  Fit open(const State& state, const NameStep& step, State* next) const;
  Fit see(const State& state, const NameStep& step, State* next) const;
  Fit remove(const State& state, const NameStep& step, State* next) const;
  Fit rename(const State& state, const NameStep& step, State* next) const;
  Fit appear(const State& state, const NameStep& step, State* next) const;
  static bool may_appear(const State& state, const NameStep& step, const std::string& path);
  static void move_tree(const NameStep& step, State* state);

  std::vector<NameStep> steps_;
  std::set<uint64_t> created_;
};

}  // namespace gd2fs::sim
