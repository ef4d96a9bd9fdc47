#include "sim/seeds/name_model.h"

#include <cerrno>

namespace gd2fs::sim {
namespace {

using Tree = std::map<std::string, NameNode>;

const NameNode* find(const Tree& tree, const std::string& path) {
  const auto found = tree.find(path);
  return found == tree.end() ? nullptr : &found->second;
}

// The first folder on the way that is missing or a file decides.
int check_parents(const Tree& tree, const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const NameNode* node = find(tree, path.substr(0, at));
    if (node == nullptr) return ENOENT;
    if (!node->directory) return ENOTDIR;
  }
  return 0;
}

bool is_empty(const Tree& tree, const std::string& path) {
  const auto next = tree.upper_bound(path + "/");
  return next == tree.end() || !next->first.starts_with(path + "/");
}

int rename_error(const Tree& tree, const std::string& from, const std::string& to) {
  if (const int error = check_parents(tree, from); error != 0) return error;
  if (const int error = check_parents(tree, to); error != 0) return error;
  const NameNode* moved = find(tree, from);
  if (moved == nullptr) return ENOENT;
  if (from == to) return 0;
  if (to.starts_with(from + "/")) return EINVAL;
  const NameNode* replaced = find(tree, to);
  if (replaced == nullptr) return 0;
  if (!moved->directory && replaced->directory) return EISDIR;
  if (moved->directory && !replaced->directory) return ENOTDIR;
  return replaced->directory && !is_empty(tree, to) ? ENOTEMPTY : 0;
}

}  // namespace

NameModel::NameModel(std::vector<NameStep> steps, std::set<uint64_t> created)
    : steps_(std::move(steps)), created_(std::move(created)) {
  std::ranges::stable_sort(steps_, {}, [](const NameStep& step) { return step.span.begin; });
}

std::string NameModel::key(const State& state) const {
  std::string out;
  for (const auto& [path, node] : state.tree) {
    out += path;
    out += node.directory ? 'd' : 'f';
    // One ghost is as good as another: each may turn out to be any file not told of yet.
    out += node.inode != 0 ? std::to_string(node.inode) : "g";
    out += ' ';
  }
  for (const auto& [path, when] : state.gone) {
    if (!state.tree.contains(path)) out += path + '-' + std::to_string(when);
  }
  for (const std::string& path : state.maybe) out += path + '?';
  return out;
}

Fit NameModel::refuse(const NameStep& step, int error) const {
  return step.error == error && !step.span.optional ? Fit::same : Fit::no;
}

Fit NameModel::fit(const State& state, size_t i, State* next) const {
  const NameStep& step = steps_[i];
  const Fit fits = fit_as_it_is(state, step, next);
  if (fits != Fit::no || (step.span.optional && step.kind != NameStep::Kind::rename)) return fits;
  return appear(state, step, next);
}

bool NameModel::may_appear(const State& state, const NameStep& step, const std::string& path) {
  if (state.tree.contains(path) || check_parents(state.tree, path) != 0) return false;
  if (state.maybe.contains(path)) return true;
  const auto written = step.written.find(path);
  if (written == step.written.end()) return false;
  const auto gone = state.gone.find(path);
  return gone == state.gone.end() || written->second > gone->second;
}

// Once more, with a file that a write has made.
Fit NameModel::appear(const State& state, const NameStep& step, State* next) const {
  std::set<std::string> paths = state.maybe;
  for (const auto& [path, end] : step.written) paths.insert(path);
  for (const std::string& path : paths) {
    const bool near = path == step.path || path == step.other ||
                      path.starts_with(step.path + "/") || path.starts_with(step.other + "/");
    if (!near || !may_appear(state, step, path)) continue;
    State with = state;
    with.tree[path] = {false, 0, step.record};
    with.maybe.erase(path);
    State after;
    const Fit fits = fit_as_it_is(with, step, &after);
    if (fits == Fit::no) continue;
    // Which file keeps a directory from being empty, nobody has said.
    if (step.error == ENOTEMPTY) return Fit::same;
    if (next != nullptr) *next = fits == Fit::same ? std::move(with) : std::move(after);
    return Fit::changes;
  }
  return Fit::no;
}

Fit NameModel::fit_as_it_is(const State& state, const NameStep& step, State* next) const {
  switch (step.kind) {
    case NameStep::Kind::create:
      return make(state, step, false, next);
    case NameStep::Kind::mkdir:
      return make(state, step, true, next);
    case NameStep::Kind::open:
      return open(state, step, next);
    case NameStep::Kind::see:
    case NameStep::Kind::see_nothing:
    case NameStep::Kind::see_directory:
      return see(state, step, next);
    case NameStep::Kind::unlink:
    case NameStep::Kind::rmdir:
      return remove(state, step, next);
    case NameStep::Kind::rename:
      return rename(state, step, next);
  }
  return Fit::no;
}

