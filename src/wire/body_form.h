// BodyForm: the body of a message that is sent again and again, always with the same fields: it is
// made once, and then only its numbers change. What FlatBuffers needs to lay a small table out, and
// to verify one, is a tenth of what a small request costs.
//
// Made of a body that has every field, also those with their default (ForceDefaults). One thread.
#pragma once

#include <array>
#include <vector>

#include "base/check.h"
#include "wire/message.h"

namespace gd2fs {

template <class Table>
class BodyForm {
 public:
  // Two such bodies, one with 0 in every number and one with all bits set.
  BodyForm(ConstBytes zeros, ConstBytes ones) : body_(zeros.begin(), zeros.end()) {
    CHECK(zeros.size() == ones.size() && zeros.size() % 8 == 0);
    CHECK(open_body<Table>(body_) != nullptr);
    table_ = flatbuffers::GetMutableRoot<flatbuffers::Table>(body_.data());
    for (size_t i = 0; i < kFieldsMax; ++i) {
      const uint8_t* const place = table_->GetAddressOf(field_number(i));
      places_[i] = place == nullptr ? 0 : static_cast<uint32_t>(offset_of(place));
    }
    for (size_t at = 0; at < body_.size(); at += 8) {
      layout_bits_.push_back(~(word(zeros, at) ^ word(ones, at)));
    }
  }
  BodyForm(const BodyForm&) = delete;
  BodyForm& operator=(const BodyForm&) = delete;

  // `field` as in Table::VT_HANDLE, with the type that it has in messages.fbs.
  template <class T>
  void set(flatbuffers::voffset_t field, T value) {
    const size_t index = (field - field_number(0)) / 2;
    CHECK(index < kFieldsMax && places_[index] != 0);
    flatbuffers::WriteScalar(body_.data() + places_[index], value);
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

  // As open_body() of any bytes. What differs from this form in numbers only is not verified once
  // more: it is the layout that is verified, and that is ours.
  const Table* open(ConstBytes body) const {
    return is_laid_out_so(body) ? flatbuffers::GetRoot<Table>(body.data()) : open_body<Table>(body);
  }

 private:
  static constexpr size_t kFieldsMax = 24;
  // As FlatBuffers numbers them: by where their vtable tells of them.
  static constexpr flatbuffers::voffset_t field_number(size_t index) {
    return static_cast<flatbuffers::voffset_t>(4 + 2 * index);
  }
  size_t offset_of(const uint8_t* place) const {
    return static_cast<size_t>(place - reinterpret_cast<const uint8_t*>(body_.data()));
  }
  static uint64_t word(ConstBytes bytes, size_t at) { return load_le<uint64_t>(bytes.data() + at); }
  bool is_laid_out_so(ConstBytes body) const {
    if (body.size() != body_.size()) return false;
    uint64_t other = 0;
    for (size_t i = 0; i < layout_bits_.size(); ++i) {
      other |= (word(body, 8 * i) ^ word(body_, 8 * i)) & layout_bits_[i];
    }
    return other == 0;
  }

  std::vector<std::byte> body_;
  std::vector<uint64_t> layout_bits_;  // those of body_ that are no number
  flatbuffers::Table* table_ = nullptr;
  std::array<uint32_t, kFieldsMax> places_{};  // of its fields, in body_; 0: there is no such field
};

// Of the messages that small reads consist of: whoever sends one fills it in, and whoever gets one
// opens it by it.
BodyForm<msg::Read> read_form();             // of one piece
BodyForm<msg::ReadReply> read_reply_form();  // without holes

}  // namespace gd2fs
