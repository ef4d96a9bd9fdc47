// Output: what a verb prints on stdout: an aligned table for people, or JSON for programs.
//
// A verb fills one Table (columns have a machine name and a heading); print() writes it in the form
// asked for. As JSON it is a list of objects with the machine names as keys; a record (one row) is
// one object. Both hold the same facts; the JSON has plain numbers, the table readable ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gd2fs::cli {

enum class OutputFormat : uint8_t { table, json };

// A value and how a person reads it.
class Cell {
 public:
  static Cell text(std::string value);
  static Cell count(uint64_t value);
  static Cell size(uint64_t bytes);  // JSON: bytes; table: "1.5 GiB"
  static Cell time(uint64_t us);     // JSON: microseconds since 1970; table: UTC
  static Cell yes_no(bool value);
  static Cell real(double value, int decimals);

  const std::string& shown() const { return shown_; }
  bool right_aligned() const { return right_aligned_; }

 private:
  friend class Table;
  std::variant<std::string, uint64_t, double, bool> value_;
  std::string shown_;
  bool right_aligned_ = false;
};

class Table {
 public:
  struct Column {
    std::string name;     // "size_bytes"
    std::string heading;  // "SIZE"
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row);  // as many as there are columns
  size_t rows() const { return rows_.size(); }

  std::string as_table() const;
  std::string as_json() const;
  // One row: "heading  value" lines, or one object.
  std::string as_record_lines() const;
  std::string as_record_json() const;

  void print(OutputFormat format) const;
  void print_record(OutputFormat format) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Bytes that would move a terminal's cursor are shown as '?'.
std::string printable(std::string_view text);

}  // namespace gd2fs::cli
