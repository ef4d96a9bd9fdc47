// One suite for all engines: they must behave alike.
#include "disk/disk.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "disk/rules.h"
#include "sim/sim_disk.h"
#include "sim/sim_world.h"

namespace gd2fs {
namespace {

constexpr size_t kSector = kDiskAlignBytes;

// What an engine needs around it.
class Rig {
 public:
  virtual ~Rig() = default;
  virtual Disk& disk() = 0;
  // Drives the loop until `ready`; false if it never gets so.
  virtual bool drive(const std::function<bool()>& ready) = 0;
};

class RealRig final : public Rig {
 public:
  explicit RealRig(DiskEngine engine) {
    std::string path = std::filesystem::temp_directory_path() / "gd2fs-disk-test-XXXXXX";
    CHECK(mkdtemp(path.data()) != nullptr);
    path_ = path;
    auto opened = open_disk(loop_, path_, engine);
    EXPECT_TRUE(opened.has_value()) << opened.error().to_string();
    disk_ = std::move(*opened);
  }
  ~RealRig() override {
    disk_.reset();
    std::filesystem::remove_all(path_);
  }
  Disk& disk() override { return *disk_; }
  bool drive(const std::function<bool()>& ready) override {
    const uint64_t end_ns = clock_.now_ns() + 20 * kSecond;
    while (!ready() && clock_.now_ns() < end_ns) loop_.turn(kSecond);
    return ready();
  }

 private:
  std::filesystem::path path_;
  RealClock clock_;
  Loop loop_{clock_, Loop::Waits::epoll};
  std::unique_ptr<Disk> disk_;
};

class SimRig final : public Rig {
 public:
  Disk& disk() override { return disk_; }
  bool drive(const std::function<bool()>& ready) override { return world_.run_until(ready); }

 private:
  SimWorld world_{7};
  SimDrive drive_{"d", 7};
  Loop loop_{world_.clock(), Loop::Waits::never};
  SimWorld::Member member_{world_, loop_};
  SimDisk disk_{loop_, drive_};
};

struct TestOp {
  AlignedBuffer buffer;
  DiskOp op;
  int finished = 0;
  explicit TestOp(size_t length_bytes = kSector) : buffer(length_bytes) {
    op.iov[0] = {.iov_base = buffer.data(), .iov_len = length_bytes};
    op.iov_count = 1;
    op.done.bind<&TestOp::on_done>(this);
  }
  void on_done(Completion&) { ++finished; }
};

class DiskTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string_view name = GetParam();
    if (name == "sim") {
      rig_ = std::make_unique<SimRig>();
    } else {
      rig_ =
          std::make_unique<RealRig>(name == "threads" ? DiskEngine::threads : DiskEngine::io_uring);
    }
  }
  Disk& disk() { return rig_->disk(); }
  bool drive(const std::function<bool()>& ready) { return rig_->drive(ready); }
  std::unique_ptr<DiskFile> open(std::string_view name, OpenKind kind = OpenKind::direct,
                                 OpenMode mode = OpenMode::create) {
    auto file = disk().open(name, mode, kind);
    EXPECT_TRUE(file.has_value()) << file.error().to_string();
    return std::move(*file);
  }
  Status run(TestOp& t, DiskFile* file, DiskOp::Kind kind, uint64_t offset_bytes) {
    t.op.file = file;
    t.op.kind = kind;
    t.op.offset_bytes = offset_bytes;
    t.finished = 0;
    disk().submit(t.op);
    EXPECT_EQ(t.finished, 0) << "completed inside submit";
    EXPECT_TRUE(drive([&] { return t.finished == 1; }));
    return t.op.done.status;
  }
  StatusCode open_code(std::string_view name, OpenMode mode) {
    auto file = disk().open(name, mode, OpenKind::cached);
    return file ? StatusCode::ok : file.error().code();
  }

  std::unique_ptr<Rig> rig_;
};

