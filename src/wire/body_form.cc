#include "wire/body_form.h"

namespace gd2fs {
namespace {

// `add_body` with 0 in every number, and with ones.
template <class Table, class AddBody>
BodyForm<Table> form_of(AddBody add_body) {
  flatbuffers::FlatBufferBuilder zeros(256);
  flatbuffers::FlatBufferBuilder ones(256);
  zeros.ForceDefaults(true);
  ones.ForceDefaults(true);
  return BodyForm<Table>(finish_body(zeros, add_body(zeros, uint64_t{0})),
                         finish_body(ones, add_body(ones, UINT64_MAX)));
}

}  // namespace

BodyForm<msg::Read> read_form() {
  return form_of<msg::Read>([](flatbuffers::FlatBufferBuilder& builder, uint64_t number) {
    const auto small = static_cast<uint32_t>(number);
    const msg::ReadPiece piece(number, small, small, small, small);
    const auto pieces = builder.CreateVectorOfStructs(&piece, 1);
    const bool flag = number != 0;
    return msg::CreateRead(builder, small, number, number, small, number, pieces, flag, flag, flag);
  });
}

BodyForm<msg::ReadReply> read_reply_form() {
  return form_of<msg::ReadReply>([](flatbuffers::FlatBufferBuilder& builder, uint64_t number) {
    return msg::CreateReadReply(builder, 0, number, number);
  });
}

}  // namespace gd2fs
