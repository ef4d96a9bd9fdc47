// The MetaStore's contract, run over every engine.
#include "meta/meta_store.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "meta/test_engines.h"

namespace gd2fs {
namespace {

class MetaStoreContract : public testing::TestWithParam<TestEngine> {
 protected:
  MetaStoreContract() : box_(make_test_store(GetParam(), 1)) {}

  MetaStore& store() { return box_->store(); }
  template <class T>
  T wait(Task<T> task) {
    return finish(box_->loop(), std::move(task));
  }
  std::optional<std::string> get(MetaTransaction& tx, std::string key) {
    return wait(tx.get(std::move(key))).value();
  }
  std::vector<KeyValue> scan(MetaTransaction& tx, std::string begin, std::string end,
                             size_t limit) {
    return wait(tx.scan(std::move(begin), std::move(end), limit)).value();
  }
  std::string keys(MetaTransaction& tx, std::string begin, std::string end, size_t limit) {
    std::string out;
    for (const KeyValue& kv : scan(tx, begin, end, limit)) out += kv.key + "=" + kv.value + " ";
    return out;
  }
  void put(std::string_view key, std::string_view value) {
    auto tx = store().begin();
    tx->put(key, value);
    ASSERT_TRUE(wait(tx->commit()).ok());
  }
  void remove(std::string_view key) {
    auto tx = store().begin();
    tx->remove(key);
    ASSERT_TRUE(wait(tx->commit()).ok());
  }
  static bool is_conflict(MetaTransaction& tx, const Status& status) {
    return status.is(StatusCode::stale) && tx.conflicted();
  }

  std::unique_ptr<TestStore> box_;
};

TEST_P(MetaStoreContract, a_committed_key_is_read_by_later_transactions) {
  put("a", "1");
  put("b", std::string("x\0y", 3));
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  EXPECT_EQ(get(*tx, "b"), std::string("x\0y", 3));
  EXPECT_EQ(get(*tx, "c"), std::nullopt);
  put("a", "");
  auto later = store().begin();
  EXPECT_EQ(get(*later, "a"), "");
}

TEST_P(MetaStoreContract, a_removed_key_is_gone_and_removing_what_is_not_there_is_fine) {
  put("a", "1");
  remove("a");
  remove("a");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), std::nullopt);
  EXPECT_EQ(keys(*tx, "", "z", 10), "");
}

TEST_P(MetaStoreContract, get_many_answers_in_the_order_asked_and_repeats) {
  put("a", "1");
  put("b", "2");
  auto tx = store().begin();
  tx->put("c", "own");
  auto values = wait(tx->get_many({"b", "none", "c", "a", "b"})).value();
  ASSERT_EQ(values.size(), 5u);
  EXPECT_EQ(values[0], "2");
  EXPECT_EQ(values[1], std::nullopt);
  EXPECT_EQ(values[2], "own");
  EXPECT_EQ(values[3], "1");
  EXPECT_EQ(values[4], "2");
}

TEST_P(MetaStoreContract, scan_is_in_byte_order_half_open_and_bounded) {
  for (const char* key : {"b", "a", "\xff", "ab", "b\x01", "c"}) put(key, "v");
  auto tx = store().begin();
  EXPECT_EQ(keys(*tx, "a", "c", 10), "a=v ab=v b=v b\x01=v ");
  EXPECT_EQ(keys(*tx, "a", "c", 2), "a=v ab=v ");
  EXPECT_EQ(keys(*tx, "ab", "b", 10), "ab=v ");
  EXPECT_EQ(keys(*tx, "c", "\xff\xff", 10), "c=v \xff=v ");
  EXPECT_EQ(keys(*tx, "b", "b", 10), "");
  EXPECT_EQ(keys(*tx, "c", "a", 10), "");
}

TEST_P(MetaStoreContract, a_transaction_sees_its_own_writes_and_nobody_else_does_before_commit) {
  put("b", "old");
  put("c", "old");
  auto tx = store().begin();
  tx->put("a", "new");
  tx->put("b", "new");
  tx->remove("c");
  EXPECT_EQ(get(*tx, "a"), "new");
  EXPECT_EQ(get(*tx, "c"), std::nullopt);
  EXPECT_EQ(keys(*tx, "a", "z", 10), "a=new b=new ");
  EXPECT_EQ(keys(*tx, "a", "z", 1), "a=new ");
  auto other = store().begin();
  EXPECT_EQ(keys(*other, "a", "z", 10), "b=old c=old ");
}

TEST_P(MetaStoreContract, keys_removed_by_the_transaction_do_not_shorten_a_scan) {
  for (const char* key : {"a", "b", "c", "d"}) put(key, "v");
  auto tx = store().begin();
  tx->remove("a");
  tx->remove("c");
  EXPECT_EQ(keys(*tx, "a", "z", 2), "b=v d=v ");
}

