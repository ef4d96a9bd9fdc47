// Database: one SQLite database on a Disk, and its prepared statements, with Status errors. The
// store's index and the embedded metadata engine stand on it.
//
// It is opened with a write-ahead log and one exclusive connection: when COMMIT (or a statement
// outside a transaction) answers ok, it is durable, unless the options say that commits are not
// synced: then a power failure may take back the latest ones. A commit that answered an error
// other than busy may or may not be there: close the database, open it again and look. The same
// file opened by another process answers busy.
//
//   GD2FS_ASSIGN(auto db, Database::open(disk, "index.db"));
//   GD2FS_TRY(db->exec("CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"));
//   GD2FS_ASSIGN(Statement put, db->prepare("INSERT OR REPLACE INTO kv VALUES(?1, ?2)"));
//   put.bind_bytes(1, key);
//   put.bind_bytes(2, value);
//   GD2FS_TRY(put.run());
//
// Everything here blocks. Thread rule: one thread at a time (a Worker); statements die before their
// database, the database before its disk.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"
#include "disk/disk.h"

struct sqlite3;
struct sqlite3_stmt;

namespace gd2fs {

class Database;
class SqliteVfs;

// A prepared statement. Indexes of parameters begin at 1, of columns at 0. Bound bytes and text are
// copied; bindings stay until they are bound again.
class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  void bind_int(int index, int64_t value);
  void bind_u64(int index, uint64_t value);  // kept as the int64_t of the same bits
  void bind_text(int index, std::string_view value);
  void bind_bytes(int index, ConstBytes value);
  void bind_null(int index);

  // True: a row is there. False: the end, and the statement is reset. Errors reset it too.
  Result<bool> step();
  // Steps to the end, dropping rows.
  Status run();
  void reset();

  // Of the row that step() answered; views hold until the next step() or reset().
  int64_t column_int(int column) const;
  uint64_t column_u64(int column) const;
  std::string_view column_text(int column) const;
  ConstBytes column_bytes(int column) const;
  bool column_is_null(int column) const;

 private:
  friend class Database;
  Statement(Database& database, sqlite3_stmt* statement)
      : database_(&database), statement_(statement) {}
  Database* database_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

struct DatabaseOptions {
  bool create = true;  // else not_found if it is not there
  uint32_t cache_kib = 16 * 1024;
  // Pages in the log after which a commit moves them to the main file.
  uint32_t checkpoint_pages = 1000;
  // Each commit is durable when it answers (synchronous=FULL). false: the log is synced only before
  // it is moved to the main file (NORMAL): a power failure may cost the last commits, in whole
  // transactions from the end; a process that is killed loses none.
  bool sync_commits = true;
  // The destructor leaves the log as it is, as a crash would; else it moves it to the main file and
  // removes it.
  bool keep_log_on_close = false;
};

class Database {
 public:
  static constexpr uint32_t kPageBytes = 4096;

  // What an earlier process committed and did not sync is made durable before this answers, so that
  // nothing read from the database can be lost later. corrupt if it is not a database.
  static Result<std::unique_ptr<Database>> open(Disk& disk, const std::string& name,
                                                DatabaseOptions options = {});
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // One or more statements whose rows nobody wants.
  Status exec(std::string_view sql);
  // One statement, for repeated use.
  Result<Statement> prepare(std::string_view sql);
  bool in_transaction() const;
  uint64_t last_rowid() const;
  uint64_t changed_rows() const;  // by the last INSERT, UPDATE or DELETE
  // Moves the whole log to the main file and empties it.
  Status checkpoint();
  // Reads every page: corrupt with the first finding. quick leaves out that indexes match tables.
  Status check(bool quick = true);
  // What was committed without a sync is durable when this is ok (sync_commits = false).
  Status sync_log();

 private:
  friend class Statement;
  Database(Disk& disk, const DatabaseOptions& options);
  Status configure(const DatabaseOptions& options);
  Status error(int sqlite_code, std::string_view what) const;

  std::unique_ptr<SqliteVfs> vfs_;
  sqlite3* db_ = nullptr;
  std::string name_;
};

}  // namespace gd2fs
