#include "meta/meta_file.h"

#include <map>

namespace gd2fs {

namespace {

ConstBytes bytes_of(std::string_view text) {
  return as_bytes(text.data(), text.size());
}

std::string string_of(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Status MetaFile::open() {
  Status status = open_database();
  if (status.ok()) status = check_identity();
  if (status.ok()) status = mark_open();
  if (status.ok()) status = prepare();
  if (!status.ok()) drop();
  return status.with("metadata " + disk_.path() + "/" + options_.name);
}

Status MetaFile::open_database() {
  DatabaseOptions options;
  options.create = options_.new_deployment_id != 0;
  options.cache_kib = options_.page_cache_kib;
  options.checkpoint_pages = options_.checkpoint_pages;
  GD2FS_ASSIGN(database_, Database::open(disk_, options_.name, options));
  return {};
}

Result<int64_t> MetaFile::query_int(std::string_view sql) {
  GD2FS_ASSIGN(Statement statement, database_->prepare(sql));
  GD2FS_ASSIGN(const bool row, statement.step());
  if (!row) return fail(StatusCode::corrupt, "no row for " + std::string(sql));
  return statement.column_int(0);
}

Status MetaFile::make() {
  GD2FS_TRY(database_->exec("BEGIN IMMEDIATE"));
  GD2FS_TRY(database_->exec("PRAGMA application_id=" + std::to_string(kApplicationId)));
  GD2FS_TRY(
      database_->exec("CREATE TABLE store(id INTEGER PRIMARY KEY CHECK(id = 1), schema INTEGER, "
                      "deployment INTEGER, clean INTEGER, opens INTEGER)"));
  GD2FS_TRY(database_->exec("CREATE TABLE kv(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"));
  {
    GD2FS_ASSIGN(Statement insert, database_->prepare("INSERT INTO store VALUES(1, ?1, ?2, 1, 0)"));
    insert.bind_int(1, kSchema);
    insert.bind_u64(2, options_.new_deployment_id);
    GD2FS_TRY(insert.run());
  }
  return database_->exec("COMMIT");
}

Status MetaFile::check_identity() {
  GD2FS_ASSIGN(const int64_t tables, query_int("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0) {
    if (options_.new_deployment_id == 0) return Status(StatusCode::not_found, "it is empty");
    GD2FS_TRY(make());
  }
  GD2FS_ASSIGN(const int64_t application, query_int("PRAGMA application_id"));
  if (application != kApplicationId) {
    return {StatusCode::invalid, "a database, but no GD2FS metadata"};
  }
  GD2FS_ASSIGN(const int64_t schema, query_int("SELECT schema FROM store"));
  if (schema > kSchema) return {StatusCode::unsupported, "written by a newer version of GD2FS"};
  GD2FS_ASSIGN(const int64_t deployment, query_int("SELECT deployment FROM store"));
  deployment_id_ = static_cast<uint64_t>(deployment);
  if (options_.deployment_id != 0 && options_.deployment_id != deployment_id_) {
    return {StatusCode::invalid, "it belongs to another deployment"};
  }
  GD2FS_ASSIGN(const int64_t clean, query_int("SELECT clean FROM store"));
  return clean != 0 ? Status() : database_->check();
}

Status MetaFile::mark_open() {
  GD2FS_TRY(database_->exec("UPDATE store SET clean = 0, opens = opens + 1"));
  GD2FS_ASSIGN(const int64_t opens, query_int("SELECT opens FROM store"));
  opens_ = static_cast<uint64_t>(opens);
  return {};
}

Status MetaFile::prepare() {
  GD2FS_ASSIGN(get_, database_->prepare("SELECT value FROM kv WHERE key = ?1"));
  GD2FS_ASSIGN(scan_, database_->prepare("SELECT key, value FROM kv WHERE key >= ?1 AND key < ?2 "
                                         "ORDER BY key LIMIT ?3"));
  GD2FS_ASSIGN(put_, database_->prepare("INSERT OR REPLACE INTO kv VALUES(?1, ?2)"));
  GD2FS_ASSIGN(remove_, database_->prepare("DELETE FROM kv WHERE key = ?1"));
  GD2FS_ASSIGN(begin_, database_->prepare("BEGIN IMMEDIATE"));
  GD2FS_ASSIGN(commit_, database_->prepare("COMMIT"));
  return {};
}

void MetaFile::drop() {
  for (Statement* statement : {&get_, &scan_, &put_, &remove_, &begin_, &commit_}) {
    *statement = Statement();
  }
  database_.reset();
}

Status MetaFile::ensure_open() {
  if (database_ != nullptr) return {};
  GD2FS_TRY(open_database());
  Status status = prepare();
  if (!status.ok()) drop();
  return status;
}

Status MetaFile::read(MetaRead& read) {
  GD2FS_TRY(ensure_open());
  return read.limit == 0 ? read_keys(read) : read_range(read);
}

Status MetaFile::read_keys(MetaRead& read) {
  read.values.clear();
  read.values.reserve(read.keys.size());
  for (const std::string& key : read.keys) {
    get_.bind_bytes(1, bytes_of(key));
    GD2FS_ASSIGN(const bool row, get_.step());
    if (row) {
      read.values.emplace_back(string_of(get_.column_bytes(0)));
      get_.reset();
    } else {
      read.values.emplace_back(std::nullopt);
    }
  }
  return {};
}

Status MetaFile::read_range(MetaRead& read) {
  read.found.clear();
  scan_.bind_bytes(1, bytes_of(read.begin));
  scan_.bind_bytes(2, bytes_of(read.end));
  scan_.bind_u64(3, read.limit);
  for (;;) {
    GD2FS_ASSIGN(const bool row, scan_.step());
    if (!row) return {};
    read.found.push_back({string_of(scan_.column_bytes(0)), string_of(scan_.column_bytes(1))});
  }
}

Status MetaFile::apply(std::span<const MetaWrite> writes) {
  for (const MetaWrite& write : writes) {
    Statement& statement = write.value ? put_ : remove_;
    statement.bind_bytes(1, bytes_of(write.key));
    if (write.value) statement.bind_bytes(2, bytes_of(*write.value));
    GD2FS_TRY(statement.run());
  }
  return {};
}

Status MetaFile::write(std::span<const MetaWrite> writes) {
  GD2FS_TRY(ensure_open());
  GD2FS_TRY(begin_.run());
  Status status = apply(writes);
  if (status.ok()) {
    status = commit_.run();
    return status.ok() ? Status() : look_again(writes, status);
  }
  // Some failures roll back by themselves. Closing does, whatever state it is in.
  if (database_->in_transaction() && !database_->exec("ROLLBACK").ok()) drop();
  return status;
}

Status MetaFile::look_again(std::span<const MetaWrite> writes, const Status& failure) {
  drop();
  if (Status status = ensure_open(); !status.ok()) {
    drop();
    return Status(StatusCode::unavailable, status.to_string()).with("a commit of unknown outcome");
  }
  auto there = holds(writes);
  if (!there) {
    drop();
    return Status(StatusCode::unavailable, there.error().to_string())
        .with("a commit of unknown outcome");
  }
  if (*there) return {};
  // It did not happen, which `unavailable` would not say.
  return failure.is(StatusCode::unavailable) ? Status(StatusCode::io, failure.text()) : failure;
}

Result<bool> MetaFile::holds(std::span<const MetaWrite> writes) {
  std::map<std::string_view, const MetaWrite*> last;  // of each key
  for (const MetaWrite& write : writes) last[write.key] = &write;
  MetaRead read;
  for (const auto& [key, write] : last) read.keys.emplace_back(key);
  GD2FS_TRY(read_keys(read));
  size_t at = 0;
  for (const auto& [key, write] : last) {
    if (read.values[at++] != write->value) return false;
  }
  return true;
}

Status MetaFile::close() {
  if (database_ == nullptr) return {};
  Status status = database_->exec("UPDATE store SET clean = 1");
  drop();
  return status;
}

}  // namespace gd2fs
