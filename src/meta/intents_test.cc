// Sizes, generations, intents and what they hold.
#include "meta/namespace_fixture.h"

namespace gd2fs {
namespace {

class Sizes : public NamespaceTest {
 protected:
  Result<InodeInfo> reserve(const InodeInfo& file, uint64_t end) {
    return wait(names().reserve(file.inode, file.generation, end));
  }
  Result<InodeInfo> set_size(const InodeInfo& file, uint64_t end) {
    return wait(names().set_size(file.inode, file.generation, end));
  }
};

TEST_P(Sizes, a_size_and_a_reservation_only_grow) {
  ASSERT_EQ(create("/f"), 0);
  const InodeInfo file = lookup("/f").value();
  EXPECT_EQ(reserve(file, 1000)->reserved_bytes, 1000u);
  EXPECT_EQ(reserve(file, 10)->reserved_bytes, 1000u);
  EXPECT_EQ(lookup("/f")->size_bytes, 0u);  // nothing is visible before its bytes
  box_->clock().ns += kSecond;
  EXPECT_EQ(set_size(file, 700)->size_bytes, 700u);
  EXPECT_EQ(set_size(file, 600)->size_bytes, 700u);
  EXPECT_EQ(lookup("/f")->mtime_us, box_->clock().wall_us());
  EXPECT_EQ(usage(), (ClusterUsage{.files = 1, .size_bytes = 700, .reserved_bytes = 1000}));
  EXPECT_EQ(wait(names().release_reservation(file.inode, file.generation))->reserved_bytes, 700u);
  EXPECT_EQ(set_size(file, 900)->reserved_bytes, 900u);  // reserves if nobody has
  EXPECT_EQ(usage(), (ClusterUsage{.files = 1, .size_bytes = 900, .reserved_bytes = 900}));
}

TEST_P(Sizes, an_old_generation_and_an_unlinked_inode_are_stale) {
  ASSERT_EQ(create("/f"), 0);
  const InodeInfo file = lookup("/f").value();
  ASSERT_EQ(truncate("/f", 100), 0);
  EXPECT_EQ(errno_of(reserve(file, 1000)), ESTALE);
  EXPECT_EQ(errno_of(set_size(file, 1000)), ESTALE);
  const InodeInfo newer = lookup("/f").value();
  EXPECT_EQ(newer.generation, file.generation + 1);
  EXPECT_EQ(set_size(newer, 1000)->size_bytes, 1000u);
  ASSERT_EQ(rename("/f", "/g"), 0);
  EXPECT_EQ(errno_of(set_size(newer, 2000)), ESTALE);
  const InodeInfo last = lookup("/g").value();
  ASSERT_EQ(unlink("/g"), 0);
  EXPECT_EQ(errno_of(set_size(last, 2000)), ESTALE);
  EXPECT_EQ(errno_of(reserve(last, 2000)), ESTALE);
  InodeInfo never = last;
  never.inode += 1;
  EXPECT_EQ(errno_of(set_size(never, 1)), ESTALE);
}

TEST_P(Sizes, a_file_is_no_larger_than_its_chunk_numbers_reach) {
  auto made = wait(names().create(cluster_, "/f", {.chunk_log2 = 16}, tag()));
  const uint64_t max = uint64_t{1} << 48;
  EXPECT_EQ(errno_of(reserve(made->info, max + 1)), EFBIG);
  EXPECT_EQ(errno_of(set_size(made->info, max + 1)), EFBIG);
  EXPECT_EQ(truncate("/f", max + 1), EFBIG);
  EXPECT_EQ(truncate("/f", max), 0);
  EXPECT_EQ(create("/g", UINT64_MAX), EFBIG);
}

TEST_P(Sizes, truncate_says_what_the_servers_must_drop) {
  struct Case {
    uint64_t old_size, new_size, keep;
  };
  for (const Case& c : {Case{1000, 400, 400}, {1000, 0, 0}, {1000, 5000, 5000}, {0, 0, 0}}) {
    ASSERT_EQ(create("/f", c.old_size), 0);
    const InodeInfo before = lookup("/f").value();
    auto cut = wait(names().truncate(cluster_, "/f", c.new_size, tag())).value();
    ASSERT_EQ(cut.intents.size(), 1u);
    EXPECT_EQ(cut.intents[0], (Intent{.inode = before.inode,
                                      .generation = before.generation + 1,
                                      .keep_bytes = c.keep,
                                      .chunk_log2 = before.chunk_log2}));
    EXPECT_EQ(cut.info.size_bytes, c.new_size);
    EXPECT_TRUE(wait(names().finish_intents(cut.intents)).ok());
    EXPECT_EQ(lookup("/f")->size_bytes, c.new_size);
    EXPECT_EQ(lookup("/f")->reserved_bytes, c.new_size);
    ASSERT_EQ(unlink("/f"), 0);
  }
  EXPECT_EQ(truncate("/none", 0), ENOENT);
  ASSERT_EQ(mkdir("/d"), 0);
  EXPECT_EQ(truncate("/d", 0), EISDIR);
  EXPECT_EQ(truncate("/", 0), EISDIR);
}

class Holds : public Sizes {
 protected:
  // Everything that would tell of, or build on, what happened to the path.
  void expect_held(const std::string& path) {
    EXPECT_EQ(lookup_errno(path), EAGAIN) << path;
    EXPECT_EQ(create(path), EAGAIN) << path;
    EXPECT_EQ(errno_of(wait(names().lookup_or_create(cluster_, path, {}, tag()))), EAGAIN) << path;
    EXPECT_EQ(mkdir(path), EAGAIN) << path;
    EXPECT_EQ(rmdir(path), EAGAIN) << path;
    EXPECT_EQ(unlink(path), EAGAIN) << path;
    EXPECT_EQ(truncate(path, 7), EAGAIN) << path;
    EXPECT_EQ(rename(path, "/elsewhere"), EAGAIN) << path;
    ASSERT_EQ(create("/bystander"), 0);
    EXPECT_EQ(rename("/bystander", path), EAGAIN) << path;
    EXPECT_EQ(unlink("/bystander"), 0);
  }
};

TEST_P(Holds, an_unlinked_name_is_not_free_until_the_servers_know) {
  ASSERT_EQ(create("/f", 10), 0);
  const InodeInfo file = lookup("/f").value();
  auto gone = wait(names().unlink(cluster_, "/f", tag())).value();
  ASSERT_EQ(gone.intents.size(), 1u);
  EXPECT_EQ(gone.intents[0], (Intent{.inode = file.inode,
                                     .generation = file.generation + 1,
                                     .keep_bytes = 0,
                                     .chunk_log2 = file.chunk_log2,
                                     .unlinked = true}));
  expect_held("/f");
  EXPECT_EQ(list("/"), "f ");  // as it was
  EXPECT_EQ(usage().files, 0u);
  EXPECT_EQ(pending(), gone.intents);
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  EXPECT_TRUE(pending().empty());
  EXPECT_EQ(lookup_errno("/f"), ENOENT);
  EXPECT_EQ(create("/f"), 0);
  EXPECT_NE(lookup("/f")->inode, file.inode);
}

TEST_P(Holds, a_directory_is_neither_empty_nor_not_while_a_name_in_it_is_coming_or_going) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(create("/f"), 0);
  auto coming = wait(names().rename(cluster_, "/f", "/d/f", tag())).value();
  EXPECT_EQ(list("/d"), "");  // as it was
  EXPECT_EQ(rmdir("/d"), EAGAIN);
  ASSERT_EQ(mkdir("/e"), 0);
  EXPECT_EQ(rename("/e", "/d"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(coming.intents)).ok());
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
  EXPECT_EQ(rename("/e", "/d"), ENOTEMPTY);
  // What only changes is there all the while.
  auto cut = wait(names().truncate(cluster_, "/d/f", 7, tag())).value();
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
  ASSERT_TRUE(wait(names().finish_intents(cut.intents)).ok());
  auto going = wait(names().rename(cluster_, "/d/f", "/f", tag())).value();
  EXPECT_EQ(rmdir("/d"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(going.intents)).ok());
  EXPECT_EQ(rmdir("/d"), 0);
}

TEST_P(Holds, one_name_that_is_sure_is_enough_for_a_directory_not_to_be_empty) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(create("/f"), 0);
  ASSERT_EQ(create("/d/sure"), 0);
  auto coming = wait(names().rename(cluster_, "/f", "/d/coming", tag())).value();
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
  auto going = wait(names().rename(cluster_, "/d/sure", "/sure", tag())).value();
  EXPECT_EQ(rmdir("/d"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(going.intents)).ok());
  EXPECT_EQ(rmdir("/d"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(coming.intents)).ok());
  EXPECT_EQ(rmdir("/d"), ENOTEMPTY);
}