INSTANTIATE_TEST_SUITE_P(Engines, DiskTest, ::testing::Values("io_uring", "threads", "sim"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(DiskTest, the_engine_is_the_one_asked_for) {
  EXPECT_EQ(disk().engine(), GetParam());
}

TEST_P(DiskTest, what_was_written_in_pieces_is_read_back_in_other_pieces) {
  auto file = open("f");
  Random random(1);
  AlignedBuffer data(10 * kSector);
  random.fill(data.bytes());
  TestOp write;
  write.op.iov_count = 3;
  write.op.iov[0] = {.iov_base = data.data(), .iov_len = kSector};
  write.op.iov[1] = {.iov_base = data.data() + kSector, .iov_len = 7 * kSector};
  write.op.iov[2] = {.iov_base = data.data() + 8 * kSector, .iov_len = 2 * kSector};
  ASSERT_TRUE(run(write, file.get(), DiskOp::Kind::write, 2 * kSector).ok());
  EXPECT_EQ(write.op.done.value, 10 * kSector);
  TestOp sync;
  ASSERT_TRUE(run(sync, file.get(), DiskOp::Kind::sync, 0).ok());
  EXPECT_EQ(*file->size_bytes(), 12 * kSector);

  AlignedBuffer got(12 * kSector);
  TestOp read;
  read.op.iov_count = 2;
  read.op.iov[0] = {.iov_base = got.data(), .iov_len = 5 * kSector};
  read.op.iov[1] = {.iov_base = got.data() + 5 * kSector, .iov_len = 7 * kSector};
  ASSERT_TRUE(run(read, file.get(), DiskOp::Kind::read, 0).ok());
  EXPECT_EQ(read.op.done.value, 12 * kSector);
  EXPECT_TRUE(std::all_of(got.data(), got.data() + 2 * kSector,
                          [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(std::memcmp(got.data() + 2 * kSector, data.data(), 10 * kSector), 0);
}

TEST_P(DiskTest, misaligned_empty_and_misdirected_transfers_answer_invalid) {
  auto file = open("f");
  TestOp t(2 * kSector);
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::read, 512).is(StatusCode::invalid));
  t.op.iov[0].iov_len = 512;
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::write, 0).is(StatusCode::invalid));
  t.op.iov[0] = {.iov_base = t.buffer.data() + 512, .iov_len = kSector};
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::write, 0).is(StatusCode::invalid));
  t.op.iov[0] = {.iov_base = t.buffer.data(), .iov_len = 0};
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::read, 0).is(StatusCode::invalid));
  t.op.iov[0].iov_len = 2 * kDiskTransferMaxBytes;
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::read, 0).is(StatusCode::invalid));
  t.op.iov[0].iov_len = kSector;
  EXPECT_TRUE(
      run(t, file.get(), DiskOp::Kind::read, UINT64_MAX - kSector + 1).is(StatusCode::invalid));
  EXPECT_TRUE(run(t, nullptr, DiskOp::Kind::read, 0).is(StatusCode::invalid));
  t.op.iov_count = 0;
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::read, 0).is(StatusCode::invalid));
  t.op.iov_count = DiskOp::kIovMax + 1;
  EXPECT_TRUE(run(t, file.get(), DiskOp::Kind::read, 0).is(StatusCode::invalid));
  EXPECT_EQ(*file->size_bytes(), 0u);
}

TEST_P(DiskTest, cached_files_take_syncs_only_and_read_only_files_no_writes) {
  auto cached = open("f", OpenKind::cached);
  auto read_only = open("f", OpenKind::direct, OpenMode::read_only);
  TestOp t;
  EXPECT_TRUE(run(t, cached.get(), DiskOp::Kind::read, 0).is(StatusCode::invalid));
  EXPECT_TRUE(run(t, cached.get(), DiskOp::Kind::write, 0).is(StatusCode::invalid));
  EXPECT_TRUE(run(t, cached.get(), DiskOp::Kind::sync, 0).ok());
  EXPECT_TRUE(run(t, read_only.get(), DiskOp::Kind::write, 0).is(StatusCode::invalid));
  EXPECT_TRUE(run(t, read_only.get(), DiskOp::Kind::read, 0).ok());
  EXPECT_TRUE(read_only->write_at(0, t.buffer.bytes()).is(StatusCode::invalid));
  EXPECT_TRUE(read_only->truncate(0).is(StatusCode::invalid));
  EXPECT_TRUE(read_only->allocate(0, 1).is(StatusCode::invalid));
}

