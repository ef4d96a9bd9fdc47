// Message: building and opening the FlatBuffers bodies of messages.fbs.
//
// To build: fill a flatbuffers::FlatBufferBuilder and finish_body(), or fill the generated object
// (msg::ReadT) and pack_body(). To open: open_body<msg::Read>(bytes) verifies every offset before
// anything is read and answers nullptr for bytes that are not such a table; the result points into
// the bytes, which must be 8-byte aligned (the fabric sees to that) and outlive it.
// A field that is absent reads as 0 or nullptr: check pointers. Any thread.
#pragma once

#include <vector>

#include <flatbuffers/flatbuffers.h>

#include "base/bytes.h"
#include "base/status.h"
#include "wire/frame.h"
#include "wire/messages_generated.h"

namespace gd2fs {

inline constexpr uint32_t kBodyDepthMax = 16;
inline constexpr uint32_t kBodyTablesMax = 65536;

// What FlatBuffers' verifier lets through and we do not, of a verified table of this type:
// - a vector of 8-byte elements that begins at no multiple of 8: to load them from there is
//   undefined;
// - strings and vectors that add up to more than the body, because many fields name the same bytes,
//   which no honest peer does: whoever unpacks or copies them would need gigabytes.
bool is_laid_out_honestly(const flatbuffers::Table& table, const flatbuffers::TypeTable& type,
                          size_t body_bytes);

// nullptr: malformed. `body` begins at a multiple of 8, as every allocation does.
template <class Table>
const Table* open_body(ConstBytes body) {
  // Under 8 bytes nothing is a table; over the limit the verifier would assert.
  if (body.size() < 8 || body.size() > kFrameBodyMaxBytes) return nullptr;
  const auto* data = reinterpret_cast<const uint8_t*>(body.data());
  flatbuffers::Verifier::Options limits;
  limits.max_depth = kBodyDepthMax;
  limits.max_tables = kBodyTablesMax;
  flatbuffers::Verifier verifier(data, body.size(), limits);
  if (!verifier.VerifyBuffer<Table>(nullptr)) return nullptr;
  const Table* const table = flatbuffers::GetRoot<Table>(data);
  const auto& plain = *reinterpret_cast<const flatbuffers::Table*>(table);
  return is_laid_out_honestly(plain, *Table::MiniReflectTypeTable(), body.size()) ? table : nullptr;
}

// The finished bytes; they live in the builder.
template <class Table>
ConstBytes finish_body(flatbuffers::FlatBufferBuilder& builder, flatbuffers::Offset<Table> root) {
  builder.Finish(root);
  return as_bytes(builder.GetBufferPointer(), builder.GetSize());
}

// From a generated object: pack_body(msg::LookupT{...}).
template <class Object>
std::vector<std::byte> pack_body(const Object& object) {
  flatbuffers::FlatBufferBuilder builder(256);
  const ConstBytes body = finish_body(builder, Object::TableType::Pack(builder, &object));
  return {body.begin(), body.end()};
}

// The bytes of a [ubyte] field; empty if absent.
inline ConstBytes bytes_of(const flatbuffers::Vector<uint8_t>* field) {
  return field == nullptr ? ConstBytes() : as_bytes(field->data(), field->size());
}
inline std::string_view text_of(const flatbuffers::String* field) {
  return field == nullptr ? std::string_view() : std::string_view(field->c_str(), field->size());
}

// A failure as the body of a reply of Type::error, and back. A peer of a newer version may send a
// code that we do not know: it becomes io, with the peer's number in the text. Never ok.
std::vector<std::byte> pack_error(const Status& status, std::span<const uint64_t> done = {});
Status status_from_error(const msg::Error& error);
// The same from unverified bytes; invalid if they are no Error.
Status open_error(ConstBytes body);

}  // namespace gd2fs
