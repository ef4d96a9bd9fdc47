#include "wire/message.h"

#include <flatbuffers/minireflect.h>

namespace gd2fs {
namespace {

constexpr size_t kErrorTextMaxBytes = 4096;

// Goes through all that a table names. The verifier has bounded the depth and the number of visits
// to tables.
class LayoutCheck {
 public:
  explicit LayoutCheck(size_t body_bytes) : left_bytes_(body_bytes) {}

  bool table(const flatbuffers::Table& table, const flatbuffers::TypeTable& type) {
    for (size_t i = 0; i < type.num_elems; ++i) {
      const flatbuffers::TypeCode code = type.type_codes[i];
      const auto base = static_cast<flatbuffers::ElementaryType>(code.base_type);
      const bool is_number =
          code.is_repeating == 0 && code.sequence_ref < 0 && base != flatbuffers::ET_STRING;
      if (is_number) continue;  // it lies in the table itself
      const flatbuffers::TypeTable* named =
          code.sequence_ref >= 0 ? type.type_refs[code.sequence_ref]() : nullptr;
      const uint8_t* field =
          table.GetAddressOf(flatbuffers::FieldIndexToOffset(static_cast<uint16_t>(i)));
      if (field == nullptr) continue;
      const bool sound =
          code.is_repeating != 0 ? vector(field, base, named) : value(field, base, named);
      if (!sound) return false;
    }
    return true;
  }

 private:
  static bool is_table(flatbuffers::ElementaryType type, const flatbuffers::TypeTable* named) {
    return type == flatbuffers::ET_SEQUENCE && named->st == flatbuffers::ST_TABLE;
  }
  static const uint8_t* follow(const uint8_t* offset) {
    return offset + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(offset);
  }
  // Our structs hold 8-byte numbers, all of them.
  static bool is_wide(flatbuffers::ElementaryType type, const flatbuffers::TypeTable* named) {
    if (type == flatbuffers::ET_SEQUENCE) return named->st == flatbuffers::ST_STRUCT;
    return flatbuffers::InlineSize(type, named) == sizeof(uint64_t);
  }
  bool take(size_t bytes) {
    if (bytes > left_bytes_) return false;
    left_bytes_ -= bytes;
    return true;
  }
  bool value(const uint8_t* field, flatbuffers::ElementaryType type,
             const flatbuffers::TypeTable* named) {
    if (type == flatbuffers::ET_STRING) {
      return take(reinterpret_cast<const flatbuffers::String*>(follow(field))->size());
    }
    if (!is_table(type, named)) return true;
    return table(*reinterpret_cast<const flatbuffers::Table*>(follow(field)), *named);
  }
  bool vector(const uint8_t* field, flatbuffers::ElementaryType type,
              const flatbuffers::TypeTable* named) {
    const auto& all = *reinterpret_cast<const flatbuffers::Vector<uint8_t>*>(follow(field));
    const size_t element_bytes = flatbuffers::InlineSize(type, named);
    if (!take(all.size() * element_bytes)) return false;
    if (is_wide(type, named)) {
      return reinterpret_cast<uintptr_t>(all.Data()) % sizeof(uint64_t) == 0;
    }
    if (type != flatbuffers::ET_STRING && !is_table(type, named)) return true;
    for (size_t i = 0; i < all.size(); ++i) {
      if (!value(all.Data() + i * element_bytes, type, named)) return false;
    }
    return true;
  }

  size_t left_bytes_;
};

}  // namespace

bool is_laid_out_honestly(const flatbuffers::Table& table, const flatbuffers::TypeTable& type,
                          size_t body_bytes) {
  return LayoutCheck(body_bytes).table(table, type);
}

std::vector<std::byte> pack_error(const Status& status, std::span<const uint64_t> done) {
  flatbuffers::FlatBufferBuilder builder(256);
  const std::string_view text = status.text().substr(0, kErrorTextMaxBytes);
  const auto text_offset = builder.CreateString(text.data(), text.size());
  flatbuffers::Offset<flatbuffers::Vector<uint64_t>> done_offset;
  if (!done.empty()) done_offset = builder.CreateVector(done.data(), done.size());
  const ConstBytes body =
      finish_body(builder, msg::CreateError(builder, static_cast<uint8_t>(status.code()),
                                            static_cast<uint16_t>(status.errno_value()),
                                            text_offset, done_offset));
  return {body.begin(), body.end()};
}

Status status_from_error(const msg::Error& error) {
  const std::string text(text_of(error.text()).substr(0, kErrorTextMaxBytes));
  if (error.code() == 0 || error.code() >= kStatusCodes) {
    return {StatusCode::io, "peer's error " + std::to_string(error.code()) + ": " + text,
            error.errno_value()};
  }
  return {static_cast<StatusCode>(error.code()), text, error.errno_value()};
}

Status open_error(ConstBytes body) {
  const auto* error = open_body<msg::Error>(body);
  if (error == nullptr) return {StatusCode::invalid, "the peer's error reply is malformed"};
  return status_from_error(*error);
}

}  // namespace gd2fs