TEST_P(MetaStoreContract, dropped_writes_are_not_committed_but_what_was_read_still_counts) {
  put("a", "1");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  tx->put("a", "2");
  tx->drop_writes();
  EXPECT_EQ(get(*tx, "a"), "1");
  tx->put("b", "2");
  put("a", "changed");
  const Status status = wait(tx->commit());
  EXPECT_TRUE(is_conflict(*tx, status)) << status.to_string();
  auto later = store().begin();
  EXPECT_EQ(get(*later, "b"), std::nullopt);
}

TEST_P(MetaStoreContract, a_key_read_and_changed_by_another_makes_the_commit_stale) {
  put("a", "1");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  tx->put("b", "from a=1");
  put("a", "2");
  Status status = wait(tx->commit());
  EXPECT_TRUE(is_conflict(*tx, status)) << status.to_string();

  auto absent = store().begin();  // a key that was not there counts as read, too
  EXPECT_EQ(get(*absent, "n"), std::nullopt);
  absent->put("n", "mine");
  put("n", "theirs");
  status = wait(absent->commit());
  EXPECT_TRUE(is_conflict(*absent, status));

  auto gone = store().begin();
  EXPECT_EQ(get(*gone, "a"), "2");
  gone->put("b", "x");
  remove("a");
  status = wait(gone->commit());
  EXPECT_TRUE(is_conflict(*gone, status));
  auto check = store().begin();
  EXPECT_EQ(get(*check, "b"), std::nullopt);
  EXPECT_EQ(get(*check, "n"), "theirs");
}

TEST_P(MetaStoreContract, a_blind_write_conflicts_with_nobody) {
  put("a", "1");
  auto tx = store().begin();
  tx->put("a", "2");
  put("a", "3");
  EXPECT_TRUE(wait(tx->commit()).ok());
  auto check = store().begin();
  EXPECT_EQ(get(*check, "a"), "2");
}

TEST_P(MetaStoreContract, a_phantom_in_a_range_read_makes_the_commit_stale) {
  put("d/a", "1");
  auto tx = store().begin();
  EXPECT_EQ(keys(*tx, "d/", "d0", 10), "d/a=1 ");
  tx->put("x", "count=1");
  put("d/b", "2");
  Status status = wait(tx->commit());
  EXPECT_TRUE(is_conflict(*tx, status));

  auto empty = store().begin();
  EXPECT_EQ(keys(*empty, "e/", "e0", 1), "");
  empty->remove("e");
  put("e/first", "1");
  status = wait(empty->commit());
  EXPECT_TRUE(is_conflict(*empty, status));

  auto removal = store().begin();
  EXPECT_EQ(keys(*removal, "d/", "d0", 10), "d/a=1 d/b=2 ");
  removal->put("x", "count=2");
  remove("d/a");
  status = wait(removal->commit());
  EXPECT_TRUE(is_conflict(*removal, status));
}

TEST_P(MetaStoreContract, a_change_outside_the_range_read_does_not_conflict) {
  put("d/a", "1");
  put("d/b", "1");
  auto full = store().begin();
  EXPECT_EQ(keys(*full, "d/", "d0", 10), "d/a=1 d/b=1 ");
  full->put("x", "1");
  put("d0", "end of the range");
  put("c", "before");
  EXPECT_TRUE(wait(full->commit()).ok());

  auto page = store().begin();  // a full page ends with its last key
  EXPECT_EQ(keys(*page, "d/", "d0", 1), "d/a=1 ");
  page->put("x", "2");
  put("d/aa", "behind the page");
  EXPECT_TRUE(wait(page->commit()).ok());

  auto in_page = store().begin();
  EXPECT_EQ(keys(*in_page, "d/", "d0", 2), "d/a=1 d/aa=behind the page ");
  in_page->put("x", "3");
  put("d/aa", "the last key of the page");
  const Status status = wait(in_page->commit());
  EXPECT_TRUE(is_conflict(*in_page, status));
}

TEST_P(MetaStoreContract, what_a_transaction_reads_is_of_one_instant) {
  put("a", "1");
  put("b", "1");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  {
    auto both = store().begin();
    both->put("a", "2");
    both->put("b", "2");
    ASSERT_TRUE(wait(both->commit()).ok());
  }
  auto b = wait(tx->get("b"));  // 1 would be right, too; 2 beside a=1 never
  if (b.has_value()) {
    EXPECT_EQ(*b, "1");
  } else {
    EXPECT_TRUE(is_conflict(*tx, b.error()));
  }
  auto range = store().begin();
  EXPECT_EQ(keys(*range, "a", "b", 5), "a=2 ");
  put("a", "3");
  put("b", "3");
  auto seen = wait(range->get("b"));
  if (seen.has_value()) {
    EXPECT_EQ(*seen, "2");
  } else {
    EXPECT_TRUE(is_conflict(*range, seen.error()));
  }
}

