#include "meta/dump.h"

#include <algorithm>
#include <charconv>

#include "meta/check_metadata.h"
#include "meta/dump_line.h"
#include "meta/keys.h"
#include "meta/read_again.h"
#include "meta/records.h"

namespace gd2fs {

namespace {

constexpr size_t kRecordsPerTransaction = 90;
constexpr std::string_view kHeader = "gd2fs metadata";

// Where a dump stands: what has been listed, and the revision that it began with.
struct Cursor {
  std::string key;
  uint64_t records = 0;
  uint64_t revision = 0;

  std::string text() const {
    JsonLine line;
    line.add_bytes("key", key);
    line.add_u64("records", records);
    line.add_u64("revision", revision);
    return line.text();
  }
  static Result<Cursor> parse(std::string_view text) {
    GD2FS_ASSIGN(const JsonLine line, JsonLine::parse(text));
    Cursor cursor;
    GD2FS_ASSIGN(cursor.key, line.bytes("key"));
    GD2FS_ASSIGN(cursor.records, line.u64("records"));
    GD2FS_ASSIGN(cursor.revision, line.u64("revision"));
    return cursor;
  }
};

std::string header_line() {
  JsonLine line;
  line.add_bytes("kind", kHeader);
  line.add_u64("format", FormatRecord::kFormat);
  return line.text();
}

std::string end_line(uint64_t records, bool changed) {
  JsonLine line;
  line.add_bytes("kind", "end");
  line.add_u64("records", records);
  line.add_bool("changed", changed);
  return line.text();
}

// Without the controller's own table.
Task<Result<std::vector<KeyValue>>> read_records(MetaTransaction& tx, std::string begin,
                                                 size_t limit) {
  const std::string own = table_begin(kControllerTable);
  const std::string own_end = table_end(kControllerTable);
  std::vector<KeyValue> records;
  if (begin < own) {
    GD2FS_CO_ASSIGN(records, co_await tx.scan(begin, own, limit));
  }
  if (records.size() < limit) {
    GD2FS_CO_ASSIGN(std::vector<KeyValue> more,
                    co_await tx.scan(std::max(begin, own_end), "\xff", limit - records.size()));
    std::move(more.begin(), more.end(), std::back_inserter(records));
  }
  co_return records;
}

// False: another transaction was quicker.
Task<Result<bool>> set_loading(MetaStore& store, bool loading) {
  auto tx = store.begin();
  const std::string key = format_key();
  auto value = co_await tx->get(key);
  if (tx->conflicted()) co_return false;
  if (!value) co_return fail(value.error());
  if (!*value) co_return fail(StatusCode::invalid, "the store was not opened as a namespace");
  GD2FS_CO_ASSIGN(FormatRecord record, FormatRecord::decode(key, **value));
  if (loading) {
    auto before = co_await tx->scan("", table_begin(kControllerTable), 3);
    if (tx->conflicted()) co_return false;
    if (!before) co_return fail(before.error());
    auto behind = co_await tx->scan(table_end(kControllerTable), "\xff", 1);
    if (tx->conflicted()) co_return false;
    if (!behind) co_return fail(behind.error());
    // A fresh namespace: the format and the counter of clusters. What the controller keeps beside
    // it (its servers, its keys) is no part of a dump.
    const bool fresh = before->size() == 2 && (*before)[1].key == counter_key(0) && behind->empty();
    if (!fresh) co_return fail(StatusCode::invalid, "metadata is loaded into an empty store only");
  }
  record.loading = loading;
  tx->put(key, record.encode(key));
  Status status = co_await tx->commit();
  if (tx->conflicted()) co_return false;
  if (!status.ok()) co_return fail(status);
  co_return true;
}

Task<Status> put_records(MetaStore* store, const std::vector<KeyValue>* records) {
  for (size_t at = 0; at < records->size(); at += kRecordsPerTransaction) {
    auto tx = store->begin();
    const size_t end = std::min(at + kRecordsPerTransaction, records->size());
    for (size_t i = at; i < end; ++i) tx->put((*records)[i].key, (*records)[i].value);
    GD2FS_CO_TRY(co_await tx->commit());
  }
  co_return Status();
}

}  // namespace

Task<Result<DumpPage>> dump_metadata(MetaStore& store, std::string after, size_t limit) {
  if (limit == 0 || limit > kDumpPageMax) co_return fail(StatusCode::invalid, "dump limit");
  DumpPage page;
  Cursor cursor;
  if (after.empty()) {
    cursor.revision = store.revision();
    page.lines.push_back(header_line());
  } else {
    GD2FS_CO_ASSIGN(cursor, Cursor::parse(after));
  }
  const std::string begin = after.empty() ? "" : cursor.key + '\0';
  GD2FS_CO_ASSIGN(const auto records, co_await read_again(store, [&](MetaTransaction& tx) {
                    return read_records(tx, begin, limit);
                  }));
  for (const KeyValue& record : records) {
    GD2FS_CO_ASSIGN(std::string line, record_to_line(record));
    page.lines.push_back(std::move(line));
    cursor.key = record.key;
  }
  cursor.records += records.size();
  page.more = records.size() == limit;
  page.next = cursor.text();
  if (!page.more) {
    page.lines.push_back(end_line(cursor.records, store.revision() != cursor.revision));
  }
  co_return page;
}

Task<Result<MetaLoad>> MetaLoad::begin(MetaStore& store) {
  for (bool marked = false; !marked;) {
    GD2FS_CO_ASSIGN(marked, co_await set_loading(store, true));
  }
  co_return MetaLoad(store);
}

Status MetaLoad::read_line(const std::string& line, std::vector<KeyValue>* batch) {
  GD2FS_ASSIGN(const JsonLine json, JsonLine::parse(line));
  GD2FS_ASSIGN(const std::string kind, json.bytes("kind"));
  if (end_seen_) return {StatusCode::invalid, "something behind the end"};
  if (!header_seen_) {
    GD2FS_ASSIGN(const uint64_t format, json.u64("format"));
    if (kind != kHeader) return {StatusCode::invalid, "no header of GD2FS metadata"};
    if (format > FormatRecord::kFormat) {
      return {StatusCode::unsupported, "a dump of a newer version"};
    }
    header_seen_ = true;
    return {};
  }
  if (kind == "end") {
    GD2FS_ASSIGN(const uint64_t records, json.u64("records"));
    GD2FS_ASSIGN(const bool changed, json.boolean("changed"));
    if (records != records_)
      return {StatusCode::invalid, "lines are missing or there are too many"};
    if (changed) return {StatusCode::invalid, "the metadata changed while it was dumped"};
    end_seen_ = true;
    return {};
  }
  GD2FS_ASSIGN(KeyValue record, line_to_record(json));
  ++records_;
  // The store's own stays, with its mark.
  if (record.key != format_key()) batch->push_back(std::move(record));
  return {};
}

Task<Status> MetaLoad::add(std::vector<std::string> lines) {
  std::vector<KeyValue> batch;
  for (const std::string& line : lines) {
    ++lines_;
    Status status = read_line(line, &batch);
    if (!status.ok()) co_return status.with("line " + std::to_string(lines_));
  }
  co_return co_await put_records(store_, &batch);
}

Task<Status> MetaLoad::end() {
  if (!end_seen_) co_return Status(StatusCode::invalid, "the dump has no end");
  GD2FS_CO_ASSIGN(const MetaFindings findings, co_await check_metadata(*store_));
  if (!findings.findings.empty()) {
    co_return Status(StatusCode::corrupt, findings.findings.front());
  }
  for (bool cleared = false; !cleared;) {
    GD2FS_CO_ASSIGN(cleared, co_await set_loading(*store_, false));
  }
  co_return Status();
}

}  // namespace gd2fs