TEST_P(Holds, a_truncated_file_is_held_and_keeps_its_size_from_everyone) {
  ASSERT_EQ(create("/f", 10), 0);
  const InodeInfo file = lookup("/f").value();
  auto cut = wait(names().truncate(cluster_, "/f", 4, tag())).value();
  EXPECT_EQ(lookup_errno("/f"), EAGAIN);
  EXPECT_EQ(unlink("/f"), EAGAIN);
  EXPECT_EQ(truncate("/f", 3), EAGAIN);
  EXPECT_EQ(rename("/f", "/g"), EAGAIN);
  EXPECT_EQ(errno_of(wait(names().lookup_or_create(cluster_, "/f", {}, tag()))), EAGAIN);
  EXPECT_EQ(errno_of(set_size(file, 20)), ESTALE);
  EXPECT_EQ(errno_of(set_size(cut.info, 20)), EAGAIN);
  EXPECT_EQ(errno_of(reserve(cut.info, 20)), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(cut.intents)).ok());
  EXPECT_EQ(lookup("/f").value(), cut.info);
  EXPECT_EQ(set_size(cut.info, 20)->size_bytes, 20u);
}

TEST_P(Holds, a_renamed_files_both_names_are_held) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(create("/a"), 0);
  auto moved = wait(names().rename(cluster_, "/a", "/d/b", tag())).value();
  expect_held("/a");
  expect_held("/d/b");
  EXPECT_EQ(rmdir("/d"), EAGAIN);  // it is listed as empty, and will not be
  EXPECT_EQ(list("/"), "a d/ ");
  EXPECT_EQ(list("/d"), "");
  ASSERT_TRUE(wait(names().finish_intents(moved.intents)).ok());
  EXPECT_EQ(list("/"), "d/ ");
  EXPECT_EQ(list("/d"), "b ");
}

