// BodyForm: the body of a message that is sent again and again, always with the same fields: it is
// made once, and then only its numbers change. What FlatBuffers needs to lay a small table out is a
// tenth of what a small request costs.
//
// Made of a body that has every field, also those with their default (ForceDefaults). One thread.
#pragma once

#include <vector>

#include "base/check.h"
#include "wire/message.h"

namespace gd2fs {

template <class Table>
class BodyForm {
 public:
  explicit BodyForm(ConstBytes body) : body_(body.begin(), body.end()) {
    CHECK(open_body<Table>(body_) != nullptr);
    table_ = flatbuffers::GetMutableRoot<flatbuffers::Table>(body_.data());
  }
  BodyForm(const BodyForm&) = delete;
  BodyForm& operator=(const BodyForm&) = delete;

  // `field` as in Table::VT_HANDLE, with the type that it has in messages.fbs.
  template <class T>
  void set(flatbuffers::voffset_t field, T value) {
    uint8_t* const place = table_->GetAddressOf(field);
    CHECK(place != nullptr);
    flatbuffers::WriteScalar(place, value);
  }
  // An element of a vector of structs.
  template <class Struct>
  void set(flatbuffers::voffset_t vector, flatbuffers::uoffset_t index, const Struct& value) {
    auto* const elements = table_->GetPointer<flatbuffers::Vector<const Struct*>*>(vector);
    CHECK(elements != nullptr && index < elements->size());
    std::memcpy(elements->Data() + index * sizeof value, &value, sizeof value);
  }
  // As it is now; valid until it is set anew.
  ConstBytes bytes() const { return body_; }

 private:
  std::vector<std::byte> body_;
  flatbuffers::Table* table_ = nullptr;
};

}  // namespace gd2fs