TEST_P(DiskTest, a_read_that_meets_the_end_is_short_and_one_beyond_it_is_empty) {
  auto file = open("f");
  TestOp two(2 * kSector);
  std::ranges::fill(two.buffer.bytes(), std::byte{9});
  ASSERT_TRUE(run(two, file.get(), DiskOp::Kind::write, 0).ok());
  TestOp four(4 * kSector);
  ASSERT_TRUE(run(four, file.get(), DiskOp::Kind::read, kSector).ok());
  EXPECT_EQ(four.op.done.value, kSector);
  ASSERT_TRUE(run(four, file.get(), DiskOp::Kind::read, 2 * kSector).ok());
  EXPECT_EQ(four.op.done.value, 0u);
  ASSERT_TRUE(run(four, file.get(), DiskOp::Kind::read, 100 * kSector).ok());
  EXPECT_EQ(four.op.done.value, 0u);
  ASSERT_TRUE(file->truncate(5000).ok());
  four.op.iov_count = 2;
  four.op.iov[0].iov_len = kSector;
  four.op.iov[1] = {.iov_base = four.buffer.data() + kSector, .iov_len = 3 * kSector};
  ASSERT_TRUE(run(four, file.get(), DiskOp::Kind::read, 0).ok());
  EXPECT_EQ(four.op.done.value, 5000u);
  EXPECT_EQ(four.buffer.data()[4999], std::byte{9});
}

TEST_P(DiskTest, many_transfers_in_flight_each_move_their_own_bytes) {
  auto file = open("f");
  std::vector<std::unique_ptr<TestOp>> ops;
  size_t finished = 0;
  auto all_finished = [&] {
    finished = static_cast<size_t>(std::ranges::count(ops, 1, [](auto& t) { return t->finished; }));
    return finished == ops.size();
  };
  for (uint64_t i = 0; i < Disk::kOpsMax; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    TestOp& t = *ops.back();
    std::ranges::fill(t.buffer.bytes(), std::byte{static_cast<uint8_t>(mix64(i))});
    t.op.kind = DiskOp::Kind::write;
    t.op.file = file.get();
    t.op.offset_bytes = i * kSector;
    disk().submit(t.op);
  }
  ASSERT_TRUE(drive(all_finished)) << finished;
  for (uint64_t i = 0; i < ops.size(); ++i) {
    TestOp& t = *ops[i];
    ASSERT_TRUE(t.op.done.status.ok()) << t.op.done.status.to_string();
    t.finished = 0;
    t.op.kind = DiskOp::Kind::read;
    t.op.offset_bytes = (ops.size() - 1 - i) * kSector;
    disk().submit(t.op);
  }
  ASSERT_TRUE(drive(all_finished)) << finished;
  for (uint64_t i = 0; i < ops.size(); ++i) {
    const std::byte expected{static_cast<uint8_t>(mix64(ops.size() - 1 - i))};
    ASSERT_EQ(ops[i]->op.done.value, kSector);
    ASSERT_TRUE(std::ranges::all_of(ops[i]->buffer.bytes(), [&](std::byte b) {
      return b == expected;
    })) << i;
  }
}

TEST_P(DiskTest, one_transfer_too_many_answers_busy_and_the_rest_is_served) {
  auto file = open("f");
  ASSERT_TRUE(file->truncate(kSector).ok());
  std::vector<std::unique_ptr<TestOp>> ops;
  for (uint64_t i = 0; i < Disk::kOpsMax + 1; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    ops.back()->op.file = file.get();
    disk().submit(ops.back()->op);
  }
  ASSERT_TRUE(
      drive([&] { return std::ranges::all_of(ops, [](auto& t) { return t->finished == 1; }); }));
  EXPECT_TRUE(ops.back()->op.done.status.is(StatusCode::busy));
  ops.pop_back();
  EXPECT_TRUE(std::ranges::all_of(ops, [](auto& t) { return t->op.done.status.ok(); }));
  TestOp again;
  EXPECT_TRUE(run(again, file.get(), DiskOp::Kind::read, 0).ok());
}

TEST_P(DiskTest, blocking_calls_take_any_alignment_on_cached_files_and_only_sectors_on_direct) {
  auto cached = open("c", OpenKind::cached);
  const std::string text = "some bytes";
  ASSERT_TRUE(cached->write_at(4090, as_bytes(text.data(), text.size())).ok());
  std::string got(20, '?');
  EXPECT_EQ(*cached->read_at(4090, as_writable_bytes(got.data(), got.size())), text.size());
  EXPECT_EQ(got.substr(0, text.size()), text);
  EXPECT_EQ(*cached->read_at(5000, as_writable_bytes(got.data(), got.size())), 0u);
  EXPECT_TRUE(cached->sync().ok());
  auto direct = open("d");
  AlignedBuffer buffer(2 * kSector);
  EXPECT_TRUE(direct->write_at(kSector, buffer.bytes()).ok());
  EXPECT_TRUE(direct->write_at(1, buffer.bytes()).is(StatusCode::invalid));
  EXPECT_TRUE(direct->write_at(0, buffer.bytes().first(100)).is(StatusCode::invalid));
  EXPECT_TRUE(direct->read_at(0, buffer.bytes().last(kSector + 1)).error().is(StatusCode::invalid));
  EXPECT_EQ(*direct->read_at(2 * kSector, buffer.bytes()), kSector);
}

