// Huge pages for staging memory that is written much.
#include "fabric/huge_page_taker.h"

#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <sys/uio.h>

#include "base/huge_map.h"
#include "fabric/shm_fixture.h"
#include "fabric/shm_session.h"

namespace gd2fs {
namespace {

// Of such memory in all page tables of this process.
uint64_t bytes_in_huge_pages(const std::string& memory) {
  std::ifstream smaps("/proc/self/smaps");
  uint64_t kib = 0;
  bool is_it = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream fields(line);
    std::string name;
    uint64_t value = 0;
    fields >> name >> value;
    if (!name.ends_with(':')) is_it = line.find("memfd:" + memory) != std::string::npos;
    if (is_it && (name == "ShmemPmdMapped:" || name == "FilePmdMapped:")) kib += value;
  }
  return kib * kKiB;
}

// The process is server and client, so each page counts twice.
uint64_t staging_bytes_in_huge_pages() {
  return bytes_in_huge_pages("gd2fs-staging");
}

bool system_makes_huge_pages_in_place() {
  const auto memory = make_shared_memory("gd2fs-scratch", kHugePageBytes);
  const auto mapped =
      SharedMapping::map(memory->fd(), kHugePageBytes, SharedMapping::Access::read_write);
  return take_huge_page(mapped->data()) == 0;  // since Linux 6.1
}

TEST_F(ShmWorld, staging_memory_gets_huge_pages_once_a_client_writes_much) {
  ASSERT_NO_FATAL_FAILURE(join());
  const auto write = [&](size_t size) {
    std::vector<std::byte> source = random_bytes(random, size);
    std::vector<std::byte> target(size);
    Window window;
    const uint64_t id = request(window, Window::Direction::source, source);
    PullFlag pull(id, 0, target);
    server().session->pull(pull);
    ASSERT_TRUE(until([&] { return pull.finished; }));
    EXPECT_TRUE(pull.status.ok()) << pull.status.to_string();
    EXPECT_TRUE(target == source);
    Flag flag;
    client.session->withdraw(window, flag.done);
    ASSERT_TRUE(until([&] { return flag.finished; }));
  };
  constexpr size_t kLittle = ShmServerSession::kHugePagesFromBytes / 2;
  for (int i = 0; i < 4; ++i) ASSERT_NO_FATAL_FAILURE(write(kLittle));
  if (!system_makes_huge_pages_in_place()) GTEST_SKIP() << "the system cannot";
  EXPECT_EQ(staging_bytes_in_huge_pages(), 0u);
  // While pages change under them, bytes stay right.
  for (int i = 0; i < 8; ++i) ASSERT_NO_FATAL_FAILURE(write(4 * kMiB));
  EXPECT_TRUE(until([] { return staging_bytes_in_huge_pages() >= 4 * kMiB; }));
  // No page is taken that no write has used; each counts once on either side.
  EXPECT_LE(staging_bytes_in_huge_pages(), 2 * 4 * kMiB);
  for (int i = 0; i < 8; ++i) ASSERT_NO_FATAL_FAILURE(write(2 * kStagingBytes));
  EXPECT_TRUE(until([] { return staging_bytes_in_huge_pages() > kStagingBytes; }));
}

TEST_F(ShmWorld, a_page_that_is_held_for_a_moment_is_tried_again) {
  if (!system_makes_huge_pages_in_place()) GTEST_SKIP() << "the system cannot";
  const auto fd = make_shared_memory("gd2fs-held", kHugePageBytes);
  const auto memory = std::make_shared<const SharedMapping>(
      *SharedMapping::map(fd->fd(), kHugePageBytes, SharedMapping::Access::read_write));
  std::memset(memory->data(), 1, 4096);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Descriptor out(ends[0]);
  const Descriptor in(ends[1]);
  const iovec held{memory->data(), 4096};
  ASSERT_EQ(vmsplice(in.fd(), &held, 1, 0), 4096);  // the pipe has the page itself
  HugePageTaker taker;
  taker.take(memory, 0);
  ASSERT_TRUE(until([&] { return taker.refusals() > 0; }));
  EXPECT_EQ(bytes_in_huge_pages("gd2fs-held"), 0u);
  std::vector<std::byte> read_back(4096);
  ASSERT_EQ(read(out.fd(), read_back.data(), 4096), 4096);
  EXPECT_TRUE(until([] { return bytes_in_huge_pages("gd2fs-held") == kHugePageBytes; }));
}

}  // namespace
}  // namespace gd2fs
