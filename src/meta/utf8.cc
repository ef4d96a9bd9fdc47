#include "meta/utf8.h"

namespace gd2fs {

bool is_utf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const auto first = static_cast<unsigned char>(bytes[i]);
    size_t more = 0;
    uint32_t code_point = 0;
    uint32_t least = 0;
    if (first < 0x80) {
      ++i;
      continue;
    }
    if (first >= 0xc0 && first < 0xe0) {
      more = 1;
      code_point = first & 0x1f;
      least = 0x80;
    } else if (first >= 0xe0 && first < 0xf0) {
      more = 2;
      code_point = first & 0x0f;
      least = 0x800;
    } else if (first >= 0xf0 && first < 0xf8) {
      more = 3;
      code_point = first & 0x07;
      least = 0x10000;
    } else {
      return false;
    }
    if (bytes.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code_point = code_point << 6 | (next & 0x3f);
    }
    const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
    if (code_point < least || surrogate || code_point > 0x10ffff) return false;
    i += more + 1;
  }
  return true;
}

void append_utf8(std::string* out, uint32_t code_point) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3f));
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
}

}  // namespace gd2fs