TEST_P(MetaStoreContract, a_reader_is_not_disturbed_by_changes_of_what_it_has_not_read) {
  put("a", "1");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  for (int i = 0; i < 50; ++i) put("b", std::to_string(i));
  EXPECT_EQ(get(*tx, "b"), "49");  // the snapshot may move, as `a` is unchanged
  EXPECT_EQ(keys(*tx, "a", "c", 9), "a=1 b=49 ");
  tx->put("c", "1");
  EXPECT_TRUE(wait(tx->commit()).ok());
}

Task<void> commit_into(MetaTransaction* tx, std::vector<Status>* out) {
  out->push_back(co_await tx->commit());
}

TEST_P(MetaStoreContract, of_transactions_that_commit_at_once_only_the_losers_are_stale) {
  put("n", "0");
  std::vector<std::unique_ptr<MetaTransaction>> transactions;
  for (int i = 0; i < 6; ++i) {
    transactions.push_back(store().begin());
    MetaTransaction& tx = *transactions.back();
    if (i % 2 == 0) {
      EXPECT_EQ(get(tx, "n"), "0");  // three of them read and write the same key
      tx.put("n", "by " + std::to_string(i));
    }
    tx.put("own" + std::to_string(i), "1");
  }
  std::vector<Status> statuses;
  for (auto& tx : transactions) box_->loop().spawn(commit_into(tx.get(), &statuses));
  while (box_->loop().run_ready() > 0) {
  }
  ASSERT_EQ(statuses.size(), 6u);
  int stale = 0;
  for (const Status& status : statuses) stale += status.is(StatusCode::stale) ? 1 : 0;
  EXPECT_EQ(stale, 2);
  auto check = store().begin();
  EXPECT_NE(get(*check, "n"), "0");
  int own = 0;
  for (const KeyValue& kv : scan(*check, "own", "owo", 10)) own += kv.value == "1" ? 1 : 0;
  EXPECT_EQ(own, 4);
}

TEST_P(MetaStoreContract, a_range_read_meets_a_phantom_of_its_own_group) {
  auto reader = store().begin();
  auto writer = store().begin();
  EXPECT_EQ(keys(*reader, "d/", "d0", 10), "");
  reader->put("x", "empty");
  writer->put("d/new", "1");
  std::vector<Status> statuses;
  box_->loop().spawn(commit_into(writer.get(), &statuses));
  box_->loop().spawn(commit_into(reader.get(), &statuses));
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_TRUE(reader->conflicted());
  EXPECT_FALSE(writer->conflicted());
}

TEST_P(MetaStoreContract, limits_are_invalid_just_past_them_and_fine_at_them) {
  auto writes = store().begin();
  for (size_t i = 0; i < MetaTransaction::kWritesMax; ++i) writes->put("w" + std::to_string(i), "");
  EXPECT_TRUE(wait(writes->commit()).ok());
  auto writes_over = store().begin();
  for (size_t i = 0; i <= MetaTransaction::kWritesMax; ++i)
    writes_over->put("v" + std::to_string(i), "");
  EXPECT_TRUE(wait(writes_over->commit()).is(StatusCode::invalid));

  for (size_t reads : {MetaTransaction::kReadsMax, MetaTransaction::kReadsMax + 1}) {
    auto tx = store().begin();
    std::vector<std::string> asked;
    for (size_t i = 0; i + 1 < reads; ++i) asked.push_back("r" + std::to_string(i));
    ASSERT_TRUE(wait(tx->get_many(asked)).has_value());
    ASSERT_TRUE(wait(tx->scan("a", "b", 1)).has_value());
    tx->put("x", "");
    EXPECT_EQ(wait(tx->commit()).ok(), reads == MetaTransaction::kReadsMax);
  }

  auto bytes = store().begin();
  bytes->put("k", std::string(MetaTransaction::kBytesMax - 1, 'x'));
  EXPECT_TRUE(wait(bytes->commit()).ok());
  auto bytes_over = store().begin();
  bytes_over->put("k", std::string(MetaTransaction::kBytesMax, 'x'));
  EXPECT_TRUE(wait(bytes_over->commit()).is(StatusCode::invalid));

  const std::string longest(MetaTransaction::kKeyMaxBytes, 'k');
  put(longest, "1");
  auto key = store().begin();
  EXPECT_EQ(get(*key, longest), "1");
  EXPECT_EQ(wait(key->get(longest + "k")).error().code(), StatusCode::invalid);
  key->put(longest + "k", "1");
  EXPECT_TRUE(wait(key->commit()).is(StatusCode::invalid));
  auto scan = store().begin();
  EXPECT_EQ(wait(scan->scan("a", "b", 0)).error().code(), StatusCode::invalid);
  EXPECT_EQ(wait(scan->scan("a", "b", MetaTransaction::kScanMax + 1)).error().code(),
            StatusCode::invalid);
}

