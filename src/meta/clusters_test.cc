// Clusters: names, policy, tokens, quota, usage.
#include "meta/namespace_fixture.h"
#include "meta/usage.h"

namespace gd2fs {
namespace {

class Clusters : public NamespaceTest {};

TEST_P(Clusters, a_created_cluster_is_found_by_name_and_id) {
  const ClusterPolicy policy{
      .chunk_log2 = 20, .quota_bytes = 1 << 30, .durability = Durability::memory};
  auto made = wait(names().create_cluster("deepseek-r1", policy, "token", tag())).value();
  EXPECT_EQ(made.name, "deepseek-r1");
  EXPECT_EQ(made.policy, policy);
  EXPECT_EQ(made.token, "token");
  EXPECT_EQ(made.previous_token, "");
  EXPECT_EQ(made.namespace_epoch, 1u);
  EXPECT_EQ(wait(names().find_cluster("deepseek-r1")).value(), made);
  EXPECT_EQ(wait(names().get_cluster(made.id)).value(), made);
  EXPECT_EQ(errno_of(wait(names().find_cluster("none"))), ENOENT);
  EXPECT_EQ(errno_of(wait(names().get_cluster(999))), ENOENT);
  EXPECT_EQ(errno_of(wait(names().lookup(999, "/"))), ENOENT);
  EXPECT_EQ(errno_of(wait(names().create_cluster("deepseek-r1", {}, "", tag()))), EEXIST);
}

TEST_P(Clusters, they_are_listed_by_name) {
  for (const char* name : {"zeta", "alpha", "Beta"}) make_cluster(name);
  std::string listed;
  const std::vector<Cluster> all = wait(names().list_clusters()).value();
  for (const Cluster& cluster : all) listed += cluster.name + " ";
  EXPECT_EQ(listed, "Beta alpha c0 zeta ");
}

TEST_P(Clusters, bad_names_policies_and_tokens_are_refused) {
  const auto attempt = [&](std::string name, ClusterPolicy policy, std::string token) {
    return errno_of(wait(names().create_cluster(name, policy, token, tag())));
  };
  EXPECT_EQ(attempt("", {}, ""), EINVAL);
  EXPECT_EQ(attempt("a b", {}, ""), EINVAL);
  EXPECT_EQ(attempt("ok", {.chunk_log2 = 15}, ""), EINVAL);
  EXPECT_EQ(attempt("ok", {.chunk_log2 = 27}, ""), EINVAL);
  EXPECT_EQ(attempt("ok", {.quota_bytes = UINT64_MAX}, ""), EINVAL);
  EXPECT_EQ(attempt("ok", {.durability = static_cast<Durability>(9)}, ""), EINVAL);
  EXPECT_EQ(attempt("ok", {}, std::string(129, 't')), EINVAL);
  EXPECT_EQ(attempt("ok", {}, std::string(128, 't')), 0);
}

TEST_P(Clusters, each_has_its_own_names_and_inodes) {
  const uint16_t other = make_cluster("other");
  ASSERT_EQ(create("/f", 5), 0);
  EXPECT_EQ(errno_of(wait(names().lookup(other, "/f"))), ENOENT);
  auto made = wait(names().create(other, "/f", {}, tag())).value();
  EXPECT_EQ(cluster_of_inode(made.info.inode), other);
  EXPECT_NE(made.info.inode, lookup("/f")->inode);
  EXPECT_EQ(wait(names().usage(other))->size_bytes, 0u);
  EXPECT_EQ(usage().size_bytes, 5u);
}

TEST_P(Clusters, only_an_empty_one_is_removed_and_its_id_never_comes_back) {
  ASSERT_EQ(create("/f"), 0);
  EXPECT_EQ(wait(names().remove_cluster("c0", tag())).errno_value(), ENOTEMPTY);
  auto gone = wait(names().unlink(cluster_, "/f", tag())).value();
  EXPECT_EQ(wait(names().remove_cluster("c0", tag())).errno_value(), EBUSY);  // held
  ASSERT_TRUE(wait(names().settle_intents(gone.intents)).ok());
  EXPECT_EQ(wait(names().remove_cluster("c0", tag())).errno_value(), EBUSY);  // owed to a server
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  EXPECT_TRUE(wait(names().remove_cluster("c0", tag())).ok());
  EXPECT_EQ(wait(names().remove_cluster("c0", tag())).errno_value(), ENOENT);
  EXPECT_EQ(lookup_errno("/"), ENOENT);
  EXPECT_EQ(create("/f"), ENOENT);
  EXPECT_EQ(errno_of(wait(names().usage(cluster_))), ENOENT);
  const uint16_t again = make_cluster("c0");
  EXPECT_NE(again, cluster_);
  EXPECT_EQ(wait(names().usage(again)).value(), ClusterUsage());
}

TEST_P(Clusters, a_rotated_token_leaves_the_one_before_it_good_until_it_is_dropped) {
  auto rotated = wait(names().rotate_token("c0", "second", tag())).value();
  EXPECT_EQ(rotated.token, "second");
  EXPECT_EQ(rotated.previous_token, "secret");
  const MutationTag third = tag();
  ASSERT_TRUE(wait(names().rotate_token("c0", "third", third)).has_value());
  // A retry draws another token; the first one's stays.
  auto retried = wait(names().rotate_token("c0", "fourth", third)).value();
  EXPECT_EQ(retried.token, "third");
  EXPECT_EQ(retried.previous_token, "second");
  EXPECT_TRUE(wait(names().drop_previous_token("c0", tag())).ok());
  EXPECT_EQ(wait(names().find_cluster("c0"))->previous_token, "");
  EXPECT_EQ(errno_of(wait(names().rotate_token("none", "x", tag()))), ENOENT);
}

TEST_P(Clusters, a_retried_create_answers_the_cluster_it_made) {
  const MutationTag t = tag();
  auto made = wait(names().create_cluster("x", {}, "one", t)).value();
  auto again = wait(names().create_cluster("x", {}, "two", t)).value();
  EXPECT_EQ(again, made);
}

class Quota : public NamespaceTest {
 protected:
  void set_quota(uint64_t bytes) {
    ASSERT_TRUE(wait(names().set_policy("c0", {.quota_bytes = bytes}, tag())).has_value());
  }
};

TEST_P(Quota, reserving_stops_exactly_at_the_quota) {
  set_quota(1000);
  ASSERT_EQ(create("/a"), 0);
  const InodeInfo a = lookup("/a").value();
  EXPECT_EQ(errno_of(wait(names().reserve(a.inode, a.generation, 1001))), EDQUOT);
  EXPECT_EQ(errno_of(wait(names().reserve(a.inode, a.generation, 1000))), 0);
  EXPECT_EQ(create("/b", 1), EDQUOT);
  EXPECT_EQ(create("/b"), 0);  // no bytes, no quota
  EXPECT_EQ(errno_of(wait(names().set_size(a.inode, a.generation, 1000))), 0);
  EXPECT_EQ(truncate("/b", 1), EDQUOT);
  EXPECT_EQ(truncate("/a", 400), 0);
  EXPECT_EQ(truncate("/b", 601), EDQUOT);
  EXPECT_EQ(truncate("/b", 600), 0);
  EXPECT_EQ(unlink("/a"), 0);
  EXPECT_EQ(create("/c", 401), EDQUOT);
  EXPECT_EQ(create("/c", 400), 0);
  EXPECT_EQ(usage().reserved_bytes, 1000u);
}

TEST_P(Quota, a_quota_below_what_is_used_lets_nothing_in_until_enough_is_gone) {
  for (int i = 0; i < 10; ++i) ASSERT_EQ(create("/f" + std::to_string(i), 100), 0);
  set_quota(500);
  EXPECT_EQ(create("/more", 1), EDQUOT);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(unlink("/f" + std::to_string(i)), 0);
  EXPECT_EQ(create("/more", 1), EDQUOT);
  ASSERT_EQ(unlink("/f5"), 0);
  EXPECT_EQ(create("/more", 101), EDQUOT);
  EXPECT_EQ(create("/more", 100), 0);
  set_quota(0);
  EXPECT_EQ(create("/free", 1 << 30), 0);
  set_quota((1 << 30) + 500);
  EXPECT_EQ(create("/over", 1), EDQUOT);
}

TEST_P(Quota, replacing_a_file_gives_back_what_it_had) {
  set_quota(1000);
  ASSERT_EQ(create("/a", 400), 0);
  ASSERT_EQ(create("/b", 600), 0);
  ASSERT_EQ(rename("/a", "/b"), 0);
  EXPECT_EQ(create("/c", 601), EDQUOT);
  EXPECT_EQ(create("/c", 600), 0);
}

Task<void> fill(Namespace* names, uint16_t cluster, uint64_t incarnation, uint64_t bytes,
                uint64_t* made) {
  for (uint64_t i = 1;; ++i) {
    const MutationTag tag{.incarnation = incarnation, .sequence = i, .low = i};
    std::string path = "/" + std::to_string(incarnation) + "-" + std::to_string(i);
    auto result = co_await names->create(cluster, std::move(path), {.size_bytes = bytes}, tag);
    if (!result) {
      EXPECT_EQ(result.error().errno_value(), EDQUOT);
      break;
    }
    ++*made;
  }
}

TEST_P(Quota, many_that_fill_it_at_once_fill_it_exactly) {
  set_quota(1000);
  uint64_t made = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    box_->loop().spawn(fill(&names(), cluster_, 1000 + i, 7, &made));
  }
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_EQ(made, 142u);  // 142 * 7 = 994
  EXPECT_EQ(usage(), (ClusterUsage{.files = 142, .size_bytes = 994, .reserved_bytes = 994}));
}

GD2FS_OVER_ENGINES(Clusters);
GD2FS_OVER_ENGINES(Quota);

}  // namespace
}  // namespace gd2fs
