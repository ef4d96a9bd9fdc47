#include "meta/dump.h"

#include "base/random.h"
#include "meta/check_metadata.h"
#include "meta/keys.h"
#include "meta/namespace_fixture.h"

namespace gd2fs {
namespace {

class Dump : public NamespaceTest {
 protected:
  // Names of every sort, sizes, open and settled intents, several clusters, recorded failures.
  void fill(uint64_t seed) {
    Random random(seed);
    make_cluster("second", {.chunk_log2 = 16, .quota_bytes = 1 << 20});
    const std::vector<std::string> directories = {"", "/d", "/d/e", "/\xff\xfe", "/\"q\\"};
    for (size_t i = 1; i < directories.size(); ++i) ASSERT_EQ(mkdir(directories[i]), 0);
    for (int i = 0; i < 120; ++i) {
      const std::string path =
          directories[random.below(directories.size())] + "/" +
          std::string(1 + random.below(3), static_cast<char>(1 + random.below(200))) + "x" +
          std::to_string(random.below(30));
      switch (random.below(6)) {
        case 0:
        case 1:
        case 2:
          create(path, random.below(5000));
          break;
        case 3:
          rename(path, "/moved" + std::to_string(i));
          break;
        case 4: {
          auto gone = wait(names().unlink(cluster_, path, tag()));
          if (gone && random.chance(1, 2)) {
            ASSERT_TRUE(wait(names().settle_intents(gone->intents)).ok());
          }
          break;
        }
        default:
          // Left open on purpose.
          if (auto cut = wait(names().truncate(cluster_, path, random.below(9000), tag())); cut) {
            EXPECT_EQ(cut->intents.size(), 1u);
          }
      }
    }
    auto moved = wait(names().rename(cluster_, "/d", "/renamed", tag()));
    ASSERT_TRUE(moved.has_value());
    ASSERT_TRUE(wait(names().rotate_token("second", "new", tag())).has_value());
  }
  static std::vector<std::string> dump(Loop& loop, MetaStore& store, size_t limit) {
    std::vector<std::string> lines;
    std::string next;
    for (;;) {
      DumpPage page = finish(loop, dump_metadata(store, next, limit)).value();
      lines.insert(lines.end(), page.lines.begin(), page.lines.end());
      if (!page.more) return lines;
      next = page.next;
    }
  }
  static Status load(Loop& loop, MetaStore& store, const std::vector<std::string>& lines,
                     size_t batch) {
    [[maybe_unused]] auto fresh = finish(loop, Namespace::open(loop, store));
    auto begun = finish(loop, MetaLoad::begin(store));
    if (!begun) return begun.error();
    for (size_t at = 0; at < lines.size(); at += batch) {
      const auto begin = lines.begin() + static_cast<ptrdiff_t>(at);
      const auto end = lines.begin() + static_cast<ptrdiff_t>(std::min(at + batch, lines.size()));
      Status status = finish(loop, begun->add({begin, end}));
      if (!status.ok()) return status;
    }
    return finish(loop, begun->end());
  }
  static std::vector<KeyValue> contents(Loop& loop, MetaStore& store) {
    std::vector<KeyValue> all;
    for (std::string begin;;) {
      auto tx = store.begin();
      auto page = finish(loop, tx->scan(begin, "\xff\xff", 1000)).value();
      all.insert(all.end(), page.begin(), page.end());
      if (page.size() < 1000) return all;
      begin = page.back().key + '\0';
    }
  }
};

TEST_P(Dump, the_controllers_own_table_is_neither_dumped_nor_in_the_way_of_a_load) {
  fill(9);
  const auto put_own = [](Loop& loop, MetaStore& into) {
    auto tx = into.begin();
    tx->put(table_begin(kControllerTable) + "x", "not a namespace's record");
    return finish(loop, tx->commit());
  };
  const auto plain = dump(box_->loop(), store(), 7);
  ASSERT_TRUE(put_own(box_->loop(), store()).ok());
  const auto lines = dump(box_->loop(), store(), 7);
  EXPECT_EQ(lines, plain);
  auto other = make_test_store(GetParam(), 2);
  {
    auto fresh = finish(other->loop(), Namespace::open(other->loop(), other->store()));
    ASSERT_TRUE(fresh.has_value());
  }
  ASSERT_TRUE(put_own(other->loop(), other->store()).ok());
  const Status loaded = load(other->loop(), other->store(), lines, 10);
  EXPECT_TRUE(loaded.ok()) << loaded.to_string();
}

TEST_P(Dump, a_loaded_store_is_equal_to_the_dumped_one_byte_for_byte) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    box_ = make_test_store(GetParam(), seed);
    names_ = wait(Namespace::open(box_->loop(), store())).value();
    cluster_ = make_cluster("c0");
    fill(seed);
    const MetaFindings findings = wait(check_metadata(store())).value();
    EXPECT_TRUE(findings.findings.empty()) << "seed " << seed << ": " << findings.findings.front();
    EXPECT_GT(findings.records, 50u);
    const std::vector<std::string> lines = dump(box_->loop(), store(), 7);
    EXPECT_EQ(lines, dump(box_->loop(), store(), 1000));
    for (TestEngine engine : {GetParam(), TestEngine::memory_at_once}) {
      auto other = make_test_store(engine, seed);
      const Status status = load(other->loop(), other->store(), lines, 11);
      ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status.to_string();
      EXPECT_EQ(contents(other->loop(), other->store()), contents(box_->loop(), store()));
    }
  }
}

