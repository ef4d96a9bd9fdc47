// Names: create, lookup, mkdir, rmdir, rename, readdir and their failures.
#include "meta/namespace.h"

#include <set>

#include "meta/namespace_fixture.h"

namespace gd2fs {
namespace {

class Names : public NamespaceTest {};

TEST_P(Names, a_created_file_is_found_with_what_it_was_created_with) {
  auto made = wait(names().create(cluster_, "/a", {.size_bytes = 100, .chunk_log2 = 16}, tag()));
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(made->intents.empty());
  EXPECT_EQ(cluster_of_inode(made->info.inode), cluster_);
  EXPECT_EQ(made->info.type, FileType::file);
  EXPECT_EQ(made->info.generation, 1u);
  EXPECT_EQ(made->info.size_bytes, 100u);
  EXPECT_EQ(made->info.reserved_bytes, 100u);
  EXPECT_EQ(made->info.chunk_log2, 16);
  EXPECT_EQ(made->info.mtime_us, box_->clock().wall_us());
  EXPECT_EQ(lookup("/a").value(), made->info);
  EXPECT_EQ(wait(names().stat_inode(made->info.inode)).value(), made->info);
  EXPECT_EQ(wait(names().path_of(made->info.inode)).value(), "c0:/a");
}

TEST_P(Names, a_file_takes_the_clusters_chunk_size_unless_told_otherwise) {
  cluster_ = make_cluster("big", {.chunk_log2 = 26});
  EXPECT_EQ(create("/a"), 0);
  EXPECT_EQ(lookup("/a")->chunk_log2, 26);
  EXPECT_EQ(errno_of(wait(names().create(cluster_, "/b", {.chunk_log2 = 15}, tag()))), EINVAL);
  EXPECT_EQ(errno_of(wait(names().create(cluster_, "/b", {.chunk_log2 = 27}, tag()))), EINVAL);
}

TEST_P(Names, what_exists_is_not_created_again) {
  EXPECT_EQ(create("/a"), 0);
  EXPECT_EQ(create("/a"), EEXIST);
  EXPECT_EQ(mkdir("/a"), EEXIST);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(create("/d"), EEXIST);
  EXPECT_EQ(mkdir("/d"), EEXIST);
  EXPECT_EQ(mkdir("/"), EEXIST);
}

TEST_P(Names, directories_are_not_made_by_the_way_and_files_are_no_directories) {
  EXPECT_EQ(create("/d/a"), ENOENT);
  EXPECT_EQ(mkdir("/d/e"), ENOENT);
  EXPECT_EQ(create("/f"), 0);
  EXPECT_EQ(create("/f/a"), ENOTDIR);
  EXPECT_EQ(lookup_errno("/f/a"), ENOTDIR);
  EXPECT_EQ(lookup_errno("/f/a/b"), ENOTDIR);
  EXPECT_EQ(lookup_errno("/none"), ENOENT);
  EXPECT_EQ(lookup_errno("/none/a"), ENOENT);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(create("/d/a"), 0);
  EXPECT_EQ(lookup("/d")->type, FileType::directory);
  EXPECT_EQ(lookup("/")->type, FileType::directory);
}

TEST_P(Names, bad_paths_are_refused_before_anything_happens) {
  for (const char* path : {"", "a", "/a//b", "/a/", "/.", "/a/../b"}) {
    EXPECT_EQ(create(path), EINVAL) << path;
    EXPECT_EQ(lookup_errno(path), EINVAL) << path;
    EXPECT_EQ(unlink(path), EINVAL) << path;
    EXPECT_EQ(rename(path, "/x"), EINVAL) << path;
    EXPECT_EQ(rename("/x", path), EINVAL) << path;
    EXPECT_EQ(truncate(path, 0), EINVAL) << path;
  }
  EXPECT_EQ(create("/" + std::string(256, 'n')), ENAMETOOLONG);
  EXPECT_EQ(create("/" + std::string(255, 'n')), 0);
  EXPECT_EQ(mkdir("/d/"), 0);  // a directory may be written with a slash
  EXPECT_EQ(list("/d/"), "");
  EXPECT_EQ(rmdir("/d/"), 0);
}

TEST_P(Names, a_write_to_a_path_that_is_not_there_creates_it_once) {
  auto first = wait(names().lookup_or_create(cluster_, "/kv", {}, tag()));
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->created);
  auto second = wait(names().lookup_or_create(cluster_, "/kv", {}, tag()));
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(second->created);
  EXPECT_EQ(second->info, first->info);
  EXPECT_EQ(errno_of(wait(names().lookup_or_create(cluster_, "/no/kv", {}, tag()))), ENOENT);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(errno_of(wait(names().lookup_or_create(cluster_, "/d", {}, tag()))), EISDIR);
}

TEST_P(Names, unlink_and_rmdir_each_take_their_own_kind) {
  EXPECT_EQ(create("/f"), 0);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(unlink("/d"), EISDIR);
  EXPECT_EQ(rmdir("/f"), ENOTDIR);
  EXPECT_EQ(unlink("/"), EISDIR);
  EXPECT_EQ(rmdir("/"), EBUSY);
  EXPECT_EQ(unlink("/none"), ENOENT);
  EXPECT_EQ(rmdir("/none"), ENOENT);
  EXPECT_EQ(create("/d/f"), 0);
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
  EXPECT_EQ(unlink("/d/f"), 0);
  EXPECT_EQ(rmdir("/d"), 0);
  EXPECT_EQ(unlink("/f"), 0);
  EXPECT_EQ(lookup_errno("/f"), ENOENT);
  EXPECT_EQ(lookup_errno("/d"), ENOENT);
  EXPECT_EQ(list("/"), "");
}

TEST_P(Names, an_inode_number_is_never_used_again) {
  std::set<uint64_t> seen;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(create("/f"), 0);
      EXPECT_TRUE(seen.insert(lookup("/f")->inode).second);
      ASSERT_EQ(unlink("/f"), 0);
    }
    names_ = wait(Namespace::open(box_->loop(), store())).value();  // as after a restart
  }
}

