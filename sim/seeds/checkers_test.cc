// The checkers themselves, on small histories written by hand: what is right passes, what is wrong
// is found.
#include <gtest/gtest.h>

#include "sim/seeds/check_bytes.h"
#include "sim/seeds/check_names.h"
#include "sim/seeds/check_sizes.h"
#include "sim/seeds/file_history.h"
#include "sim/seeds/pattern.h"

namespace gd2fs::sim {
namespace {

using client::Op;

constexpr uint64_t kChunkBytes = 64 * kKiB;
constexpr uint64_t kInode = 7;

class Checkers : public testing::Test {
 protected:
  SimWorld world_{1};
  History history_{world_};

  // Begins a request; end() gives its answer.
  Record& begin(Op op, const std::string& path, uint64_t offset = 0, uint64_t length = 0) {
    return history_.begin({.op = op, .path = path, .offset = offset, .length = length});
  }
  void end(Record& record, const Status& status = Status(), uint64_t inode = kInode) {
    client::Request request;
    request.status = status;
    if (status.ok() && record.op != Op::unlink && record.op != Op::rename) {
      request.facts.inode = inode;
    }
    history_.end(record, request, {});
  }
  void end_read(Record& record, std::vector<std::byte> bytes) {
    client::Request request;
    request.facts.inode = kInode;
    request.value = bytes.size();
    history_.end(record, request, std::move(bytes));
  }
  void end_stat(Record& record, uint64_t size_bytes) {
    client::Request request;
    request.facts.inode = kInode;
    request.facts.size_bytes = size_bytes;
    history_.end(record, request, {});
  }
  Record& done(Op op, const std::string& path, uint64_t offset = 0, uint64_t length = 0) {
    Record& record = begin(op, path, offset, length);
    end(record);
    return record;
  }
  void rename(const std::string& from, const std::string& to) {
    Record& record = history_.begin({.op = Op::rename, .path = from, .other = to});
    end(record);
  }
  static std::vector<std::byte> bytes_of(const Record& write, uint64_t offset, uint64_t length) {
    std::vector<std::byte> out(length);
    fill_pattern(write.number, offset, out);
    return out;
  }
  static Status missing() { return {StatusCode::not_found, "none", ENOENT}; }

