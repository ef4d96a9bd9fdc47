#include "store/index_db.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/random.h"
#include "meta/sqlite_vfs/log_check.h"

namespace gd2fs {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE extent(place INTEGER PRIMARY KEY, inode INTEGER NOT NULL, chunk INTEGER NOT NULL,"
    " shape INTEGER NOT NULL, version INTEGER NOT NULL, generation INTEGER NOT NULL,"
    " grp INTEGER NOT NULL, epoch INTEGER NOT NULL, pending INTEGER NOT NULL);"
    "CREATE TABLE fence(inode INTEGER NOT NULL, floor INTEGER NOT NULL, generation INTEGER NOT "
    "NULL,"
    " keep INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY(inode, floor)) WITHOUT ROWID;"
    "CREATE TABLE tag(incarnation INTEGER NOT NULL, sequence INTEGER NOT NULL, inode INTEGER NOT"
    " NULL, chunk INTEGER NOT NULL, version INTEGER NOT NULL,"
    " PRIMARY KEY(incarnation, sequence, inode, chunk)) WITHOUT ROWID;"
    "CREATE TABLE client(incarnation INTEGER NOT NULL, low INTEGER NOT NULL,"
    " PRIMARY KEY(incarnation)) WITHOUT ROWID;"
    "CREATE TABLE meta(id INTEGER PRIMARY KEY, format INTEGER NOT NULL, uuid BLOB NOT NULL,"
    " epoch INTEGER NOT NULL, transactions INTEGER NOT NULL, digest INTEGER NOT NULL,"
    " state INTEGER NOT NULL, incomplete INTEGER NOT NULL, hash INTEGER NOT NULL);";

enum Kind : uint64_t { kExtentRow = 1, kFenceRow, kTagRow, kClientRow, kMetaRow };

// A row's share of the digest: every column counts, as does its order.
uint64_t row_hash(uint64_t kind, std::initializer_list<uint64_t> columns) {
  uint64_t hash = mix64(kind);
  for (const uint64_t column : columns) hash = mix64(hash ^ column);
  return hash;
}

// chunk_log2 << 32 | first_block << 16 | blocks
uint64_t shape_of(const IndexRow& row) {
  return (uint64_t{row.chunk_log2} << 32) | (uint64_t{row.first_block} << 16) | row.blocks;
}

uint64_t flags_of(const FenceRecord& fence) {
  return uint64_t{fence.chunk_log2} | (fence.unlinked ? 256 : 0);
}

bool plausible(const IndexRow& row) {
  return row.place >= 0 && row.slot_class() < kSlotClasses && (row.place >> 40) < kSlotClasses &&
         row.chunk_log2 >= kChunkLog2Min && row.chunk_log2 <= kChunkLog2Max && row.blocks >= 1 &&
         uint32_t{row.first_block} + row.blocks <= blocks_in_chunk(row.chunk_log2) &&
         row.blocks <= (1u << row.slot_class());
}

}  // namespace

IndexRow index_row(int64_t place, const SlotDescriptor& descriptor) {
  const SlotDescriptor& d = descriptor;
  return {.place = place,
          .key = d.key,
          .chunk_log2 = d.chunk_log2,
          .first_block = d.first_block,
          .blocks = d.blocks,
          .version = d.version,
          .generation = d.generation,
          .group = d.group,
          .epoch = d.epoch};
}

struct IndexDb::Statements {
  Statement begin, commit;
  Statement write_meta;
  Statement add_extent, remove_extent;
  Statement add_fence, remove_fence;
  Statement add_tag, remove_tag;
  Statement add_client, remove_client;
};

IndexDb::IndexDb(Disk& disk, DriveUuid uuid, uint64_t reserve_bytes)
    : disk_(disk), uuid_(uuid), reserve_bytes_(reserve_bytes) {}
IndexDb::~IndexDb() = default;

Status IndexDb::open_database(bool create) {
  statements_.reset();
  db_.reset();
  DatabaseOptions options;
  options.create = create;
  options.keep_log_on_close = true;
  options.checkpoint_pages = static_cast<uint32_t>(
      std::min<uint64_t>(options.checkpoint_pages, reserve_bytes_ / 4 / Database::kPageBytes + 1));
  GD2FS_ASSIGN(db_, Database::open(disk_, kName, options));
  return {};
}

Status IndexDb::prepare() {
  statements_ = std::make_unique<Statements>();
  Statements& s = *statements_;
  GD2FS_ASSIGN(s.begin, db_->prepare("BEGIN IMMEDIATE"));
  GD2FS_ASSIGN(s.commit, db_->prepare("COMMIT"));
  GD2FS_ASSIGN(s.write_meta,
               db_->prepare("REPLACE INTO meta VALUES(0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
  GD2FS_ASSIGN(s.add_extent,
               db_->prepare("INSERT INTO extent VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"));
  GD2FS_ASSIGN(s.remove_extent,
               db_->prepare("DELETE FROM extent WHERE place = ?1 RETURNING place, inode, chunk,"
                            " shape, version, generation, grp, epoch, pending"));
  GD2FS_ASSIGN(s.add_fence, db_->prepare("INSERT INTO fence VALUES(?1, ?2, ?3, ?4, ?5)"));
  GD2FS_ASSIGN(s.remove_fence, db_->prepare("DELETE FROM fence WHERE inode = ?1 AND floor = ?2"
                                            " RETURNING inode, floor, generation, keep, flags"));
  GD2FS_ASSIGN(s.add_tag, db_->prepare("INSERT INTO tag VALUES(?1, ?2, ?3, ?4, ?5)"));
  GD2FS_ASSIGN(s.remove_tag,
               db_->prepare("DELETE FROM tag WHERE incarnation = ?1 AND sequence = ?2 AND"
                            " inode = ?3 AND chunk = ?4"
                            " RETURNING incarnation, sequence, inode, chunk, version"));
  GD2FS_ASSIGN(s.add_client, db_->prepare("INSERT INTO client VALUES(?1, ?2)"));
  GD2FS_ASSIGN(s.remove_client, db_->prepare("DELETE FROM client WHERE incarnation = ?1"
                                             " RETURNING incarnation, low"));
  return {};
}

// The version stands in SQLite's header and in `meta`, so that damage of one is no newer version.
Status IndexDb::check_format() {
  GD2FS_ASSIGN(Statement header, db_->prepare("PRAGMA user_version"));
  GD2FS_ASSIGN(const bool has_header, header.step());
  GD2FS_ASSIGN(Statement meta, db_->prepare("SELECT format FROM meta"));
  GD2FS_ASSIGN(const bool has_meta, meta.step());
  if (!has_header || !has_meta || header.column_u64(0) != meta.column_u64(0)) {
    return Status(StatusCode::corrupt, "index.db: unfinished, or its version is damaged");
  }
  const uint64_t version = meta.column_u64(0);
  if (version > kIndexFormatVersion) {
    return Status(StatusCode::unsupported, "index.db: written by a newer version of GD2FS");
  }
  return version == kIndexFormatVersion ? Status()
                                        : Status(StatusCode::corrupt, "index.db: of no version");
}

Status IndexDb::read_meta() {
  GD2FS_ASSIGN(Statement read, db_->prepare("SELECT uuid, epoch, transactions, digest, state,"
                                            " incomplete, hash FROM meta"));
  GD2FS_ASSIGN(const bool found, read.step());
  if (!found) return Status(StatusCode::corrupt, "index.db: unfinished");
  const ConstBytes uuid = read.column_bytes(0);
  epoch_ = read.column_u64(1);
  transactions_ = read.column_u64(2);
  digest_ = read.column_u64(3);
  state_ = read.column_u64(4);
  incomplete_ = read.column_int(5) != 0;
  if (!std::equal(uuid.begin(), uuid.end(), uuid_.bytes.begin(), uuid_.bytes.end())) {
    return Status(StatusCode::corrupt, "index.db: belongs to another drive");
  }
  if (read.column_u64(6) != meta_hash()) {
    return Status(StatusCode::corrupt, "index.db: its numbers are damaged");
  }
  return {};
}

// An index that SQLite cannot make sense of is damaged, whatever SQLite calls it: the file, its
// schema (a statement does not fit it), or its header (read only, no write-ahead log). What a newer
// version wrote is told before any of these questions.
Status IndexDb::damaged_or(Status status) {
  const bool damaged = status.is(StatusCode::invalid) || status.is(StatusCode::denied) ||
                       status.is(StatusCode::unsupported);
  if (damaged) return Status(StatusCode::corrupt, status.to_string());
  return status;
}

Status IndexDb::open() {
  GD2FS_ASSIGN(const bool exists, disk_.exists(kName));
  if (!exists) return Status(StatusCode::not_found, "index.db");
  GD2FS_ASSIGN(const LogCondition log, check_database_log(disk_, kName));
  if (log == LogCondition::damaged) {
    return Status(StatusCode::corrupt, "index.db: its write-ahead log is damaged");
  }
  GD2FS_TRY(damaged_or(open_database(false)));
  const Status format = check_format();
  if (!format.ok()) return format.is(StatusCode::unsupported) ? format : damaged_or(format);
  GD2FS_TRY(damaged_or(read_meta()));
  if (state_ == kUnfinished) return Status(StatusCode::corrupt, "index.db: unfinished");
  if (log == LogCondition::missing && state_ != kClosed) {
    return Status(StatusCode::corrupt, "index.db: its write-ahead log is gone");
  }
  return damaged_or(prepare());
}

Status IndexDb::remove_files() {
  statements_.reset();
  db_.reset();
  GD2FS_ASSIGN(const std::vector<std::string> names, disk_.list(""));
  for (const std::string& name : names) {
    if (name.starts_with(kName)) GD2FS_TRY(disk_.remove(name));
  }
  return disk_.sync_dir("");
}

Status IndexDb::create(uint64_t epoch) {
  GD2FS_TRY(remove_files());
  GD2FS_TRY(open_database(true));
  GD2FS_TRY(db_->exec("BEGIN IMMEDIATE"));
  GD2FS_TRY(db_->exec(kSchema));
  GD2FS_TRY(db_->exec("PRAGMA user_version=" + std::to_string(kIndexFormatVersion)));
  epoch_ = epoch;
  transactions_ = 0;
  digest_ = 0;
  state_ = kUnfinished;
  incomplete_ = false;
  failed_ = Status();
  GD2FS_TRY(prepare());
  GD2FS_TRY(write_meta());
  return statements_->commit.run();
}

Status IndexDb::finish() {
  state_ = kInUse;
  return write_meta();
}

Status IndexDb::set_epoch(uint64_t epoch) {
  epoch_ = epoch;
  if (state_ == kClosed) state_ = kInUse;
  return write_meta();
}

Status IndexDb::set_incomplete() {
  incomplete_ = true;
  return write_meta();
}

uint64_t IndexDb::meta_hash() const {
  return row_hash(kMetaRow,
                  {load_le<uint64_t>(uuid_.bytes.data()), load_le<uint64_t>(uuid_.bytes.data() + 8),
                   epoch_, transactions_, digest_, state_, uint64_t{incomplete_}});
}

Status IndexDb::write_meta() {
  Statement& write = statements_->write_meta;
  write.bind_u64(1, kIndexFormatVersion);
  write.bind_bytes(2, uuid_.bytes);
  write.bind_u64(3, epoch_);
  write.bind_u64(4, transactions_);
  write.bind_u64(5, digest_);
  write.bind_u64(6, state_);
  write.bind_int(7, incomplete_ ? 1 : 0);
  write.bind_u64(8, meta_hash());
  return write.run();
}

Status IndexDb::apply(const IndexBatch& batch) {
  GD2FS_TRY(failed_);
  const uint64_t digest_before = digest_;
  const uint64_t transactions_before = transactions_;
  Status status = statements_->begin.run();
  if (status.ok()) status = apply_in_transaction(batch);
  if (status.ok()) return status;
  const uint64_t attempted = transactions_before + 1;
  digest_ = digest_before;
  transactions_ = transactions_before;
  return look_again(std::move(status), attempted);
}

Status IndexDb::sync() {
  GD2FS_TRY(failed_);
  return db_->sync_log();
}

// A commit that failed may be there or not; only the database, opened anew, can tell.
Status IndexDb::look_again(Status error, uint64_t attempted) {
  const auto reopen = [&]() -> Status {
    GD2FS_TRY(open_database(false));
    GD2FS_TRY(read_meta());
    return prepare();
  };
  const Status reopened = reopen();
  if (!reopened.ok()) {
    failed_ = error.with("index.db lost after a failed commit");
    return failed_;
  }
  if (transactions_ == attempted) return {};
  if (!error.is(StatusCode::no_space)) failed_ = error;
  return error;
}

Status IndexDb::apply_in_transaction(const IndexBatch& batch) {
  GD2FS_TRY(apply_removals(batch));
  GD2FS_TRY(apply_additions(batch));
  ++transactions_;
  GD2FS_TRY(write_meta());
  return statements_->commit.run();
}

// Runs a DELETE ... RETURNING and takes the row, if there was one, out of the digest.
Status IndexDb::remove_and_subtract(Statement& statement, uint64_t kind) {
  const int columns = kind == kExtentRow ? 9 : kind == kClientRow ? 2 : 5;
  for (;;) {
    GD2FS_ASSIGN(const bool row, statement.step());
    if (!row) return {};
    uint64_t hash = mix64(kind);
    for (int i = 0; i < columns; ++i) hash = mix64(hash ^ statement.column_u64(i));
    digest_ -= hash;
  }
}

Status IndexDb::apply_removals(const IndexBatch& batch) {
  Statements& s = *statements_;
  for (const int64_t place : batch.remove_places) {
    s.remove_extent.bind_int(1, place);
    GD2FS_TRY(remove_and_subtract(s.remove_extent, kExtentRow));
  }
  for (const TagRecord& tag : batch.remove_tags) {
    s.remove_tag.bind_u64(1, tag.tag.incarnation);
    s.remove_tag.bind_u64(2, tag.tag.sequence);
    s.remove_tag.bind_u64(3, tag.key.inode);
    s.remove_tag.bind_u64(4, tag.key.chunk);
    GD2FS_TRY(remove_and_subtract(s.remove_tag, kTagRow));
  }
  for (const FenceRecord& fence : batch.remove_fences) {
    s.remove_fence.bind_u64(1, fence.inode);
    s.remove_fence.bind_u64(2, fence.floor_version);
    GD2FS_TRY(remove_and_subtract(s.remove_fence, kFenceRow));
  }
  for (const uint64_t incarnation : batch.remove_clients) {
    s.remove_client.bind_u64(1, incarnation);
    GD2FS_TRY(remove_and_subtract(s.remove_client, kClientRow));
  }
  return {};
}

Status IndexDb::apply_additions(const IndexBatch& batch) {
  Statements& s = *statements_;
  for (const IndexRow& row : batch.add_rows) {
    s.add_extent.bind_int(1, row.place);
    s.add_extent.bind_u64(2, row.key.inode);
    s.add_extent.bind_u64(3, row.key.chunk);
    s.add_extent.bind_u64(4, shape_of(row));
    s.add_extent.bind_u64(5, row.version);
    s.add_extent.bind_u64(6, row.generation);
    s.add_extent.bind_u64(7, row.group);
    s.add_extent.bind_u64(8, row.epoch);
    s.add_extent.bind_int(9, row.pending ? 1 : 0);
    GD2FS_TRY(s.add_extent.run());
    digest_ += row_hash(kExtentRow, {static_cast<uint64_t>(row.place), row.key.inode, row.key.chunk,
                                     shape_of(row), row.version, row.generation, row.group,
                                     row.epoch, row.pending ? uint64_t{1} : uint64_t{0}});
  }
  for (const FenceRecord& fence : batch.add_fences) {
    s.remove_fence.bind_u64(1, fence.inode);
    s.remove_fence.bind_u64(2, fence.floor_version);
    GD2FS_TRY(remove_and_subtract(s.remove_fence, kFenceRow));
    s.add_fence.bind_u64(1, fence.inode);
    s.add_fence.bind_u64(2, fence.floor_version);
    s.add_fence.bind_u64(3, fence.generation);
    s.add_fence.bind_u64(4, fence.keep_bytes);
    s.add_fence.bind_u64(5, flags_of(fence));
    GD2FS_TRY(s.add_fence.run());
    digest_ += row_hash(kFenceRow, {fence.inode, fence.floor_version, fence.generation,
                                    fence.keep_bytes, flags_of(fence)});
  }
  for (const TagRecord& tag : batch.add_tags) {
    s.add_tag.bind_u64(1, tag.tag.incarnation);
    s.add_tag.bind_u64(2, tag.tag.sequence);
    s.add_tag.bind_u64(3, tag.key.inode);
    s.add_tag.bind_u64(4, tag.key.chunk);
    s.add_tag.bind_u64(5, tag.version);
    GD2FS_TRY(s.add_tag.run());
    digest_ += row_hash(kTagRow, {tag.tag.incarnation, tag.tag.sequence, tag.key.inode,
                                  tag.key.chunk, tag.version});
  }
  for (const ClientLow& low : batch.lows) GD2FS_TRY(update_low(low));
  return {};
}

// A low only grows, in whatever order commits arrive.
Status IndexDb::update_low(const ClientLow& low) {
  Statements& s = *statements_;
  uint64_t highest = low.low;
  s.remove_client.bind_u64(1, low.incarnation);
  for (;;) {
    GD2FS_ASSIGN(const bool row, s.remove_client.step());
    if (!row) break;
    highest = std::max(highest, s.remove_client.column_u64(1));
    digest_ -= row_hash(kClientRow, {low.incarnation, s.remove_client.column_u64(1)});
  }
  s.add_client.bind_u64(1, low.incarnation);
  s.add_client.bind_u64(2, highest);
  GD2FS_TRY(s.add_client.run());
  digest_ += row_hash(kClientRow, {low.incarnation, highest});
  return {};
}

Result<IndexDb::Loaded> IndexDb::load(const std::function<Status(const IndexRow&)>& row) {
  // What no row stands on (free pages) the digest does not know; the next transaction would.
  GD2FS_TRY(damaged_or(db_->check()));
  Result<Loaded> loaded = load_rows(row);
  if (!loaded) return fail(damaged_or(loaded.error()));
  return loaded;
}

Result<IndexDb::Loaded> IndexDb::load_rows(const std::function<Status(const IndexRow&)>& on_row) {
  Loaded loaded;
  loaded.epoch = epoch_;
  loaded.incomplete = incomplete_;
  uint64_t digest = 0;
  const auto damaged = [] { return fail(StatusCode::corrupt, "index.db: a row cannot be"); };

  GD2FS_ASSIGN(Statement extents,
               db_->prepare("SELECT place, inode, chunk, shape, version, generation, grp, epoch,"
                            " pending FROM extent"));
  for (;;) {
    GD2FS_ASSIGN(const bool more, extents.step());
    if (!more) break;
    IndexRow row;
    row.place = extents.column_int(0);
    row.key.inode = extents.column_u64(1);
    const uint64_t chunk = extents.column_u64(2);
    const uint64_t shape = extents.column_u64(3);
    row.key.chunk = static_cast<uint32_t>(chunk);
    row.chunk_log2 = static_cast<uint8_t>(shape >> 32);
    row.first_block = static_cast<uint16_t>(shape >> 16);
    row.blocks = static_cast<uint16_t>(shape);
    row.version = extents.column_u64(4);
    row.generation = extents.column_u64(5);
    row.group = static_cast<uint32_t>(extents.column_u64(6));
    row.epoch = extents.column_u64(7);
    row.pending = extents.column_int(8) != 0;
    digest += row_hash(kExtentRow,
                       {static_cast<uint64_t>(row.place), row.key.inode, chunk, shape, row.version,
                        row.generation, extents.column_u64(6), row.epoch, extents.column_u64(8)});
    if (chunk > UINT32_MAX || shape_of(row) != shape || !plausible(row)) return damaged();
    GD2FS_TRY(on_row(row));
  }

  GD2FS_ASSIGN(Statement fences,
               db_->prepare("SELECT inode, floor, generation, keep, flags FROM fence"));
  for (;;) {
    GD2FS_ASSIGN(const bool more, fences.step());
    if (!more) break;
    const uint64_t flags = fences.column_u64(4);
    FenceRecord fence{.inode = fences.column_u64(0),
                      .generation = fences.column_u64(2),
                      .keep_bytes = fences.column_u64(3),
                      .floor_version = fences.column_u64(1),
                      .chunk_log2 = static_cast<uint8_t>(flags),
                      .unlinked = (flags & 256) != 0};
    digest += row_hash(
        kFenceRow, {fence.inode, fence.floor_version, fence.generation, fence.keep_bytes, flags});
    if (fence.chunk_log2 < kChunkLog2Min || fence.chunk_log2 > kChunkLog2Max) return damaged();
    loaded.fences.push_back(fence);
  }

  GD2FS_ASSIGN(Statement tags,
               db_->prepare("SELECT incarnation, sequence, inode, chunk, version FROM tag"));
  for (;;) {
    GD2FS_ASSIGN(const bool more, tags.step());
    if (!more) break;
    TagRecord tag;
    tag.tag.incarnation = tags.column_u64(0);
    tag.tag.sequence = tags.column_u64(1);
    tag.key.inode = tags.column_u64(2);
    tag.key.chunk = static_cast<uint32_t>(tags.column_u64(3));
    tag.version = tags.column_u64(4);
    digest += row_hash(kTagRow, {tag.tag.incarnation, tag.tag.sequence, tag.key.inode,
                                 tags.column_u64(3), tag.version});
    loaded.tags.push_back(tag);
  }

  GD2FS_ASSIGN(Statement clients, db_->prepare("SELECT incarnation, low FROM client"));
  for (;;) {
    GD2FS_ASSIGN(const bool more, clients.step());
    if (!more) break;
    loaded.lows.push_back({.incarnation = clients.column_u64(0), .low = clients.column_u64(1)});
    digest += row_hash(kClientRow, {clients.column_u64(0), clients.column_u64(1)});
  }
  if (digest != digest_) return fail(StatusCode::corrupt, "index.db: rows and digest differ");
  return loaded;
}

Status IndexDb::close() {
  if (db_ == nullptr) return {};
  Status status = failed_;
  if (status.ok()) {
    // Only what says so may be found without its write-ahead log.
    if (state_ == kInUse) state_ = kClosed;
    status = write_meta();
  }
  if (status.ok()) status = db_->checkpoint();
  statements_.reset();
  db_.reset();
  return status;
}

}  // namespace gd2fs
