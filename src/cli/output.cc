#include "cli/output.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"
#include "cli/json.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

// Columns of a terminal: every byte that does not continue a UTF-8 sequence counts.
size_t width(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return out;
}

Cell Cell::text(std::string value) {
  Cell cell;
  cell.shown_ = printable(value);
  cell.value_ = std::move(value);
  return cell;
}

Cell Cell::count(uint64_t value) {
  Cell cell;
  cell.value_ = value;
  cell.shown_ = std::to_string(value);
  cell.right_aligned_ = true;
  return cell;
}

Cell Cell::size(uint64_t bytes) {
  Cell cell;
  cell.value_ = bytes;
  cell.shown_ = readable_size(bytes);
  cell.right_aligned_ = true;
  return cell;
}

Cell Cell::time(uint64_t us) {
  Cell cell;
  cell.value_ = us;
  cell.shown_ = readable_time(us);
  return cell;
}

Cell Cell::yes_no(bool value) {
  Cell cell;
  cell.value_ = value;
  cell.shown_ = value ? "yes" : "no";
  return cell;
}

Cell Cell::real(double value, int decimals) {
  Cell cell;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  cell.value_ = value;
  cell.shown_ = text;
  cell.right_aligned_ = true;
  return cell;
}

void Table::add(std::vector<Cell> row) {
  CHECK(row.size() == columns_.size());
  rows_.push_back(std::move(row));
}

std::string Table::as_table() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t widest = width(columns_[i].heading);
    for (const auto& row : rows_) widest = std::max(widest, width(row[i].shown_));
    widths.push_back(widest);
  }
  std::string out;
  const auto line = [&](const auto& text_of, const auto& right) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& text = text_of(i);
      const std::string pad(widths[i] - width(text), ' ');
      const bool last = i + 1 == columns_.size();
      if (right(i)) {
        out += pad + text;
      } else {
        out += last ? text : text + pad;
      }
      out += last ? "\n" : "  ";
    }
  };
  const auto right_column = [&](size_t i) { return !rows_.empty() && rows_[0][i].right_aligned_; };
  line([&](size_t i) -> const std::string& { return columns_[i].heading; }, right_column);
  for (const auto& row : rows_) {
    line([&](size_t i) -> const std::string& { return row[i].shown_; },
         [&](size_t i) { return row[i].right_aligned_; });
  }
  return out;
}

std::string Table::as_record_lines() const {
  size_t widest = 0;
  for (const Column& column : columns_) widest = std::max(widest, width(column.heading));
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      const std::string& heading = columns_[i].heading;
      out += heading + std::string(widest - width(heading) + 2, ' ') + row[i].shown_ + "\n";
    }
  }
  return out;
}

namespace {
void write_cell(JsonWriter& json, const std::variant<std::string, uint64_t, double, bool>& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    json.string(*text);
  } else if (const auto* number = std::get_if<uint64_t>(&value)) {
    json.number(*number);
  } else if (const auto* real = std::get_if<double>(&value)) {
    json.real(*real);
  } else {
    json.boolean(std::get<bool>(value));
  }
}
}  // namespace

std::string Table::as_json() const {
  JsonWriter json;
  json.begin_list();
  for (const auto& row : rows_) {
    json.begin_object();
    for (size_t i = 0; i < columns_.size(); ++i) {
      json.key(columns_[i].name);
      write_cell(json, row[i].value_);
    }
    json.end_object();
  }
  json.end_list();
  return json.text() + "\n";
}

std::string Table::as_record_json() const {
  const std::string list = as_json();  // "[{...}]\n"
  CHECK(rows_.size() == 1);
  return list.substr(1, list.size() - 3) + "\n";
}

void Table::print(OutputFormat format) const {
  const std::string text = format == OutputFormat::json ? as_json() : as_table();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Table::print_record(OutputFormat format) const {
  const std::string text = format == OutputFormat::json ? as_record_json() : as_record_lines();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace gd2fs::cli