TEST_P(Holds, a_replaced_name_is_held_until_both_intents_are_settled) {
  ASSERT_EQ(create("/a", 1), 0);
  ASSERT_EQ(create("/b", 2), 0);
  int busy = 0;
  for (int first = 0; first < 2; ++first) {
    const uint64_t b = lookup("/b")->inode;
    auto moved = wait(names().rename(cluster_, "/a", "/b", tag())).value();
    ASSERT_EQ(moved.intents.size(), 2u);
    expect_held("/b");
    auto page = wait(names().readdir(cluster_, "/", "", 10)).value();
    ASSERT_EQ(page.entries.size(), 2u);
    EXPECT_EQ(page.entries[1].inode, b);  // still the replaced one
    const auto one = static_cast<size_t>(first);
    ASSERT_TRUE(wait(names().finish_intents({moved.intents[one]})).ok());
    expect_held("/b");
    // The name is listed as it was, or, once the replaced file is gone for good, nothing is.
    const auto between = wait(names().readdir(cluster_, "/", "", 10));
    if (between.has_value()) {
      ASSERT_EQ(between->entries.size(), 2u);
      EXPECT_EQ(between->entries[1].inode, b);
    } else {
      EXPECT_TRUE(between.error().is(StatusCode::busy)) << between.error().to_string();
      ++busy;
    }
    ASSERT_TRUE(wait(names().finish_intents({moved.intents[1 - one]})).ok());
    EXPECT_EQ(lookup("/b")->inode, moved.info.inode);
    EXPECT_EQ(list("/"), "b ");
    ASSERT_EQ(create("/a", 1), 0);
  }
  EXPECT_EQ(busy, 1);
}

TEST_P(Holds, a_directory_that_another_one_replaces_is_listed_all_the_time) {
  ASSERT_EQ(mkdir("/a"), 0);
  ASSERT_EQ(mkdir("/b"), 0);
  auto moved = wait(names().rename(cluster_, "/a", "/b", tag())).value();
  ASSERT_FALSE(moved.intents.empty());
  EXPECT_EQ(list("/"), "a/ b/ ");
  ASSERT_TRUE(wait(names().finish_intents(moved.intents)).ok());
  EXPECT_EQ(list("/"), "b/ ");
}

TEST_P(Holds, all_names_below_a_renamed_directory_are_held) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(mkdir("/d/e"), 0);
  ASSERT_EQ(create("/d/e/f"), 0);
  ASSERT_EQ(create("/other"), 0);
  auto moved = wait(names().rename(cluster_, "/d", "/x", tag())).value();
  for (const char* path : {"/d/e/f", "/x/e/f", "/d/new", "/x/new", "/d", "/x"}) {
    EXPECT_EQ(lookup_errno(path), EAGAIN) << path;
    EXPECT_EQ(create(path), EAGAIN) << path;
  }
  EXPECT_EQ(wait(names().readdir(cluster_, "/x", "", 9)).error().errno_value(), EAGAIN);
  EXPECT_EQ(lookup_errno("/other"), 0);
  EXPECT_EQ(create("/new"), 0);
  ASSERT_TRUE(wait(names().finish_intents(moved.intents)).ok());
  EXPECT_EQ(lookup_errno("/x/e/f"), 0);
  EXPECT_EQ(lookup_errno("/d/e/f"), ENOENT);
}

