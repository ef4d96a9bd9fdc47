#include "wire/message.h"

#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "base/random.h"

namespace gd2fs {
namespace {

TEST(Message, a_packed_body_opens_with_the_same_fields) {
  msg::LookupT lookup;
  lookup.path = "/kv/97f1226c";
  lookup.create_if_missing = true;
  const auto body = pack_body(lookup);
  const auto* back = open_body<msg::Lookup>(body);
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(text_of(back->path()), "/kv/97f1226c");
  EXPECT_TRUE(back->create_if_missing());
  EXPECT_EQ(back->tag(), nullptr);
}

TEST(Message, a_cut_off_body_is_refused_unless_only_padding_is_missing) {
  msg::ReaddirReplyT reply;
  for (int i = 0; i < 20; ++i) {
    reply.entries.push_back(std::make_unique<msg::DirEntryT>());
    reply.entries.back()->name = "name" + std::to_string(i);
  }
  const auto body = pack_body(reply);
  for (size_t length = 0; length < body.size(); ++length) {
    const std::vector<std::byte> cut(body.begin(), body.begin() + static_cast<ptrdiff_t>(length));
    const auto* back = open_body<msg::ReaddirReply>(cut);
    if (back == nullptr) continue;
    EXPECT_GT(length + 8, body.size());
    EXPECT_EQ(text_of(back->entries()->Get(0)->name()), "name0");
  }
}

// Found by message_fuzz: the elements would be loaded from an address that is no multiple of 8.
TEST(Message,
     a_vector_of_eight_byte_elements_that_does_not_begin_at_a_multiple_of_eight_is_refused) {
  msg::ErrorT error;
  error.done = {1, 2};
  std::vector<std::byte> packed = pack_body(error);
  ASSERT_NE(open_body<msg::Error>(packed), nullptr);
  // The same body, four bytes further on.
  alignas(8) std::byte shifted[256] = {};
  ASSERT_LE(packed.size() + 4, sizeof shifted);
  std::ranges::copy(packed, shifted + 4);
  EXPECT_EQ(open_body<msg::Error>(ConstBytes(shifted + 4, packed.size())), nullptr);
}

// Unpacked they would be 16 GB.
TEST(Message, strings_that_add_up_to_more_than_the_body_are_refused) {
  const auto lines_of = [](size_t lines, bool same) {
    flatbuffers::FlatBufferBuilder builder;
    std::vector<flatbuffers::Offset<flatbuffers::String>> texts;
    for (size_t i = 0; i < lines; ++i) {
      const bool again = same && i > 0;
      texts.push_back(again ? texts[0] : builder.CreateString(std::string(200'000, 'x')));
    }
    const auto body =
        finish_body(builder, msg::CreateMetaLoad(builder, builder.CreateVector(texts)));
    return std::vector<std::byte>(body.begin(), body.end());
  };
  EXPECT_NE(open_body<msg::MetaLoad>(lines_of(4, false)), nullptr);
  EXPECT_EQ(open_body<msg::MetaLoad>(lines_of(4, true)), nullptr);
  EXPECT_EQ(open_body<msg::MetaLoad>(lines_of(80'000, true)), nullptr);
}

TEST(Message, tables_that_name_one_string_over_and_over_are_refused) {
  const auto counters_of = [](size_t counters) {
    flatbuffers::FlatBufferBuilder builder;
    const auto name = builder.CreateString(std::string(100'000, 'x'));
    std::vector<flatbuffers::Offset<msg::Counter>> all;
    for (size_t i = 0; i < counters; ++i) all.push_back(msg::CreateCounter(builder, name, 1.0));
    const auto body =
        finish_body(builder, msg::CreateServerStatusReply(builder, builder.CreateVector(all)));
    return std::vector<std::byte>(body.begin(), body.end());
  };
  EXPECT_NE(open_body<msg::ServerStatusReply>(counters_of(1)), nullptr);
  EXPECT_EQ(open_body<msg::ServerStatusReply>(counters_of(2)), nullptr);
}

TEST(Message, more_tables_than_the_limit_are_refused) {
  flatbuffers::FlatBufferBuilder builder;
  const auto entry = msg::CreateDirEntry(builder);
  const std::vector<flatbuffers::Offset<msg::DirEntry>> same(kBodyTablesMax + 1, entry);
  const auto entries = builder.CreateVector(same);
  const auto body = finish_body(builder, msg::CreateReaddirReply(builder, entries));
  ASSERT_LE(body.size(), kFrameBodyMaxBytes);
  EXPECT_EQ(open_body<msg::ReaddirReply>(body), nullptr);
}

TEST(Message, a_status_crosses_as_an_error_body_with_code_errno_and_text) {
  const Status status(StatusCode::no_space, "cluster kv: quota of 10 GiB", EDQUOT);
  const Status back = open_error(pack_error(status));
  EXPECT_EQ(back, status);
  EXPECT_EQ(back.text(), status.text());
}

TEST(Message, an_error_body_never_becomes_ok) {
  msg::ErrorT error;
  error.code = 0;
  EXPECT_TRUE(open_error(pack_body(error)).is(StatusCode::io));
  error.code = 200;
  error.text = "from the future";
  EXPECT_TRUE(open_error(pack_body(error)).is(StatusCode::io));
  const std::vector<std::byte> junk(40, std::byte{0xFF});
  EXPECT_TRUE(open_error(junk).is(StatusCode::invalid));
}

}  // namespace
}  // namespace gd2fs