Fit NameModel::make(const State& state, const NameStep& step, bool directory, State* next) const {
  int error = check_parents(state.tree, step.path);
  if (error == 0 && state.tree.contains(step.path)) error = EEXIST;
  if (error != 0) return refuse(step, error);
  if (step.error != 0) return Fit::no;
  if (step.inode != 0 && state.used.contains(step.inode)) return Fit::no;
  if (next != nullptr) {
    *next = state;
    next->tree[step.path] = {directory, step.inode, step.record};
    if (step.inode != 0) next->used.insert(step.inode);
  }
  return Fit::changes;
}

Fit NameModel::open(const State& state, const NameStep& step, State* next) const {
  if (check_parents(state.tree, step.path) != 0) return Fit::no;
  if (state.tree.contains(step.path)) return step.span.optional ? Fit::no : see(state, step, next);
  // The number may not be one that was told to a create, or of a file that is gone.
  if (step.inode != 0 && (created_.contains(step.inode) || state.used.contains(step.inode))) {
    return Fit::no;
  }
  return make(state, step, false, next);
}

Fit NameModel::see(const State& state, const NameStep& step, State* next) const {
  int error = check_parents(state.tree, step.path);
  const NameNode* node = error == 0 ? find(state.tree, step.path) : nullptr;
  const bool root = step.path == "/";
  if (error == 0 && node == nullptr && !root) error = ENOENT;
  const bool directory = root || (node != nullptr && node->directory);
  if (step.kind == NameStep::Kind::see_nothing) {
    // What only works on files says that it met a directory, and the other way round.
    if (error == 0 && directory) error = EISDIR;
    return step.error == error ? Fit::same : Fit::no;
  }
  if (step.kind == NameStep::Kind::see_directory) {
    if (error == 0 && !directory) error = ENOTDIR;
    return step.error == error ? Fit::same : Fit::no;
  }
  if (error != step.error) return Fit::no;
  if (error != 0 || root) return Fit::same;
  if (!step.any_type && directory != step.directory) return Fit::no;
  if (step.inode == 0 || node->inode == step.inode) return Fit::same;
  if (node->inode != 0 || created_.contains(step.inode) || state.used.contains(step.inode)) {
    return Fit::no;
  }
  if (next != nullptr) {
    *next = state;
    next->tree[step.path].inode = step.inode;
    next->used.insert(step.inode);
  }
  return Fit::changes;
}

Fit NameModel::remove(const State& state, const NameStep& step, State* next) const {
  int error = check_parents(state.tree, step.path);
  const NameNode* node = error == 0 ? find(state.tree, step.path) : nullptr;
  if (error == 0 && node == nullptr) error = ENOENT;
  const bool directory = step.kind == NameStep::Kind::rmdir;
  if (error == 0 && node->directory != directory) error = directory ? ENOTDIR : EISDIR;
  if (error == 0 && directory && !is_empty(state.tree, step.path)) error = ENOTEMPTY;
  if (error != 0) return refuse(step, error);
  if (step.error != 0) return Fit::no;
  if (next != nullptr) {
    *next = state;
    next->tree.erase(step.path);
    next->maybe.erase(step.path);
    next->gone[step.path] = step.span.begin;
  }
  return Fit::changes;
}

Fit NameModel::rename(const State& state, const NameStep& step, State* next) const {
  const int error = rename_error(state.tree, step.path, step.other);
  if (error != 0) return refuse(step, error);
  if (step.error != 0) return Fit::no;
  if (step.path == step.other) return Fit::same;
  if (next != nullptr) {
    *next = state;
    move_tree(step, next);
  }
  return Fit::changes;
}

void NameModel::move_tree(const NameStep& step, State* state) {
  const auto inside = [&](const std::string& path) { return path.starts_with(step.path + "/"); };
  const auto moved = [&](const std::string& path) {
    return step.other + path.substr(step.path.size());
  };
  std::set<std::string> maybe;
  for (const auto& [path, end] : step.written) {
    if (inside(path) && may_appear(*state, step, path)) maybe.insert(moved(path));
  }
  for (const std::string& path : state->maybe) maybe.insert(inside(path) ? moved(path) : path);
  state->maybe = std::move(maybe);
  Tree moving;
  for (auto at = state->tree.begin(); at != state->tree.end();) {
    if (at->first == step.path || inside(at->first)) {
      moving[moved(at->first)] = at->second;
      state->gone[at->first] = step.span.begin;
      at = state->tree.erase(at);
    } else {
      ++at;
    }
  }
  for (auto& [path, node] : moving) state->tree[path] = node;
}

}  // namespace gd2fs::sim