TEST_P(Dump, a_loaded_namespace_goes_on_where_the_dumped_one_stopped) {
  ASSERT_EQ(create("/a", 5), 0);
  const MutationTag last = tag();
  auto gone = wait(names().unlink(cluster_, "/a", last)).value();
  const std::vector<std::string> lines = dump(box_->loop(), store(), 1000);
  const uint64_t dumped_inode = gone.info.inode;
  box_ = make_test_store(GetParam(), 9);
  names_.reset();
  ASSERT_TRUE(load(box_->loop(), store(), lines, 1000).ok());
  names_ = wait(Namespace::open(box_->loop(), store())).value();
  auto again = wait(names().unlink(cluster_, "/a", last)).value();
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.intents, gone.intents);
  EXPECT_EQ(lookup_errno("/a"), EAGAIN);
  ASSERT_TRUE(wait(names().finish_intents(again.intents)).ok());
  ASSERT_EQ(create("/a"), 0);
  EXPECT_GT(lookup("/a")->inode, dumped_inode);
}

TEST_P(Dump, a_load_that_is_cut_off_damaged_or_out_of_place_is_refused) {
  ASSERT_EQ(mkdir("/d"), 0);
  ASSERT_EQ(create("/d/f", 5), 0);
  const std::vector<std::string> good = dump(box_->loop(), store(), 1000);
  const auto attempt = [&](const std::vector<std::string>& lines) {
    auto other = make_test_store(GetParam(), 3);
    Status status = load(other->loop(), other->store(), lines, 5);
    // Whatever was refused is never served.
    auto opened = finish(other->loop(), Namespace::open(other->loop(), other->store()));
    EXPECT_EQ(opened.has_value(), status.ok());
    return status;
  };
  EXPECT_TRUE(attempt(good).ok());
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<std::string> without = good;
    without.erase(without.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_FALSE(attempt(without).ok()) << good[i];
    std::vector<std::string> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_FALSE(attempt(cut).ok()) << i;
  }
  std::vector<std::string> more = good;
  more.push_back(good[1]);
  EXPECT_FALSE(attempt(more).ok());
  std::vector<std::string> bad = good;
  bad[2] = "{\"kind\":\"unknown\"}";
  const Status status = attempt(bad);
  EXPECT_NE(status.text().find("line 3"), std::string_view::npos) << status.to_string();
  // The lines are whole, but a file is larger than its cluster knows.
  std::vector<std::string> wrong = good;
  for (std::string& line : wrong) {
    if (const size_t at = line.find("\"size_bytes\":5"); at != std::string::npos)
      line[at + 13] = '6';
  }
  EXPECT_EQ(attempt(wrong).code(), StatusCode::corrupt);
  // Into a store that holds something.
  EXPECT_EQ(finish(box_->loop(), MetaLoad::begin(store())).error().code(), StatusCode::invalid);
}

TEST_P(Dump, a_dump_that_saw_changes_says_so_and_is_not_loaded) {
  ASSERT_EQ(create("/a"), 0);
  auto page = wait(dump_metadata(store(), "", 3)).value();
  std::vector<std::string> lines = page.lines;
  ASSERT_EQ(create("/b"), 0);
  while (page.more) {
    page = wait(dump_metadata(store(), page.next, 1000)).value();
    lines.insert(lines.end(), page.lines.begin(), page.lines.end());
  }
  EXPECT_NE(lines.back().find("\"changed\":true"), std::string::npos);
  auto other = make_test_store(GetParam(), 3);
  EXPECT_EQ(load(other->loop(), other->store(), lines, 100).code(), StatusCode::invalid);
}

TEST_P(Dump, golden_lines_never_change) {
  const std::vector<std::string> lines = dump(box_->loop(), store(), 1000);
  EXPECT_EQ(lines[0], "{\"kind\":\"gd2fs metadata\",\"format\":1}");
  EXPECT_EQ(lines[1], "{\"kind\":\"format\",\"format\":1}");
  EXPECT_EQ(lines[2],
            "{\"kind\":\"cluster\",\"id\":1,\"name\":\"c0\",\"chunk_log2\":22,\"quota_bytes\":0,"
            "\"durability\":\"disk\",\"namespace_epoch\":1,\"token\":\"secret\","
            "\"previous_token\":\"\",\"created_us\":1750000001000000}");
  EXPECT_EQ(lines.back(), "{\"kind\":\"end\",\"records\":" + std::to_string(lines.size() - 2) +
                              ",\"changed\":false}");
}

GD2FS_OVER_ENGINES(Dump);

}  // namespace
}  // namespace gd2fs
