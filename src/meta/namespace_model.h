// NamespaceModel: what the names below one directory must be, as a plain map, with the answers that
// each operation must give. The simulation compares a namespace with it. For tests.
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace gd2fs {

struct ModelNode {
  bool directory = false;
  uint64_t size_bytes = 0;
  friend bool operator==(const ModelNode&, const ModelNode&) = default;
};

struct ModelOp {
  enum class Kind : uint8_t { create, open, mkdir, rmdir, unlink, rename, truncate, grow };
  Kind kind = Kind::create;
  std::string path;
  std::string to;           // rename
  uint64_t size_bytes = 0;  // create, truncate, grow
};

class NamespaceModel {
 public:
  using Tree = std::map<std::string, ModelNode>;
  explicit NamespaceModel(std::string top) { tree_[std::move(top)] = {.directory = true}; }

  const Tree& tree() const { return tree_; }

  // The errno that the operation must answer; 0: it succeeds and the model changes.
  int apply(const ModelOp& op) {
    switch (op.kind) {
      case ModelOp::Kind::create:
        return make(op, {.directory = false, .size_bytes = op.size_bytes});
      case ModelOp::Kind::open:
        return open(op);
      case ModelOp::Kind::mkdir:
        return make(op, {.directory = true});
      case ModelOp::Kind::rmdir:
        return remove_directory(op.path);
      case ModelOp::Kind::unlink:
        return unlink(op.path);
      case ModelOp::Kind::rename:
        return rename(op.path, op.to);
      case ModelOp::Kind::truncate:
      case ModelOp::Kind::grow:
        return resize(op);
    }
    return EINVAL;
  }

 private:
  static std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
  const ModelNode* find(const std::string& path) const {
    const auto found = tree_.find(path);
    return found == tree_.end() ? nullptr : &found->second;
  }
  // The first component that is missing or no directory decides.
  int check_parents(const std::string& path) const {
    for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      const ModelNode* node = find(path.substr(0, at));
      if (node == nullptr) return ENOENT;
      if (!node->directory) return ENOTDIR;
    }
    return 0;
  }
  bool is_empty(const std::string& path) const {
    const auto next = tree_.upper_bound(path + "/");
    return next == tree_.end() || !next->first.starts_with(path + "/");
  }

  int make(const ModelOp& op, ModelNode node) {
    if (const int error = check_parents(op.path); error != 0) return error;
    return tree_.emplace(op.path, node).second ? 0 : EEXIST;
  }
  int open(const ModelOp& op) {
    if (const int error = check_parents(op.path); error != 0) return error;
    const auto [at, made] = tree_.emplace(op.path, ModelNode());
    return at->second.directory ? EISDIR : 0;
  }
  int remove_directory(const std::string& path) {
    if (const int error = check_parents(path); error != 0) return error;
    const ModelNode* node = find(path);
    if (node == nullptr) return ENOENT;
    if (!node->directory) return ENOTDIR;
    if (!is_empty(path)) return ENOTEMPTY;
    tree_.erase(path);
    return 0;
  }
  int unlink(const std::string& path) {
    if (const int error = check_parents(path); error != 0) return error;
    const ModelNode* node = find(path);
    if (node == nullptr) return ENOENT;
    if (node->directory) return EISDIR;
    tree_.erase(path);
    return 0;
  }
  int resize(const ModelOp& op) {
    if (const int error = check_parents(op.path); error != 0) return error;
    const auto found = tree_.find(op.path);
    if (found == tree_.end()) return ENOENT;
    if (found->second.directory) return EISDIR;
    uint64_t& size_bytes = found->second.size_bytes;
    const bool grows = op.kind == ModelOp::Kind::truncate || op.size_bytes > size_bytes;
    if (grows) size_bytes = op.size_bytes;
    return 0;
  }
  int rename(const std::string& from, const std::string& to) {
    if (const int error = check_parents(from); error != 0) return error;
    if (const int error = check_parents(to); error != 0) return error;
    const ModelNode* moved = find(from);
    if (moved == nullptr) return ENOENT;
    if (from == to) return 0;
    if (to.starts_with(from + "/")) return EINVAL;
    if (const ModelNode* replaced = find(to); replaced != nullptr) {
      if (!moved->directory && replaced->directory) return EISDIR;
      if (moved->directory && !replaced->directory) return ENOTDIR;
      if (replaced->directory && !is_empty(to)) return ENOTEMPTY;
    }
    Tree moving;
    for (auto at = tree_.begin(); at != tree_.end();) {
      if (at->first == from || at->first.starts_with(from + "/")) {
        moving[to + at->first.substr(from.size())] = at->second;
        at = tree_.erase(at);
      } else {
        ++at;
      }
    }
    for (auto& [path, node] : moving) tree_[path] = node;
    return 0;
  }

  Tree tree_;
};

}  // namespace gd2fs
