// Retries: a tag's mutation happens once and is answered alike for ever.
#include "base/random.h"
#include "meta/namespace_fixture.h"

namespace gd2fs {
namespace {

class Tags : public NamespaceTest {
 protected:
  static MutationTag at(uint64_t sequence, uint64_t low, uint64_t incarnation = 0x77) {
    return {.incarnation = incarnation, .sequence = sequence, .low = low};
  }
  Result<Mutated> create_as(MutationTag tag, std::string path) {
    return wait(names().create(cluster_, std::move(path), {}, tag));
  }
  void restart() { names_ = wait(Namespace::open(box_->loop(), store())).value(); }
};

TEST_P(Tags, a_create_retried_by_its_winner_succeeds_again_and_makes_nothing) {
  auto first = create_as(at(1, 1), "/a").value();
  EXPECT_FALSE(first.replayed);
  restart();
  auto again = create_as(at(1, 1), "/a").value();
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.info, first.info);
  EXPECT_EQ(errno_of(create_as(at(1, 1, 0x88), "/a")), EEXIST);
  EXPECT_EQ(usage().files, 1u);
}

TEST_P(Tags, every_mutation_is_answered_alike_when_it_is_retried) {
  uint64_t sequence = 0;
  const auto twice = [&](auto call) {
    const MutationTag tag = at(sequence + 1, sequence + 1);
    ++sequence;
    Result<Mutated> first = wait(call(tag));
    const ClusterUsage before = usage();
    restart();
    Result<Mutated> again = wait(call(tag));
    EXPECT_EQ(usage(), before);
    ASSERT_EQ(first.has_value(), again.has_value());
    if (!first) {
      EXPECT_EQ(first.error(), again.error());
      EXPECT_EQ(first.error().text(), again.error().text());
      return;
    }
    EXPECT_TRUE(again->replayed);
    EXPECT_EQ(again->info, first->info);
    EXPECT_EQ(again->intents, first->intents);  // still open: fence again, too
    ASSERT_TRUE(wait(names().finish_intents(first->intents)).ok());
    again = wait(call(tag));
    EXPECT_TRUE(again->intents.empty());
  };
  const uint16_t c = cluster_;
  twice([&](MutationTag t) { return names().mkdir(c, "/d", t); });
  twice([&](MutationTag t) { return names().create(c, "/d/f", {.size_bytes = 9}, t); });
  twice([&](MutationTag t) { return names().create(c, "/d/f", {.size_bytes = 9}, t); });  // EEXIST
  twice([&](MutationTag t) { return names().truncate(c, "/d/f", 5, t); });
  twice([&](MutationTag t) { return names().rename(c, "/d/f", "/g", t); });
  twice([&](MutationTag t) { return names().create(c, "/h", {}, t); });
  twice([&](MutationTag t) { return names().rename(c, "/g", "/h", t); });
  twice([&](MutationTag t) { return names().rename(c, "/g", "/h", t); });  // ENOENT
  twice([&](MutationTag t) { return names().unlink(c, "/h", t); });
  twice([&](MutationTag t) { return names().unlink(c, "/h", t); });  // ENOENT
  twice([&](MutationTag t) { return names().rename(c, "/d", "/e", t); });
  twice([&](MutationTag t) { return names().rmdir(c, "/e", t); });
  EXPECT_EQ(usage(), ClusterUsage());
}

TEST_P(Tags, a_recorded_failure_stays_a_failure_when_it_could_succeed_now) {
  ASSERT_EQ(create("/a"), 0);
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/a")), EEXIST);
  ASSERT_EQ(unlink("/a"), 0);
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/a")), EEXIST);
  EXPECT_EQ(lookup_errno("/a"), ENOENT);
}

TEST_P(Tags, a_busy_answer_is_not_kept) {
  ASSERT_EQ(create("/a"), 0);
  auto gone = wait(names().unlink(cluster_, "/a", tag())).value();
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/a")), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(gone.intents)).ok());
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/a")), 0);
}

TEST_P(Tags, a_lookup_that_created_says_so_again_and_one_that_found_is_asked_anew) {
  auto first = wait(names().lookup_or_create(cluster_, "/a", {}, at(1, 1))).value();
  EXPECT_TRUE(first.created);
  auto again = wait(names().lookup_or_create(cluster_, "/a", {}, at(1, 1))).value();
  EXPECT_TRUE(again.created);
  EXPECT_EQ(again.info, first.info);
}

TEST_P(Tags, a_duplicate_from_below_low_is_stale_even_if_it_had_changed_nothing) {
  ASSERT_EQ(create("/a"), 0);
  ASSERT_TRUE(wait(names().lookup_or_create(cluster_, "/a", {}, at(5, 5))).has_value());
  ASSERT_EQ(unlink("/a"), 0);
  ASSERT_TRUE(create_as(at(6, 6), "/b").has_value());
  // A late copy of sequence 5 would create the file that was unlinked since.
  EXPECT_EQ(errno_of(wait(names().lookup_or_create(cluster_, "/a", {}, at(5, 5)))), ESTALE);
  EXPECT_EQ(lookup_errno("/a"), ENOENT);
}

TEST_P(Tags, what_the_window_has_forgotten_is_stale_and_never_runs_again) {
  ASSERT_TRUE(create_as(at(1, 1), "/first").has_value());
  for (uint64_t s = 2; s <= 1 + Namespace::kTagWindow; ++s) {
    ASSERT_TRUE(create_as(at(s, s), "/f" + std::to_string(s)).has_value());
  }
  ASSERT_EQ(unlink("/first"), 0);
  restart();  // so that only the records can tell
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/first")), ESTALE);
  EXPECT_EQ(lookup_errno("/first"), ENOENT);
}

TEST_P(Tags, the_window_is_bounded) {
  EXPECT_EQ(errno_of(create_as(at(Namespace::kTagWindow, 1), "/a")), 0);
  EXPECT_EQ(errno_of(create_as(at(Namespace::kTagWindow + 1, 1), "/b")), EINVAL);
  EXPECT_EQ(errno_of(create_as(at(3, 4), "/b")), ESTALE);
  EXPECT_EQ(errno_of(create_as(at(0, 0), "/b")), EINVAL);
  EXPECT_EQ(errno_of(create_as({.incarnation = 0, .sequence = 1, .low = 1}, "/b")), EINVAL);
}

TEST_P(Tags, unanswered_mutations_may_come_in_any_order) {
  Random random(3);
  std::vector<uint64_t> order;
  for (uint64_t s = 1; s <= 200; ++s) order.push_back(s);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (uint64_t s : order) {
    ASSERT_TRUE(create_as(at(s, 1), "/f" + std::to_string(s)).has_value());
  }
  for (uint64_t s : order) {
    EXPECT_TRUE(create_as(at(s, 1), "/f" + std::to_string(s))->replayed);
  }
  EXPECT_EQ(usage().files, 200u);
}

TEST_P(Tags, a_tag_used_for_something_else_is_refused) {
  ASSERT_TRUE(create_as(at(1, 1), "/a").has_value());
  EXPECT_EQ(errno_of(create_as(at(1, 1), "/b")), EINVAL);
  EXPECT_EQ(errno_of(wait(names().unlink(cluster_, "/a", at(1, 1)))), EINVAL);
  EXPECT_EQ(errno_of(wait(names().create(cluster_, "/a", {.size_bytes = 1}, at(1, 1)))), EINVAL);
  EXPECT_EQ(lookup_errno("/b"), ENOENT);
  EXPECT_EQ(lookup_errno("/a"), 0);
}

Task<void> create_into(Namespace* names, uint16_t cluster, MutationTag tag,
                       std::vector<Result<Mutated>>* out) {
  out->push_back(co_await names->create(cluster, "/a", {}, tag));
}

TEST_P(Tags, copies_of_one_mutation_that_meet_are_executed_once) {
  std::vector<Result<Mutated>> results;
  for (int i = 0; i < 10; ++i) {
    box_->loop().spawn(create_into(&names(), cluster_, at(1, 1), &results));
  }
  while (box_->loop().run_ready() > 0) {
  }
  ASSERT_EQ(results.size(), 10u);
  int made = 0;
  for (const auto& result : results) {
    ASSERT_TRUE(result.has_value());
    made += result->replayed ? 0 : 1;
    EXPECT_EQ(result->info, results.front()->info);
  }
  EXPECT_EQ(made, 1);
}

TEST_P(Tags, clients_long_silent_shrink_to_a_floor_below_which_all_is_stale) {
  for (uint64_t s = 1; s <= 150; ++s) {
    ASSERT_TRUE(create_as(at(s, s, 0xA), "/a" + std::to_string(s)).has_value());
  }
  ASSERT_TRUE(create_as(at(1, 1, 0xB), "/b").has_value());
  box_->clock().ns += 3600 * kSecond;
  const uint64_t cutoff = box_->clock().wall_us() - 1;
  ASSERT_TRUE(create_as(at(1, 1, 0xC), "/c").has_value());
  EXPECT_EQ(wait(names().expire_clients(cutoff)).value(), 3u);  // A, B and the fixture's own
  EXPECT_EQ(wait(names().expire_clients(cutoff)).value(), 0u);
  restart();
  for (uint64_t s : {1, 100, 150}) {
    EXPECT_EQ(errno_of(create_as(at(s, s, 0xA), "/a" + std::to_string(s))), ESTALE);
  }
  EXPECT_EQ(errno_of(create_as(at(1, 1, 0xB), "/b")), ESTALE);
  EXPECT_TRUE(create_as(at(1, 1, 0xC), "/c")->replayed);
  EXPECT_TRUE(create_as(at(151, 151, 0xA), "/again").has_value());  // it may come back
  auto tx = store().begin();
  const std::vector<KeyValue> records = wait(tx->scan("T", "U", 1000)).value();
  EXPECT_LE(records.size(), 6u);
}

GD2FS_OVER_ENGINES(Tags);

}  // namespace
}  // namespace gd2fs