TEST_P(Holds, a_directory_whose_last_name_is_held_is_busy_not_empty) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(create("/d/f"), 0);
  auto gone = wait(names().unlink(cluster_, "/d/f", tag())).value();
  EXPECT_EQ(rmdir("/d"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  EXPECT_EQ(rmdir("/d"), 0);
}

TEST_P(Holds, a_settled_intent_frees_the_names_and_stays_owed) {
  ASSERT_EQ(create("/f", 10), 0);
  const uint64_t inode = lookup("/f")->inode;
  auto gone = wait(names().unlink(cluster_, "/f", tag())).value();
  ASSERT_TRUE(wait(names().settle_intents(gone.intents)).ok());
  ASSERT_TRUE(wait(names().settle_intents(gone.intents)).ok());  // idempotent
  EXPECT_EQ(lookup_errno("/f"), ENOENT);
  EXPECT_EQ(create("/f"), 0);
  ASSERT_EQ(pending().size(), 1u);
  EXPECT_TRUE(pending()[0].settled);
  EXPECT_EQ(pending()[0].inode, inode);
  EXPECT_EQ(errno_of(wait(names().stat_inode(inode))), ENOENT);
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  EXPECT_TRUE(pending().empty());
  EXPECT_EQ(lookup_errno("/f"), 0);
}

TEST_P(Holds, several_owed_intents_of_one_inode_end_in_any_order) {
  ASSERT_EQ(create("/f", 10), 0);
  std::vector<Intent> owed;
  for (uint64_t size : {8, 6}) {
    auto cut = wait(names().truncate(cluster_, "/f", size, tag())).value();
    ASSERT_TRUE(wait(names().settle_intents(cut.intents)).ok());
    owed.push_back(cut.intents[0]);
  }
  auto gone = wait(names().unlink(cluster_, "/f", tag())).value();
  owed.push_back(gone.intents[0]);
  EXPECT_LT(owed[0].generation, owed[1].generation);
  EXPECT_LT(owed[1].generation, owed[2].generation);
  ASSERT_EQ(pending().size(), 3u);  // in the order they must reach a server
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(pending()[i].generation, owed[i].generation);
  for (size_t i : {2, 0, 1}) ASSERT_TRUE(wait(names().finish_intents({owed[i]})).ok());
  EXPECT_TRUE(pending().empty());
  EXPECT_EQ(errno_of(wait(names().stat_inode(owed[0].inode))), ENOENT);
  EXPECT_EQ(list("/"), "");
}

TEST_P(Holds, they_outlive_a_restart_and_are_listed_page_by_page) {
  for (int i = 0; i < 250; ++i) ASSERT_EQ(create("/f" + std::to_string(i), 1), 0);
  for (int i = 0; i < 250; ++i) {
    ASSERT_TRUE(wait(names().unlink(cluster_, "/f" + std::to_string(i), tag())).has_value());
  }
  names_ = wait(Namespace::open(box_->loop(), store())).value();
  std::vector<Intent> all;
  for (;;) {
    auto page = wait(names().pending_intents(all.empty() ? Intent() : all.back())).value();
    if (page.empty()) break;
    EXPECT_LE(page.size(), Namespace::kIntentsPageMax);
    all.insert(all.end(), page.begin(), page.end());
  }
  EXPECT_EQ(all.size(), 250u);
  EXPECT_EQ(lookup_errno("/f0"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(all)).ok());
  EXPECT_EQ(list("/"), "");
}

Task<void> note_end(Task<void> task, bool* ended) {
  co_await task;
  *ended = true;
}

TEST_P(Holds, who_waits_for_a_settle_is_woken_by_it_or_by_time) {
  ASSERT_EQ(create("/f"), 0);
  auto gone = wait(names().unlink(cluster_, "/f", tag())).value();
  bool woken = false;
  box_->loop().spawn(note_end(names().wait_for_settle(kSecond), &woken));
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_FALSE(woken);
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_TRUE(woken);
  bool late = false;
  box_->loop().spawn(note_end(names().wait_for_settle(kSecond), &late));
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_FALSE(late);
  box_->clock().ns += 2 * kSecond;
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_TRUE(late);
}

GD2FS_OVER_ENGINES(Sizes);
GD2FS_OVER_ENGINES(Holds);

}  // namespace
}  // namespace gd2fs
