#include <climits>
#include <utility>

#include "meta/sqlite_vfs/database.h"
#include "meta/sqlite_vfs/vfs.h"

namespace gd2fs {
namespace {

// A bind fails only for a wrong index, too many bytes or a statement that is not reset: mistakes of
// the caller.
void check_bound(int sqlite_code) {
  CHECK(sqlite_code == SQLITE_OK);
}

// SQLite reads a null pointer as NULL, which is not the empty value.
const void* not_null(const void* data) {
  return data != nullptr ? data : "";
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    sqlite3_finalize(statement_);
    database_ = other.database_;
    statement_ = std::exchange(other.statement_, nullptr);
  }
  return *this;
}

Statement::~Statement() {
  sqlite3_finalize(statement_);  // answers the last step's error again, which step() reported
}

void Statement::bind_int(int index, int64_t value) {
  check_bound(sqlite3_bind_int64(statement_, index, value));
}

void Statement::bind_u64(int index, uint64_t value) {
  bind_int(index, static_cast<int64_t>(value));
}

void Statement::bind_text(int index, std::string_view value) {
  check_bound(sqlite3_bind_text64(statement_, index,
                                  static_cast<const char*>(not_null(value.data())), value.size(),
                                  SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind_bytes(int index, ConstBytes value) {
  check_bound(sqlite3_bind_blob64(statement_, index, not_null(value.data()), value.size(),
                                  SQLITE_TRANSIENT));
}

void Statement::bind_null(int index) {
  check_bound(sqlite3_bind_null(statement_, index));
}

Result<bool> Statement::step() {
  database_->vfs_->clear_error();
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  Status status = database_->error(code, "step");
  reset();
  return fail(std::move(status));
}

Status Statement::run() {
  for (;;) {
    GD2FS_ASSIGN(const bool row, step());
    if (!row) return {};
  }
}

void Statement::reset() {
  sqlite3_reset(statement_);  // answers the last step's error again, which step() reported
}

int64_t Statement::column_int(int column) const {
  return sqlite3_column_int64(statement_, column);
}

uint64_t Statement::column_u64(int column) const {
  return static_cast<uint64_t>(column_int(column));
}

std::string_view Statement::column_text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {text != nullptr ? text : "",
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

ConstBytes Statement::column_bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  return as_bytes(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

bool Statement::column_is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

}  // namespace gd2fs
