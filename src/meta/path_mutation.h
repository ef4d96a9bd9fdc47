// PathMutation: a mutation of what one path names. Finds the directory that the name is in, and
// expects nobody to change the name meanwhile.
#pragma once

#include "meta/keys.h"
#include "meta/namespace_core.h"
#include "meta/walk.h"

namespace gd2fs {

class PathMutation : public Mutation {
 public:
  Task<Status> resolve(MetaTransaction& walk) override {
    GD2FS_CO_ASSIGN(const auto directories, co_await walk_to_parent(walk, cluster_id(), path_));
    parent_ = directories.back();
    co_return Status();
  }
  void expect(std::vector<std::string>* keys) const override {
    keys->push_back(dentry_key(parent_, path_.last()));
  }

 protected:
  // `path` outlives it, and is its first argument.
  PathMutation(OperationCode operation, uint16_t cluster, const Path& path)
      : Mutation(operation, cluster), path_(path) {
    add_argument(path.text());
  }

  const Path& path_;
  uint64_t parent_ = 0;
};

}  // namespace gd2fs