  std::string names() { return check_names(history_); }
  std::string sizes() { return check_sizes(file_histories(history_).at(kInode), kChunkBytes); }
  std::string bytes() {
    return check_bytes(file_histories(history_).at(kInode), kChunkBytes, history_);
  }
};

TEST_F(Checkers, a_plain_history_makes_sense) {
  done(Op::create, "/a");
  Record& write = done(Op::write, "/a", 0, 1000);
  end_read(begin(Op::read, "/a", 0, 2000), bytes_of(write, 0, 1000));
  end_stat(begin(Op::stat, "/a"), 1000);
  rename("/a", "/b");
  end(begin(Op::read, "/a", 0, 10), missing());
  done(Op::unlink, "/b");
  end(begin(Op::stat, "/b"), missing());
  EXPECT_EQ(names(), "");
  EXPECT_EQ(sizes(), "");
  EXPECT_EQ(bytes(), "");
}

TEST_F(Checkers, a_name_that_is_lost_is_found) {
  done(Op::create, "/a");
  end(begin(Op::stat, "/a"), missing());
  EXPECT_NE(names(), "");
}

TEST_F(Checkers, an_unlinked_file_that_comes_back_is_found) {
  done(Op::create, "/a");
  done(Op::unlink, "/a");
  end_stat(begin(Op::stat, "/a"), 0);
  EXPECT_NE(names(), "");
}

TEST_F(Checkers, a_rename_without_an_answer_may_have_happened_once) {
  done(Op::create, "/a");
  history_.begin({.op = Op::rename, .path = "/a", .other = "/b"});
  end_stat(begin(Op::stat, "/a"), 0);
  end_stat(begin(Op::stat, "/b"), 0);
  EXPECT_EQ(names(), "");
  end_stat(begin(Op::stat, "/a"), 0);
  EXPECT_NE(names(), "");
}

TEST_F(Checkers, an_acknowledged_write_that_is_not_read_is_found) {
  done(Op::create, "/a");
  done(Op::write, "/a", 0, 1000);
  end_read(begin(Op::read, "/a", 0, 1000), std::vector<std::byte>(1000));
  EXPECT_EQ(sizes(), "");
  EXPECT_NE(bytes(), "");
}

// The order tried first is wrong, and only what may have happened could mend it: every set of that.
TEST_F(Checkers, many_requests_without_an_answer_do_not_hide_a_simple_order) {
  for (uint64_t i = 0; i < 30; ++i) begin(Op::truncate, "/a", 0, 20'000 + 1000 * i);
  done(Op::create, "/a");
  Record& outer = begin(Op::truncate, "/a", 0, 70'000);
  done(Op::truncate, "/a", 0, 14'000);
  end(outer);
  end_stat(begin(Op::stat, "/a"), 14'000);
  EXPECT_EQ(sizes(), "");
  end_stat(begin(Op::stat, "/a"), 14'001);
  EXPECT_NE(sizes(), "");
}

TEST_F(Checkers, a_write_under_way_may_be_seen_but_not_unseen_again) {
  done(Op::create, "/a", 0, 1000);
  Record& write = begin(Op::write, "/a", 0, 1000);
  end_read(begin(Op::read, "/a", 0, 1000), std::vector<std::byte>(1000));
  end_read(begin(Op::read, "/a", 0, 1000), bytes_of(write, 0, 1000));
  EXPECT_EQ(bytes(), "");
  end_read(begin(Op::read, "/a", 0, 1000), std::vector<std::byte>(1000));
  EXPECT_NE(bytes(), "");
}

TEST_F(Checkers, a_read_that_mixes_two_writes_of_one_chunk_is_found) {
  done(Op::create, "/a");
  Record& first = done(Op::write, "/a", 0, 1600);
  Record& second = begin(Op::write, "/a", 0, 1600);
  std::vector<std::byte> mixed = bytes_of(first, 0, 1600);
  fill_pattern(second.number, 800, Bytes(mixed).subspan(800));
  end_read(begin(Op::read, "/a", 800, 800), bytes_of(second, 800, 800));
  EXPECT_EQ(bytes(), "");
  end_read(begin(Op::read, "/a", 0, 1600), mixed);
  EXPECT_NE(bytes(), "");
}

TEST_F(Checkers, bytes_in_the_wrong_place_or_of_another_file_are_found) {
  done(Op::create, "/a");
  Record& write = done(Op::write, "/a", 0, 1600);
  end_read(begin(Op::read, "/a", 16, 16), bytes_of(write, 0, 16));
  EXPECT_NE(bytes(), "");
}

TEST_F(Checkers, what_a_truncate_cut_stays_cut) {
  done(Op::create, "/a");
  Record& write = done(Op::write, "/a", 0, 1600);
  done(Op::truncate, "/a", 0, 800);
  done(Op::truncate, "/a", 0, 1600);
  std::vector<std::byte> right = bytes_of(write, 0, 1600);
  std::fill(right.begin() + 800, right.end(), std::byte{0});
  end_read(begin(Op::read, "/a", 0, 1600), right);
  EXPECT_EQ(bytes(), "");
  end_read(begin(Op::read, "/a", 0, 1600), bytes_of(write, 0, 1600));
  EXPECT_NE(bytes(), "");
}

TEST_F(Checkers, a_size_that_is_lost_or_comes_too_early_is_found) {
  done(Op::create, "/a");
  done(Op::write, "/a", 0, 1000);
  Record& stat = begin(Op::stat, "/a");
  end_stat(stat, 1000);
  EXPECT_EQ(sizes(), "");
  end_stat(begin(Op::stat, "/a"), 0);
  EXPECT_NE(sizes(), "");
}

TEST_F(Checkers, late_bytes_in_a_buffer_are_found) {
  Record& read = begin(Op::read, "/a", 0, 16);
  end_read(read, std::vector<std::byte>(16));
  EXPECT_EQ(check_buffers(history_), "");
  read.bytes[3] = std::byte{1};
  EXPECT_NE(check_buffers(history_), "");
}

}  // namespace
}  // namespace gd2fs::sim