TEST_P(DiskTest, sizes_change_by_truncate_and_allocate_and_new_parts_read_as_zeros) {
  auto file = open("f", OpenKind::cached);
  const std::string text(9000, 'x');
  ASSERT_TRUE(file->write_at(0, as_bytes(text.data(), text.size())).ok());
  ASSERT_TRUE(file->truncate(100).ok());
  ASSERT_TRUE(file->allocate(0, 8192).ok());
  EXPECT_EQ(*file->size_bytes(), 8192u);
  ASSERT_TRUE(file->allocate(0, 50).ok());  // never shrinks
  EXPECT_EQ(*file->size_bytes(), 8192u);
  std::string got(8192, '?');
  ASSERT_EQ(*file->read_at(0, as_writable_bytes(got.data(), got.size())), got.size());
  EXPECT_EQ(std::ranges::count(got, 'x'), 100);
  EXPECT_EQ(std::ranges::count(got, '\0'), 8092);
  EXPECT_TRUE(file->allocate(0, 0).is(StatusCode::invalid));
  EXPECT_TRUE(file->truncate(UINT64_MAX).is(StatusCode::invalid));
  EXPECT_TRUE(file->allocate(UINT64_MAX, 2).is(StatusCode::invalid));
}

TEST_P(DiskTest, names_that_leave_the_disk_or_are_not_plain_are_invalid) {
  for (const char* name : {"", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", ".", "./a"}) {
    EXPECT_EQ(open_code(name, OpenMode::create), StatusCode::invalid) << name;
    EXPECT_TRUE(disk().remove(name).is(StatusCode::invalid)) << name;
    EXPECT_TRUE(disk().make_dir(name).is(StatusCode::invalid)) << name;
    EXPECT_TRUE(disk().rename("a", name).is(StatusCode::invalid)) << name;
    EXPECT_TRUE(disk().rename(name, "a").is(StatusCode::invalid)) << name;
    EXPECT_EQ(disk().exists(name).error().code(), StatusCode::invalid) << name;
  }
  EXPECT_EQ(open_code(std::string_view("a\0b", 3), OpenMode::create), StatusCode::invalid);
  EXPECT_EQ(open_code(std::string(256, 'a'), OpenMode::create), StatusCode::invalid);
  EXPECT_EQ(open_code(std::string(255, 'a'), OpenMode::create), StatusCode::ok);
  EXPECT_TRUE(disk().list("..").error().is(StatusCode::invalid));
  EXPECT_TRUE(disk().sync_dir("/").is(StatusCode::invalid));
}

TEST_P(DiskTest, files_are_made_found_listed_renamed_and_removed) {
  EXPECT_EQ(open_code("a", OpenMode::existing), StatusCode::not_found);
  EXPECT_EQ(open_code("a", OpenMode::read_only), StatusCode::not_found);
  EXPECT_EQ(open_code("a", OpenMode::create_new), StatusCode::ok);
  EXPECT_EQ(open_code("a", OpenMode::create_new), StatusCode::exists);
  EXPECT_EQ(open_code("a", OpenMode::existing), StatusCode::ok);
  EXPECT_EQ(open_code("no/a", OpenMode::create), StatusCode::not_found);
  EXPECT_EQ(open_code("a/b", OpenMode::create), StatusCode::invalid);
  EXPECT_TRUE(disk().make_dir("dir").ok());
  EXPECT_TRUE(disk().make_dir("dir").ok());
  EXPECT_TRUE(disk().make_dir("a").is(StatusCode::exists));
  EXPECT_TRUE(disk().make_dir("no/dir").is(StatusCode::not_found));
  EXPECT_EQ(open_code("dir", OpenMode::existing), StatusCode::invalid);
  EXPECT_EQ(open_code("dir", OpenMode::read_only), StatusCode::invalid);
  EXPECT_EQ(open_code("dir/z", OpenMode::create), StatusCode::ok);
  EXPECT_EQ(open_code("dir/b", OpenMode::create), StatusCode::ok);
  EXPECT_EQ(*disk().list("dir"), (std::vector<std::string>{"b", "z"}));
  EXPECT_EQ(*disk().list(""), (std::vector<std::string>{"a", "dir"}));
  EXPECT_TRUE(disk().list("no").error().is(StatusCode::not_found));
  EXPECT_TRUE(disk().list("a").error().is(StatusCode::invalid));
  EXPECT_TRUE(*disk().exists("dir/z"));
  EXPECT_TRUE(*disk().exists("dir"));
  EXPECT_FALSE(*disk().exists("dir/y"));
  EXPECT_FALSE(*disk().exists("a/y"));
  EXPECT_TRUE(disk().sync_dir("").ok());
  EXPECT_TRUE(disk().sync_dir("dir").ok());
  EXPECT_TRUE(disk().sync_dir("no").is(StatusCode::not_found));

  EXPECT_TRUE(disk().rename("a", "dir/b").ok());
  EXPECT_TRUE(disk().rename("dir/b", "dir/b").ok());
  EXPECT_TRUE(disk().rename("a", "c").is(StatusCode::not_found));
  EXPECT_TRUE(disk().rename("dir/b", "no/b").is(StatusCode::not_found));
  EXPECT_TRUE(disk().rename("dir", "dir2").is(StatusCode::invalid));
  EXPECT_TRUE(disk().rename("dir/b", "dir").is(StatusCode::invalid));
  EXPECT_EQ(*disk().list(""), (std::vector<std::string>{"dir"}));
  EXPECT_TRUE(disk().remove("dir/b").ok());
  EXPECT_TRUE(disk().remove("dir/b").is(StatusCode::not_found));
  EXPECT_TRUE(disk().remove("dir").is(StatusCode::invalid));
  EXPECT_EQ(*disk().list("dir"), (std::vector<std::string>{"z"}));
}

TEST_P(DiskTest, an_open_file_stays_itself_when_its_name_is_replaced) {
  auto first = open("a", OpenKind::cached);
  ASSERT_TRUE(first->write_at(0, as_bytes("1", 1)).ok());
  auto second = open("b", OpenKind::cached);
  ASSERT_TRUE(second->write_at(0, as_bytes("2", 1)).ok());
  ASSERT_TRUE(disk().rename("b", "a").ok());
  char got[2] = {};
  ASSERT_EQ(*first->read_at(0, as_writable_bytes(&got[0], 1)), 1u);
  auto again = open("a", OpenKind::cached, OpenMode::existing);
  ASSERT_EQ(*again->read_at(0, as_writable_bytes(&got[1], 1)), 1u);
  EXPECT_EQ(got[0], '1');
  EXPECT_EQ(got[1], '2');
}

TEST_P(DiskTest, a_lock_keeps_others_out_until_its_file_is_closed) {
  auto first = open("lock", OpenKind::cached);
  auto second = open("lock", OpenKind::cached);
  EXPECT_TRUE(first->try_lock().ok());
  EXPECT_TRUE(first->try_lock().ok());
  EXPECT_TRUE(second->try_lock().is(StatusCode::busy));
  first.reset();
  EXPECT_TRUE(second->try_lock().ok());
}

TEST_P(DiskTest, space_tells_total_and_free) {
  const auto space = disk().space();
  ASSERT_TRUE(space.has_value());
  EXPECT_GT(space->total_bytes, 0u);
  EXPECT_LE(space->free_bytes, space->total_bytes);
}

TEST_P(DiskTest, a_disk_may_go_with_transfers_pending_and_their_completions_stay_silent) {
  auto file = open("f");
  ASSERT_TRUE(file->truncate(100 * kSector).ok());
  std::vector<std::unique_ptr<TestOp>> ops;
  for (uint64_t i = 0; i < 100; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    ops.back()->op.file = file.get();
    ops.back()->op.kind = i % 2 == 0 ? DiskOp::Kind::read : DiskOp::Kind::write;
    ops.back()->op.offset_bytes = i * kSector;
    disk().submit(ops.back()->op);
  }
  rig_.reset();
  file.reset();  // it must outlive its transfers
  EXPECT_TRUE(std::ranges::all_of(ops, [](auto& t) { return t->finished == 0; }));
}

}  // namespace
}  // namespace gd2fs