TEST_P(Names, the_end_of_the_inodes_is_between_those_made_and_those_to_come) {
  ASSERT_EQ(create("/before"), 0);
  const std::vector<uint64_t> ends = wait(names().inode_ends()).value();
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(cluster_of_inode(ends[0]), cluster_);
  EXPECT_LT(lookup("/before")->inode, ends[0]);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(create("/after" + std::to_string(i)), 0);
    EXPECT_GE(lookup("/after" + std::to_string(i))->inode, ends[0]);
    names_ = wait(Namespace::open(box_->loop(), store())).value();
  }
}

TEST_P(Names, readdir_pages_through_in_byte_order) {
  EXPECT_EQ(mkdir("/d"), 0);
  for (const char* name : {"b", "a", "c", "ab", "\xc3\xa9"}) {
    EXPECT_EQ(create(std::string("/d/") + name, 7), 0);
  }
  EXPECT_EQ(mkdir("/d/sub"), 0);
  EXPECT_EQ(create("/d/sub/deeper"), 0);
  EXPECT_EQ(create("/e"), 0);
  EXPECT_EQ(list("/d"), "a ab b c sub/ \xc3\xa9 ");
  EXPECT_EQ(list("/"), "d/ e ");
  auto page = wait(names().readdir(cluster_, "/d", "", 2)).value();
  ASSERT_EQ(page.entries.size(), 2u);
  EXPECT_TRUE(page.more);
  EXPECT_EQ(page.entries[1].name, "ab");
  EXPECT_EQ(page.entries[1].size_bytes, 7u);
  EXPECT_EQ(page.entries[1].inode, lookup("/d/ab")->inode);
  page = wait(names().readdir(cluster_, "/d", "ab", 4)).value();
  ASSERT_EQ(page.entries.size(), 4u);
  EXPECT_FALSE(page.more);
  EXPECT_EQ(page.entries[0].name, "b");
  EXPECT_EQ(errno_of(wait(names().readdir(cluster_, "/e", "", 10))), ENOTDIR);
  EXPECT_EQ(errno_of(wait(names().readdir(cluster_, "/none", "", 10))), ENOENT);
  EXPECT_EQ(errno_of(wait(names().readdir(cluster_, "/d", "", 0))), EINVAL);
  EXPECT_EQ(errno_of(wait(names().readdir(cluster_, "/d", "", 1001))), EINVAL);
}

