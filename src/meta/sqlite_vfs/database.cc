#include "meta/sqlite_vfs/database.h"

#include <climits>

#include "disk/rules.h"
#include "meta/sqlite_vfs/vfs.h"

namespace gd2fs {
namespace {

StatusCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_CONSTRAINT:
      return StatusCode::exists;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return StatusCode::corrupt;
    case SQLITE_FULL:
      return StatusCode::no_space;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
      return StatusCode::busy;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return StatusCode::denied;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
      return StatusCode::invalid;
    default:
      return StatusCode::io;
  }
}

// The failures behind which stands an answer of the disk.
bool is_of_disk(int sqlite_code) {
  const int code = sqlite_code & 0xff;
  return code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_FULL ||
         code == SQLITE_BUSY;
}

}  // namespace

Database::Database(Disk& disk, const DatabaseOptions& options)
    : vfs_(std::make_unique<SqliteVfs>(disk, uint64_t{options.checkpoint_pages} * kPageBytes)) {}

Database::~Database() {
  // It refuses only while statements are left, which is a mistake of the owner.
  CHECK(sqlite3_close(db_) == SQLITE_OK);
}

Result<std::unique_ptr<Database>> Database::open(Disk& disk, const std::string& name,
                                                 DatabaseOptions options) {
  std::unique_ptr<Database> database(new Database(disk, options));
  database->name_ = name;
  const int create = options.create ? SQLITE_OPEN_CREATE : 0;
  const int code =
      sqlite3_open_v2(name.c_str(), &database->db_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | create,
                      database->vfs_->name());
  if (code != SQLITE_OK) return fail(database->error(code, "open"));
  GD2FS_TRY(database->configure(options));
  return database;
}

Status Database::configure(const DatabaseOptions& options) {
  CHECK(sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr) == SQLITE_OK);
  CHECK(sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, options.keep_log_on_close ? 1 : 0,
                          nullptr) == SQLITE_OK);
  // The exclusive lock comes first: only then does the log work without shared memory.
  GD2FS_TRY(exec(
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY;"
      "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA page_size=" +
      std::to_string(kPageBytes) + ";PRAGMA cache_size=-" + std::to_string(options.cache_kib)));
  {
    GD2FS_ASSIGN(Statement mode, prepare("PRAGMA journal_mode=WAL"));
    GD2FS_ASSIGN(const bool row, mode.step());
    if (!row || mode.column_text(0) != "wal") {
      return Status(StatusCode::unsupported, name_).with("database takes no write-ahead log");
    }
  }
  GD2FS_TRY(exec(std::string("PRAGMA synchronous=") + (options.sync_commits ? "FULL" : "NORMAL") +
                 "; PRAGMA wal_autocheckpoint=" + std::to_string(options.checkpoint_pages)));
  Status status = checkpoint();
  // A full disk has no room in the main file; what is in the log can be read, once it is durable.
  return status.is(StatusCode::no_space) ? sync_log() : status;
}

Status Database::sync_log() {
  const std::string log = name_ + "-wal";
  GD2FS_ASSIGN(auto file, vfs_->disk().open(log, OpenMode::existing, OpenKind::cached));
  GD2FS_TRY(file->sync());
  return vfs_->disk().sync_dir(disk_name_dir(log));
}

Status Database::error(int sqlite_code, std::string_view what) const {
  std::string text(what);
  text += " ";
  text += name_;
  text += ": ";
  text += db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(sqlite_code);
  if (is_of_disk(sqlite_code) && !vfs_->error().ok()) return vfs_->error().with(text);
  return Status(code_of(sqlite_code), text);
}

Status Database::exec(std::string_view sql) {
  while (!sql.empty()) {
    vfs_->clear_error();
    sqlite3_stmt* made = nullptr;
    const char* rest = nullptr;
    CHECK(sql.size() < INT_MAX);
    const int code =
        sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &made, &rest);
    if (code != SQLITE_OK) return error(code, "prepare");
    sql.remove_prefix(static_cast<size_t>(rest - sql.data()));
    if (made == nullptr) continue;  // a comment or white space
    Statement statement(*this, made);
    GD2FS_TRY(statement.run());
  }
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  vfs_->clear_error();
  sqlite3_stmt* made = nullptr;
  CHECK(sql.size() < INT_MAX);
  const int code = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &made, nullptr);
  if (code != SQLITE_OK) return fail(error(code, "prepare"));
  if (made == nullptr) return fail(StatusCode::invalid, "prepare of an empty statement");
  return Statement(*this, made);
}

bool Database::in_transaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

uint64_t Database::last_rowid() const {
  return static_cast<uint64_t>(sqlite3_last_insert_rowid(db_));
}

uint64_t Database::changed_rows() const {
  return static_cast<uint64_t>(sqlite3_changes64(db_));
}

Status Database::checkpoint() {
  vfs_->clear_error();
  const int code =
      sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : error(code, "checkpoint");
}

Status Database::check(bool quick) {
  GD2FS_ASSIGN(Statement statement,
               prepare(quick ? "PRAGMA quick_check(1)" : "PRAGMA integrity_check(1)"));
  GD2FS_ASSIGN(const bool row, statement.step());
  if (!row) return Status(StatusCode::corrupt, name_).with("check gave no answer");
  const std::string_view finding = statement.column_text(0);
  return finding == "ok" ? Status() : Status(StatusCode::corrupt, finding).with(name_);
}

}  // namespace gd2fs