TEST_P(MetaStoreContract, the_revision_grows_with_every_commit_and_a_watch_hears_its_prefix) {
  std::vector<uint64_t> heard;
  const uint64_t watch = store().watch("w/", [&](uint64_t revision) { heard.push_back(revision); });
  const uint64_t before = store().revision();
  put("w/a", "1");
  EXPECT_GT(store().revision(), before);
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0], store().revision());
  put("v", "1");
  put("w", "1");
  put("x", "1");
  EXPECT_EQ(heard.size(), 1u);
  remove("w/a");
  EXPECT_EQ(heard.size(), 2u);
  EXPECT_GT(heard[1], heard[0]);
  store().unwatch(watch);
  put("w/a", "1");
  EXPECT_EQ(heard.size(), 2u);
}

TEST_P(MetaStoreContract, a_watcher_may_unwatch_itself_and_others_while_it_is_called) {
  uint64_t first = 0;
  uint64_t second = 0;
  int calls = 0;
  auto on_change = [&](uint64_t) {
    ++calls;
    store().unwatch(first);
    store().unwatch(second);
  };
  first = store().watch("", on_change);
  second = store().watch("", on_change);
  put("a", "1");
  put("b", "1");
  EXPECT_EQ(calls, 1);
}

TEST_P(MetaStoreContract, what_may_be_answered_when_decided_is_there_in_the_end) {
  put("a", "1");
  auto tx = store().begin();
  EXPECT_EQ(get(*tx, "a"), "1");
  tx->answer_when_decided();
  tx->put("a", "2");
  EXPECT_TRUE(wait(tx->commit()).ok());
  tx.reset();  // which need not wait for the rest
  while (box_->loop().run_ready() > 0) {
  }
  auto check = store().begin();
  EXPECT_EQ(get(*check, "a"), "2");
}

TEST_P(MetaStoreContract, what_may_be_answered_when_decided_loses_races_as_all_do) {
  put("a", "1");
  auto early = store().begin();
  EXPECT_EQ(get(*early, "a"), "1");
  early->answer_when_decided();
  early->put("a", "early");
  auto rival = store().begin();
  EXPECT_EQ(get(*rival, "a"), "1");
  rival->put("a", "rival");
  std::vector<Status> statuses;
  box_->loop().spawn(commit_into(rival.get(), &statuses));
  box_->loop().spawn(commit_into(early.get(), &statuses));
  while (box_->loop().run_ready() > 0) {
  }
  EXPECT_TRUE(early->conflicted());
  EXPECT_FALSE(rival->conflicted());
  auto check = store().begin();
  EXPECT_EQ(get(*check, "a"), "rival");
}

// Counters kept by racing read-modify-write transactions: their sum is exact only if no lost update
// slips through, whatever the interleaving.
Task<void> add_at_random(MetaStore* store, Random random, int rounds, int* commits) {
  for (int i = 0; i < rounds; ++i) {
    for (;;) {
      auto tx = store->begin();
      const std::string key = "n" + std::to_string(random.below(3));
      auto total = co_await tx->scan("n", "o", 10);
      if (!total) continue;
      auto value = co_await tx->get(key);
      if (!value) continue;
      const int old = *value ? std::stoi(**value) : 0;
      int sum = 0;
      for (const KeyValue& kv : *total) sum += std::stoi(kv.value);
      tx->put(key, std::to_string(old + 1));
      tx->put("sum", std::to_string(sum + 1));
      Status status = co_await tx->commit();
      if (status.ok()) break;
    }
    ++*commits;
  }
}

TEST_P(MetaStoreContract, racing_transactions_lose_no_update) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    box_ = make_test_store(GetParam(), seed);
    Random random(seed);
    int commits = 0;
    for (int i = 0; i < 8; ++i)
      box_->loop().spawn(add_at_random(&store(), random.fork(), 12, &commits));
    while (box_->loop().run_ready() > 0) {
    }
    ASSERT_EQ(commits, 96) << "seed " << seed;
    auto tx = store().begin();
    EXPECT_EQ(get(*tx, "sum"), "96") << "seed " << seed;
    int sum = 0;
    for (const KeyValue& kv : scan(*tx, "n", "o", 10)) sum += std::stoi(kv.value);
    EXPECT_EQ(sum, 96) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, MetaStoreContract, testing::ValuesIn(all_test_engines()),
                         [](const auto& info) { return test_engine_name(info.param); });

}  // namespace
}  // namespace gd2fs