TEST_P(Names, a_directory_of_many_pages_is_listed_whole) {
  constexpr int kFiles = 2500;
  for (int i = 0; i < kFiles; ++i) ASSERT_EQ(create("/f" + std::to_string(100000 + i)), 0);
  std::string after;
  int seen = 0;
  for (;;) {
    auto page = wait(names().readdir(cluster_, "/", after, 1000)).value();
    for (const DirectoryEntry& entry : page.entries) {
      EXPECT_EQ(entry.name, "f" + std::to_string(100000 + seen));
      ++seen;
    }
    if (!page.more) break;
    after = page.entries.back().name;
  }
  EXPECT_EQ(seen, kFiles);
}

TEST_P(Names, rename_moves_a_file_and_raises_its_generation) {
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(create("/a", 5), 0);
  const InodeInfo before = lookup("/a").value();
  auto renamed = wait(names().rename(cluster_, "/a", "/d/b", tag())).value();
  ASSERT_EQ(renamed.intents.size(), 1u);
  const Intent& intent = renamed.intents[0];
  EXPECT_EQ(intent.inode, before.inode);
  EXPECT_EQ(intent.generation, before.generation + 1);
  EXPECT_EQ(intent.keep_bytes, UINT64_MAX);
  EXPECT_FALSE(intent.unlinked);
  EXPECT_TRUE(wait(names().finish_intents(renamed.intents)).ok());
  EXPECT_EQ(lookup_errno("/a"), ENOENT);
  const InodeInfo after = lookup("/d/b").value();
  EXPECT_EQ(after.inode, before.inode);
  EXPECT_EQ(after.generation, before.generation + 1);
  EXPECT_EQ(after.size_bytes, 5u);
  EXPECT_EQ(wait(names().path_of(after.inode)).value(), "c0:/d/b");
}

TEST_P(Names, rename_replaces_a_file_atomically_and_drops_it_at_the_servers) {
  EXPECT_EQ(create("/a", 5), 0);
  EXPECT_EQ(create("/b", 7), 0);
  const InodeInfo a = lookup("/a").value();
  const InodeInfo b = lookup("/b").value();
  auto renamed = wait(names().rename(cluster_, "/a", "/b", tag())).value();
  ASSERT_EQ(renamed.intents.size(), 2u);
  for (const Intent& intent : renamed.intents) {
    const bool replaced = intent.inode == b.inode;
    EXPECT_EQ(intent.unlinked, replaced);
    EXPECT_EQ(intent.keep_bytes, replaced ? 0 : UINT64_MAX);
    EXPECT_EQ(intent.inode, replaced ? b.inode : a.inode);
  }
  EXPECT_TRUE(wait(names().finish_intents(renamed.intents)).ok());
  EXPECT_EQ(lookup("/b")->inode, a.inode);
  EXPECT_EQ(lookup_errno("/a"), ENOENT);
  EXPECT_EQ(errno_of(wait(names().stat_inode(b.inode))), ENOENT);
  EXPECT_EQ(usage(), (ClusterUsage{.files = 1, .size_bytes = 5, .reserved_bytes = 5}));
}

TEST_P(Names, rename_keeps_to_the_kinds_and_never_moves_a_directory_into_itself) {
  EXPECT_EQ(create("/f"), 0);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(mkdir("/d/e"), 0);
  EXPECT_EQ(mkdir("/empty"), 0);
  EXPECT_EQ(rename("/none", "/x"), ENOENT);
  EXPECT_EQ(rename("/f", "/none/x"), ENOENT);
  EXPECT_EQ(rename("/f", "/d"), EISDIR);
  EXPECT_EQ(rename("/d", "/f"), ENOTDIR);
  EXPECT_EQ(rename("/f", "/f/x"), ENOTDIR);
  EXPECT_EQ(rename("/d", "/d/x"), EINVAL);
  EXPECT_EQ(rename("/d", "/d/e/x"), EINVAL);
  EXPECT_EQ(rename("/d/e", "/d"), ENOTEMPTY);
  EXPECT_EQ(rename("/empty", "/d"), ENOTEMPTY);
  EXPECT_EQ(rename("/", "/x"), EBUSY);
  EXPECT_EQ(rename("/d", "/"), EBUSY);
  EXPECT_EQ(rename("/d", "/empty"), 0);
  EXPECT_EQ(list("/"), "empty/ f ");
  EXPECT_EQ(list("/empty"), "e/ ");
  EXPECT_EQ(usage().directories, 2u);
}

