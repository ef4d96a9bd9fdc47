#include "meta/json_line.h"

#include <charconv>
#include <limits>

#include "meta/utf8.h"

namespace gd2fs {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out.push_back(kHexDigits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kHexDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> from_hex(std::string_view hex) {
  std::string out;
  if (hex.size() % 2 != 0) return fail(StatusCode::invalid, "odd number of hex digits");
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = hex_value(hex[i]);
    const int low = hex_value(hex[i + 1]);
    if (high < 0 || low < 0) return fail(StatusCode::invalid, "not hex");
    out.push_back(static_cast<char>(high << 4 | low));
  }
  return out;
}

void append_quoted(std::string* out, std::string_view text) {
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      *out += "\\u00";
      out->push_back(kHexDigits[static_cast<unsigned char>(c) >> 4]);
      out->push_back(kHexDigits[static_cast<unsigned char>(c) & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

Status bad_field(std::string_view name, std::string_view why) {
  return {StatusCode::invalid, "field " + std::string(name) + " " + std::string(why)};
}

}  // namespace

// Recursive descent without the recursion: the object is flat.
class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Result<JsonLine> object() {
    JsonLine line;
    GD2FS_TRY(expect('{'));
    if (!take('}')) {
      for (;;) {
        GD2FS_ASSIGN(JsonLine::Field field, one_field());
        if (line.has(field.name)) return fail(bad("a field twice"));
        if (line.fields_.size() == JsonLine::kFieldsMax) return fail(bad("too many fields"));
        line.fields_.push_back(std::move(field));
        if (take('}')) break;
        GD2FS_TRY(expect(','));
      }
    }
    skip_space();
    if (at_ != text_.size()) return fail(bad("something behind the object"));
    return line;
  }

 private:
  Status bad(std::string_view what) const {
    return {StatusCode::invalid, std::string(what) + " at byte " + std::to_string(at_)};
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Status expect(char c) { return take(c) ? Status() : bad(std::string("missing ") + c); }

  Result<JsonLine::Field> one_field() {
    JsonLine::Field field;
    GD2FS_ASSIGN(field.name, string());
    GD2FS_TRY(expect(':'));
    skip_space();
    field.quoted = at_ < text_.size() && text_[at_] == '"';
    if (field.quoted) {
      GD2FS_ASSIGN(field.value, string());
      return field;
    }
    const size_t begin = at_;
    while (at_ < text_.size() && (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9') ||
                                  (text_[at_] >= 'a' && text_[at_] <= 'z'))) {
      ++at_;
    }
    field.value = text_.substr(begin, at_ - begin);
    if (field.value.empty()) return fail(bad("missing value"));
    return field;
  }

  Result<std::string> string() {
    GD2FS_TRY(expect('"'));
    std::string out;
    for (;;) {
      if (at_ == text_.size()) return fail(bad("string without end"));
      const char c = text_[at_++];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) return fail(bad("control character"));
      if (c != '\\') {
        out.push_back(c);
        continue;
      }
      GD2FS_TRY(escape(&out));
    }
    if (!is_utf8(out)) return fail(bad("string is not UTF-8"));
    return out;
  }

  Status escape(std::string* out) {
    if (at_ == text_.size()) return bad("string without end");
    static constexpr std::string_view kShort = "\"\\/bfnrt";
    static constexpr std::string_view kMeans = "\"\\/\b\f\n\r\t";
    const char c = text_[at_++];
    if (const size_t i = kShort.find(c); i != std::string_view::npos) {
      out->push_back(kMeans[i]);
      return {};
    }
    if (c != 'u') return bad("unknown escape");
    uint32_t unit = 0;
    GD2FS_TRY(four_digits(&unit));
    if (unit >= 0xdc00 && unit < 0xe000) return bad("half a surrogate pair");
    if (unit >= 0xd800 && unit < 0xdc00) {
      uint32_t low = 0;
      if (text_.substr(at_, 2) != "\\u") return bad("half a surrogate pair");
      at_ += 2;
      GD2FS_TRY(four_digits(&low));
      if (low < 0xdc00 || low >= 0xe000) return bad("half a surrogate pair");
      unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, unit);
    return {};
  }

  Status four_digits(uint32_t* unit) {
    if (text_.size() - at_ < 4) return bad("short escape");
    for (int i = 0; i < 4; ++i) {
      const int digit = hex_value(text_[at_++]);
      if (digit < 0) return bad("bad escape");
      *unit = *unit << 4 | static_cast<uint32_t>(digit);
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
};

Result<JsonLine> JsonLine::parse(std::string_view line) {
  if (line.size() > kLineMaxBytes) return fail(StatusCode::invalid, "line too long");
  return JsonParser(line).object();
}

std::string JsonLine::text() const {
  std::string out = "{";
  for (const Field& field : fields_) {
    if (out.size() > 1) out.push_back(',');
    append_quoted(&out, field.name);
    out.push_back(':');
    if (field.quoted) {
      append_quoted(&out, field.value);
    } else {
      out += field.value;
    }
  }
  out.push_back('}');
  return out;
}

void JsonLine::add_u64(std::string_view name, uint64_t value) {
  fields_.push_back({std::string(name), std::to_string(value), false});
}

void JsonLine::add_i64(std::string_view name, int64_t value) {
  fields_.push_back({std::string(name), std::to_string(value), false});
}

void JsonLine::add_bool(std::string_view name, bool value) {
  fields_.push_back({std::string(name), value ? "true" : "false", false});
}

void JsonLine::add_bytes(std::string_view name, std::string_view value) {
  if (is_utf8(value)) {
    fields_.push_back({std::string(name), std::string(value), true});
  } else {
    fields_.push_back({std::string(name) + "_hex", to_hex(value), true});
  }
}

const JsonLine::Field* JsonLine::find(std::string_view name) const {
  for (const Field& field : fields_) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

template <class T>
static Result<T> number(std::string_view name, std::string_view text, bool quoted) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (quoted || error != std::errc() || end != text.data() + text.size()) {
    return fail(bad_field(name, "is no number in range"));
  }
  return value;
}

Result<uint64_t> JsonLine::u64(std::string_view name, uint64_t max) const {
  const Field* field = find(name);
  if (field == nullptr) return fail(bad_field(name, "is missing"));
  GD2FS_ASSIGN(const uint64_t value, number<uint64_t>(name, field->value, field->quoted));
  if (value > max) return fail(bad_field(name, "is no number in range"));
  return value;
}

Result<int64_t> JsonLine::i64(std::string_view name) const {
  const Field* field = find(name);
  if (field == nullptr) return fail(bad_field(name, "is missing"));
  return number<int64_t>(name, field->value, field->quoted);
}

Result<bool> JsonLine::boolean(std::string_view name) const {
  const Field* field = find(name);
  if (field == nullptr) return fail(bad_field(name, "is missing"));
  if (field->quoted || (field->value != "true" && field->value != "false")) {
    return fail(bad_field(name, "is neither true nor false"));
  }
  return field->value == "true";
}

Result<std::string> JsonLine::bytes(std::string_view name) const {
  if (const Field* field = find(name); field != nullptr) {
    if (!field->quoted) return fail(bad_field(name, "is no string"));
    return field->value;
  }
  const Field* hex = find(std::string(name) + "_hex");
  if (hex == nullptr) return fail(bad_field(name, "is missing"));
  if (!hex->quoted) return fail(bad_field(hex->name, "is no string"));
  auto value = from_hex(hex->value);
  if (!value) return fail(value.error().with(hex->name));
  return value;
}

}  // namespace gd2fs
