// The fixture of the namespace's tests: a namespace with one cluster, over every engine, driven to
// the end of each call.
#pragma once

#include <cerrno>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "meta/namespace.h"
#include "meta/test_engines.h"

namespace gd2fs {

class NamespaceTest : public testing::TestWithParam<TestEngine> {
 protected:
  static constexpr uint64_t kMe = 0x1111;

  NamespaceTest() : box_(make_test_store(GetParam(), 1)) {
    names_ = wait(Namespace::open(box_->loop(), box_->store())).value();
    cluster_ = make_cluster("c0");
  }

  template <class T>
  T wait(Task<T> task) {
    return finish(box_->loop(), std::move(task));
  }
  Namespace& names() { return *names_; }
  MetaStore& store() { return box_->store(); }
  MutationTag tag(uint64_t incarnation = kMe) {
    ++sequence_;
    return {.incarnation = incarnation, .sequence = sequence_, .low = sequence_};
  }
  uint16_t make_cluster(std::string name, ClusterPolicy policy = {}) {
    return wait(names().create_cluster(std::move(name), policy, "secret", tag())).value().id;
  }

  // Answers errno, 0 for ok. Mutations are finished at once, as if every server had answered.
  template <class T>
  static int errno_of(const Result<T>& result) {
    return result ? 0 : result.error().errno_value();
  }
  int end(const Result<Mutated>& result) {
    if (!result) return result.error().errno_value();
    EXPECT_TRUE(wait(names().finish_intents(result->intents)).ok());
    return 0;
  }
  int create(std::string path, uint64_t size_bytes = 0) {
    return end(wait(names().create(cluster_, std::move(path), {.size_bytes = size_bytes}, tag())));
  }
  int mkdir(std::string path) { return end(wait(names().mkdir(cluster_, std::move(path), tag()))); }
  int rmdir(std::string path) { return end(wait(names().rmdir(cluster_, std::move(path), tag()))); }
  int unlink(std::string path) {
    return end(wait(names().unlink(cluster_, std::move(path), tag())));
  }
  int rename(std::string from, std::string to) {
    return end(wait(names().rename(cluster_, std::move(from), std::move(to), tag())));
  }
  int truncate(std::string path, uint64_t size_bytes) {
    return end(wait(names().truncate(cluster_, std::move(path), size_bytes, tag())));
  }
  Result<InodeInfo> lookup(std::string path) {
    return wait(names().lookup(cluster_, std::move(path)));
  }
  int lookup_errno(std::string path) { return errno_of(lookup(std::move(path))); }
  std::string list(std::string path) {
    auto page = wait(names().readdir(cluster_, std::move(path), "", 1000));
    if (!page) return page.error().to_string();
    std::string out;
    for (const DirectoryEntry& entry : page->entries) {
      out += entry.name + (entry.type == FileType::directory ? "/ " : " ");
    }
    return out;
  }
  ClusterUsage usage() { return wait(names().usage(cluster_)).value(); }
  std::vector<Intent> pending() { return wait(names().pending_intents({})).value(); }

  std::unique_ptr<TestStore> box_;
  std::unique_ptr<Namespace> names_;
  uint16_t cluster_ = 0;
  uint64_t sequence_ = 0;
};

#define GD2FS_OVER_ENGINES(suite)                                                 \
  INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::ValuesIn(all_test_engines()), \
                           [](const auto& info) { return test_engine_name(info.param); })

}  // namespace gd2fs