TEST_P(Names, renaming_to_the_same_name_changes_nothing) {
  EXPECT_EQ(create("/a"), 0);
  const InodeInfo before = lookup("/a").value();
  EXPECT_EQ(rename("/a", "/a"), 0);
  EXPECT_EQ(lookup("/a").value(), before);
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(rename("/d", "/d"), 0);
}

TEST_P(Names, a_directory_rename_moves_the_tree_and_raises_the_namespace_epoch) {
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(mkdir("/d/e"), 0);
  EXPECT_EQ(create("/d/e/f"), 0);
  const InodeInfo before = lookup("/d/e/f").value();
  auto renamed = wait(names().rename(cluster_, "/d", "/x", tag())).value();
  ASSERT_EQ(renamed.intents.size(), 1u);
  EXPECT_EQ(renamed.intents[0].namespace_epoch, before.namespace_epoch + 1);
  EXPECT_EQ(cluster_of_inode(renamed.intents[0].inode), cluster_);
  EXPECT_TRUE(wait(names().finish_intents(renamed.intents)).ok());
  EXPECT_EQ(lookup_errno("/d/e/f"), ENOENT);
  const InodeInfo after = lookup("/x/e/f").value();
  EXPECT_EQ(after.inode, before.inode);
  EXPECT_EQ(after.generation, before.generation);  // its own cached layout dies by the epoch
  EXPECT_EQ(after.namespace_epoch, before.namespace_epoch + 1);
  EXPECT_EQ(wait(names().path_of(after.inode)).value(), "c0:/x/e/f");
}

TEST_P(Names, usage_of_sums_a_tree_or_a_file) {
  EXPECT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(mkdir("/d/a"), 0);
  EXPECT_EQ(mkdir("/d/a/b"), 0);
  EXPECT_EQ(create("/d/1", 1), 0);
  EXPECT_EQ(create("/d/a/2", 20), 0);
  EXPECT_EQ(create("/d/a/b/3", 300), 0);
  EXPECT_EQ(create("/d/z", 4000), 0);
  EXPECT_EQ(create("/other", 9), 0);
  const auto of = [&](std::string path) {
    return wait(names().usage_of(cluster_, std::move(path))).value();
  };
  EXPECT_EQ(of("/d"), (ClusterUsage{4, 2, 4321, 4321}));
  EXPECT_EQ(of("/d/a/b"), (ClusterUsage{1, 0, 300, 300}));
  EXPECT_EQ(of("/other"), (ClusterUsage{1, 0, 9, 9}));
  EXPECT_EQ(of("/"), usage());
  for (int i = 0; i < 600; ++i) ASSERT_EQ(create("/d/a/f" + std::to_string(i), 1), 0);
  EXPECT_EQ(of("/"), usage());
}

TEST_P(Names, depth_is_bounded_by_the_path_only) {
  std::string path;
  for (int i = 0; i < 2000; ++i) {
    path += "/d";
    ASSERT_EQ(mkdir(path), 0);
  }
  EXPECT_EQ(create(path + "/f"), 0);
  EXPECT_EQ(lookup_errno(path + "/f"), 0);
  EXPECT_EQ(wait(names().usage_of(cluster_, "/")).value().directories, 2000u);
  EXPECT_EQ(unlink(path + "/f"), 0);
}

Task<void> create_into(Namespace* names, uint16_t cluster, std::string path, MutationTag tag,
                       std::vector<Result<Mutated>>* out) {
  out->push_back(co_await names->create(cluster, path, {}, tag));
}

TEST_P(Names, of_many_that_create_one_path_exactly_one_wins) {
  std::vector<Result<Mutated>> results;
  for (uint64_t i = 0; i < 40; ++i) {
    box_->loop().spawn(create_into(&names(), cluster_, "/race", tag(100 + i), &results));
  }
  while (box_->loop().run_ready() > 0) {
  }
  ASSERT_EQ(results.size(), 40u);
  int won = 0;
  for (const auto& result : results) {
    if (result) {
      ++won;
    } else {
      EXPECT_EQ(result.error().errno_value(), EEXIST);
    }
  }
  EXPECT_EQ(won, 1);
  EXPECT_EQ(usage().files, 1u);
}

GD2FS_OVER_ENGINES(Names);

}  // namespace
}  // namespace gd2fs
