#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>
#include <isa-l/crc.h>

#include "base/cores.h"
#include "base/crc32c.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"
#include "base/status.h"

namespace gd2fs {
namespace {

TEST(Crc32c, known_vector_of_rfc_3720) {
  EXPECT_EQ(crc32c(as_bytes("123456789", 9)), 0xE3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, agrees_with_isal_and_with_the_portable_twin_at_all_alignments) {
  Random random(7);
  std::vector<std::byte> data(20000);
  random.fill(data);
  for (int round = 0; round < 500; ++round) {
    const size_t from = random.below(64);
    const size_t length = random.below(data.size() - from);
    const ConstBytes part(data.data() + from, length);
    auto* raw = reinterpret_cast<unsigned char*>(data.data() + from);
    const uint32_t isal = ~crc32_iscsi(raw, static_cast<int>(length), ~0u);
    EXPECT_EQ(crc32c(part), isal);
    EXPECT_EQ(crc32c_extend_portable(0, part), isal);
  }
}

TEST(Crc32c, combine_equals_the_crc_of_the_joined_bytes) {
  Random random(8);
  std::vector<std::byte> data(9000);
  random.fill(data);
  for (int round = 0; round < 200; ++round) {
    const size_t cut = random.below(data.size() + 1);
    const ConstBytes a(data.data(), cut);
    const ConstBytes b(data.data() + cut, data.size() - cut);
    EXPECT_EQ(crc32c_combine(crc32c(a), crc32c(b), b.size()), crc32c(data));
    EXPECT_EQ(crc32c_extend(crc32c(a), b), crc32c(data));
  }
}

TEST(Crc32c, of_blocks_with_and_without_a_copy_equals_one_by_one) {
  Random random(9);
  std::vector<std::byte> from(70000);
  random.fill(from);
  for (int round = 0; round < 300; ++round) {
    const size_t begin = random.below(40);
    const ConstBytes part(from.data() + begin, random.below(from.size() - begin));
    const size_t block_bytes = round % 2 == 0 ? 4096 : 1 + random.below(20000);
    std::vector<uint32_t> wanted;
    for (size_t at = 0; at < part.size(); at += block_bytes) {
      const ConstBytes block = part.subspan(at, std::min(part.size() - at, block_bytes));
      wanted.push_back(crc32c_extend_portable(0, block));
    }
    std::vector<uint32_t> crcs(wanted.size());
    crc32c_blocks(part, block_bytes, crcs);
    EXPECT_EQ(crcs, wanted);

    const size_t to_begin = 16 + (round % 3 == 0 ? random.below(16) : 0);
    std::vector<std::byte> to(to_begin + part.size() + 16, std::byte{0x5a});
    std::vector<std::byte> copied = to;
    std::ranges::copy(part, copied.begin() + static_cast<ptrdiff_t>(to_begin));
    std::ranges::fill(crcs, 0);
    crc32c_copy_blocks(part, Bytes(to).subspan(to_begin, part.size()), block_bytes, crcs);
    EXPECT_EQ(crcs, wanted);
    EXPECT_EQ(to, copied);

    std::ranges::fill(to, std::byte{0x5a});
    const Bytes target = Bytes(to).subspan(to_begin, part.size());
    const size_t first = random.below(part.size() + 1);
    const uint32_t crc = crc32c_copy_extend(7, part.first(first), target.first(first));
    EXPECT_EQ(crc32c_copy_extend(crc, part.subspan(first), target.subspan(first)),
              crc32c_extend_portable(7, part));
    EXPECT_EQ(to, copied);
  }
}

TEST(Crc32c, zeros_need_no_zeros) {
  const std::vector<std::byte> zeros(65536);
  EXPECT_EQ(crc32c_zeros(zeros.size()), crc32c(zeros));
  EXPECT_EQ(crc32c_zeros(0), 0u);
}

TEST(Mix64, golden_values_never_change) {
  EXPECT_EQ(mix64(0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(mix64(1), 0x910A2DEC89025CC1u);
}

Result<int> halve(int value) {
  if (value % 2 != 0) return fail(StatusCode::invalid, "odd");
  return value / 2;
}
Result<int> quarter(int value) {
  GD2FS_ASSIGN(const int half, halve(value));
  return halve(half);
}
Status check_quarter(int value) {
  GD2FS_ASSIGN([[maybe_unused]] const int ignored, quarter(value));
  return {};
}

TEST(Status, travels_up_with_context_and_errno) {
  EXPECT_TRUE(check_quarter(8).ok());
  EXPECT_EQ(check_quarter(6).code(), StatusCode::invalid);
  const Status open = Status::from_errno(ENOENT, "open /x").with("drive 3");
  EXPECT_EQ(open.to_string(), "not_found: drive 3: open /x: No such file or directory");
  EXPECT_EQ(open.errno_value(), ENOENT);
  EXPECT_EQ(Status(StatusCode::corrupt).errno_value(), EIO);
}

TEST(Pool, the_object_over_the_limit_is_refused) {
  Pool<int> pool("ints_max", 2);
  int* a = pool.get();
  int* b = pool.get();
  EXPECT_NE(a, nullptr);
  EXPECT_EQ(pool.get(), nullptr);
  pool.put(b);
  EXPECT_EQ(pool.get(), b);
}

struct Item : ListNode<> {
  int value = 0;
};

TEST(List, pushing_what_is_on_the_list_moves_it_also_at_either_end) {
  List<Item> list;
  Item a;
  Item b;
  list.push_back(a);
  list.push_back(a);  // alone
  EXPECT_EQ(list.count(), 1u);
  list.push_back(b);
  list.push_back(b);  // already last
  EXPECT_EQ(list.front(), &a);
  list.push_back(a);
  EXPECT_EQ(list.front(), &b);
  list.push_front(b);  // already first
  EXPECT_EQ(list.next(b), &a);
  EXPECT_EQ(list.next(a), nullptr);
  EXPECT_EQ(list.count(), 2u);
}

TEST(List, a_destroyed_item_leaves_the_list) {
  List<Item> list;
  Item a;
  a.value = 1;
  list.push_back(a);
  {
    Item b;
    list.push_back(b);
    EXPECT_EQ(list.count(), 2u);
  }
  EXPECT_EQ(list.count(), 1u);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_TRUE(list.empty());
}

TEST(Log, braces_take_arguments_in_order) {
  EXPECT_EQ(format_line("a {} b {} {}", {"x", 7}), "a x b 7 {}");
}

// --- cores ---

class CoresOfQuota : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(mount_); }
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = mount_ + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  uint32_t cores(const std::string& groups) { return cores_of_quota(groups, mount_); }
  std::string mount_ = testing::TempDir() + "cores." + std::to_string(getpid());
};

TEST_F(CoresOfQuota, is_the_least_of_a_group_and_those_above_it_in_whole_cores) {
  EXPECT_EQ(cores("0::/a/b\n"), UINT32_MAX);
  write("a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cores("0::/a/b\n"), UINT32_MAX);
  write("a/cpu.max", "350000 100000\n");
  EXPECT_EQ(cores("0::/a/b\n"), 4u);
  write("a/b/cpu.max", "10000 100000\n");
  EXPECT_EQ(cores("0::/a/b\n"), 1u);
  EXPECT_EQ(cores("0::/a\n"), 4u);
  // In a container the top is its own group.
  EXPECT_EQ(cores("0::/\n"), UINT32_MAX);
  write("cpu.max", "200000 100000\n");
  EXPECT_EQ(cores("0::/\n"), 2u);
  EXPECT_EQ(cores("0::/a\n"), 2u);
}

TEST_F(CoresOfQuota, is_found_in_the_groups_of_version_1_too) {
  const std::string groups = "5:cpuset:/a\n4:cpu,cpuacct:/a\n1:name=systemd:/\n";
  write("cpu/a/cpu.cfs_quota_us", "-1\n");
  write("cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(groups), UINT32_MAX);
  write("cpu/a/cpu.cfs_quota_us", "600000\n");
  EXPECT_EQ(cores(groups), 6u);
  EXPECT_EQ(cores("2:cpuacct:/a\n"), UINT32_MAX);
}

TEST_F(CoresOfQuota, is_none_where_nothing_can_be_read) {
  for (const char* groups : {"", "\n", "0:", "0::", ":::::", "4:cpu:", "4:cpu:relative\n"}) {
    EXPECT_EQ(cores(groups), UINT32_MAX) << groups;
  }
  write("cpu.max", "");
  EXPECT_EQ(cores("0::/"), UINT32_MAX);
  write("cpu.max", "0 0");
  EXPECT_EQ(cores("0::/"), UINT32_MAX);
}

TEST(UsableCores, are_those_that_this_process_may_be_scheduled_on_at_most) {
  EXPECT_GE(usable_cores(), 1u);
  EXPECT_LE(usable_cores(), static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace
}  // namespace gd2fs
