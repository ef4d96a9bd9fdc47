#include "wire/body_form.h"

#include <gtest/gtest.h>

namespace gd2fs {
namespace {

std::vector<std::byte> copy_of(ConstBytes bytes) {
  return {bytes.begin(), bytes.end()};
}

// A body that a peer laid out by itself.
std::vector<std::byte> packed_read(size_t pieces) {
  msg::ReadT read;
  read.handle = 7;
  read.generation = 8;
  read.pieces.resize(pieces);
  return pack_body(read);
}

TEST(BodyForm, numbers_that_were_set_are_read_back_by_whoever_opens_the_bytes) {
  BodyForm<msg::Read> form = read_form();
  form.set(msg::Read::VT_HANDLE, uint32_t{3});
  form.set(msg::Read::VT_GENERATION, UINT64_MAX - 1);
  form.set(msg::Read::VT_PIECES, 0, msg::ReadPiece(1, 2, 3, 4, 0));
  form.set(msg::Read::VT_SEQUENTIAL, true);
  const std::vector<std::byte> sent = copy_of(form.bytes());
  const BodyForm<msg::Read> received = read_form();
  for (const msg::Read* read : {received.open(sent), open_body<msg::Read>(sent)}) {
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->handle(), 3u);
    EXPECT_EQ(read->generation(), UINT64_MAX - 1);
    ASSERT_EQ(read->pieces()->size(), 1u);
    EXPECT_EQ(read->pieces()->Get(0)->length_bytes(), 4u);
    EXPECT_TRUE(read->sequential());
    EXPECT_FALSE(read->lend());
  }
}

TEST(BodyForm, what_is_laid_out_in_another_way_is_opened_all_the_same) {
  const BodyForm<msg::Read> form = read_form();
  for (const size_t pieces : {size_t{0}, size_t{1}, size_t{3}}) {
    const std::vector<std::byte> body = packed_read(pieces);
    const msg::Read* const read = form.open(body);
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->handle(), 7u);
    EXPECT_EQ(read->generation(), 8u);
    EXPECT_EQ(read->pieces() == nullptr ? 0 : read->pieces()->size(), pieces);
  }
}

// Every bit that is turned over is one of a number, or the verifier is asked.
template <class Table>
void expect_right_with_any_bit_wrong(const BodyForm<Table>& form) {
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * form.bytes().size(); ++bit) {
    std::vector<std::byte> body = copy_of(form.bytes());
    body[bit / 8] ^= std::byte{1} << (bit % 8);
    const bool right = open_body<Table>(body) != nullptr;
    EXPECT_EQ(form.open(body) != nullptr, right) << "bit " << bit;
    refused += right ? 0 : 1;
  }
  EXPECT_GT(refused, 0u);
}

TEST(BodyForm, bytes_that_the_verifier_refuses_are_refused) {
  expect_right_with_any_bit_wrong(read_form());
  expect_right_with_any_bit_wrong(read_reply_form());
  const BodyForm<msg::Read> form = read_form();
  EXPECT_EQ(form.open({}), nullptr);
  EXPECT_EQ(form.open(form.bytes().first(form.bytes().size() - 8)), nullptr);
}

}  // namespace
}  // namespace gd2fs
