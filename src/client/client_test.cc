// The client's reads, writes and advice against a cluster in memory, over the simulated network.
#include <algorithm>

#include "client/client_fixture.h"

namespace gd2fs::client {
namespace {

TEST_F(ClientTest, what_was_written_is_read_back_over_many_chunks_at_odd_offsets) {
  connect();
  const auto bytes = random_bytes(20 * kChunk + 12345);
  const auto written = write("/a", 777, bytes);
  ASSERT_TRUE(written->request.status.ok()) << written->request.status.to_string();
  EXPECT_EQ(written->request.value, bytes.size());
  EXPECT_EQ(cluster_.files["/a"].size_bytes, 777 + bytes.size());
  const auto back = read("/a", 777, bytes.size());
  ASSERT_TRUE(back->request.status.ok()) << back->request.status.to_string();
  EXPECT_EQ(back->request.value, bytes.size());
  EXPECT_EQ(back->memory, bytes);
}

TEST_F(ClientTest, a_read_over_several_segments_fills_them_in_order) {
  connect();
  const auto bytes = random_bytes(3 * kChunk);
  (void)write("/a", 0, bytes);
  auto asked = ask(Op::read, "/a");
  asked->memory.assign(bytes.size(), std::byte{0});
  // Backwards in memory: the first third of the file into the last third of the buffer.
  for (int part = 2; part >= 0; --part) {
    asked->request.memory.add(asked->memory.data() + static_cast<size_t>(part) * kChunk, kChunk);
  }
  client_.submit(asked->request);
  finish(*asked);
  ASSERT_EQ(asked->request.value, bytes.size());
  for (size_t part = 0; part < 3; ++part) {
    EXPECT_TRUE(std::equal(bytes.begin() + static_cast<long>(part * kChunk),
                           bytes.begin() + static_cast<long>((part + 1) * kChunk),
                           asked->memory.begin() + static_cast<long>((2 - part) * kChunk)));
  }
}

TEST_F(ClientTest, a_read_ends_at_the_end_of_the_file_and_leaves_the_rest_of_the_buffer_alone) {
  connect();
  (void)write("/a", 0, random_bytes(1000));
  const auto asked = read("/a", 900, 500);
  EXPECT_TRUE(asked->request.status.ok());
  EXPECT_EQ(asked->request.value, 100u);
  EXPECT_EQ(asked->memory[100], std::byte{0xee});
  EXPECT_EQ(read("/a", 5000, 10)->request.value, 0u);
}

TEST_F(ClientTest, a_read_that_goes_on_where_the_last_one_ended_is_a_stream) {
  connect();
  cluster_.make("/a", 64 * kChunk);
  const auto all_are = [&](bool stream, uint64_t offset, size_t length) {
    cluster_.streams.clear();
    EXPECT_TRUE(read("/a", offset, length)->request.status.ok());
    return !cluster_.streams.empty() && std::ranges::count(cluster_.streams, !stream) == 0;
  };
  EXPECT_TRUE(all_are(false, 0, 16 * kChunk));
  EXPECT_TRUE(all_are(true, 16 * kChunk, 16 * kChunk));
  EXPECT_TRUE(all_are(true, 32 * kChunk, 100));
  EXPECT_TRUE(all_are(false, 40 * kChunk, 16 * kChunk));
  EXPECT_TRUE(all_are(false, 40 * kChunk, 100));
  EXPECT_TRUE(all_are(false, 0, 100));
}

TEST_F(ClientTest, a_long_read_that_is_no_stream_says_in_each_message_what_follows) {
  connect();
  cluster_.make("/a", 80 << 20);
  EXPECT_TRUE(read("/a", 0, 100)->request.status.ok());
  EXPECT_TRUE(read("/a", 0, 20 << 20)->request.status.ok());
  EXPECT_TRUE(cluster_.follows.empty());
  EXPECT_TRUE(read("/a", 0, 36 << 20)->request.status.ok());
  std::ranges::sort(cluster_.follows);
  EXPECT_EQ(cluster_.follows, (std::vector<uint64_t>{0, 4 << 20, 12 << 20, 20 << 20, 28 << 20}));
  cluster_.follows.clear();
  EXPECT_TRUE(read("/a", 36 << 20, 36 << 20)->request.status.ok());  // goes on where that ended
  EXPECT_TRUE(cluster_.follows.empty());
}

TEST_F(ClientTest, holes_read_as_zeros) {
  connect();
  cluster_.make("/hole", 3 * kChunk);
  const auto asked = read("/hole", 5, 2 * kChunk);
  EXPECT_EQ(asked->request.value, 2 * kChunk);
  EXPECT_TRUE(std::all_of(asked->memory.begin(), asked->memory.end(),
                          [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(ClientTest, a_read_that_would_come_out_short_by_a_cached_size_asks_the_controller_first) {
  connect();
  (void)write("/a", 0, random_bytes(100));
  (void)read("/a", 0, 100);
  // Another client extends the file: same generation, longer.
  MemoryCluster::File& file = cluster_.files["/a"];
  file.chunks[0].resize(200, std::byte{7});
  file.size_bytes = file.reserved_bytes = 200;
  const auto asked = read("/a", 0, 200);
  EXPECT_EQ(asked->request.value, 200u);
  EXPECT_EQ(asked->memory[150], std::byte{7});
  // Within the known size nobody is asked.
  const int before = cluster_.asked[msg::Type::lookup];
  (void)read("/a", 0, 200);
  EXPECT_EQ(cluster_.asked[msg::Type::lookup], before);
}

TEST_F(ClientTest, a_missing_file_is_enoent_and_not_remembered) {
  connect();
  const auto missing = read("/later", 0, 10);
  EXPECT_EQ(missing->request.status.code(), StatusCode::not_found);
  EXPECT_EQ(missing->request.origin, Origin::controller);
  cluster_.make("/later", 10);
  EXPECT_EQ(read("/later", 0, 10)->request.value, 10u);
}

TEST_F(ClientTest, a_write_creates_the_file_and_its_size_follows_the_bytes) {
  connect();
  (void)write("/new", 10 * kChunk, random_bytes(5));
  ASSERT_TRUE(cluster_.files.contains("/new"));
  EXPECT_EQ(cluster_.sizes_asked, std::vector<uint64_t>{10 * kChunk + 5});
  // Inside the size neither a reservation nor a size is asked for.
  const int reserves = cluster_.asked[msg::Type::reserve];
  (void)write("/new", 0, random_bytes(50));
  EXPECT_EQ(cluster_.asked[msg::Type::reserve], reserves);
  EXPECT_EQ(cluster_.sizes_asked.size(), 1u);
}

TEST_F(ClientTest, a_thousand_small_reads_of_one_file_share_one_lookup) {
  connect();
  cluster_.make("/a", 4 * kChunk);
  std::vector<std::unique_ptr<Asked>> all;
  for (uint64_t i = 0; i < 2000; ++i) all.push_back(start_read("/a", i * 100, 64));
  for (auto& asked : all) {
    finish(*asked);
    EXPECT_EQ(asked->request.value, 64u);
  }
  EXPECT_EQ(cluster_.asked[msg::Type::lookup], 1);
}

TEST_F(ClientTest, advice_moves_no_bytes_and_counts_those_in_memory) {
  connect();
  cluster_.make("/a", 300 * kChunk + 5);
  const auto advise = [&](Advice advice, uint64_t offset, uint64_t length) {
    auto asked = ask(Op::advise, "/a");
    asked->request.advice = advice;
    asked->request.offset = offset;
    asked->request.advice_bytes = length;
    client_.submit(asked->request);
    finish(*asked);
    EXPECT_TRUE(asked->request.status.ok()) << asked->request.status.to_string();
    return asked->request.value;
  };
  EXPECT_EQ(advise(Advice::query, 0, 0), 0u);
  EXPECT_EQ(advise(Advice::prefetch, 0, 2 * kChunk), 2 * kChunk);
  EXPECT_EQ(advise(Advice::query, 0, 0), 2 * kChunk);
  EXPECT_EQ(advise(Advice::prefetch, 0, 0), 300 * kChunk + 5);
  EXPECT_EQ(advise(Advice::query, 300 * kChunk, 100), 5u);
  EXPECT_EQ(advise(Advice::query, 301 * kChunk, 0), 0u);
  interfere(msg::Type::residency, 1, Status(StatusCode::stale));
  EXPECT_EQ(advise(Advice::query, 0, 0), 300 * kChunk + 5);
  EXPECT_EQ(advise(Advice::drop, 0, 0), 0u);
  EXPECT_EQ(advise(Advice::query, 0, 0), 0u);
}

}  // namespace
}  // namespace gd2fs::client
