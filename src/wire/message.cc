#include "wire/message.h"

namespace gd2fs {
namespace {
constexpr size_t kErrorTextMaxBytes = 4096;
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
