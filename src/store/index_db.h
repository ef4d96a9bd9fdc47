// IndexDb: one drive's durable index, an SQLite database on the drive itself. It can be lost: the
// slots' descriptors and drive.log rebuild it.
//
// SQLite notices some damage and not other (it has no page checksums), so the index keeps a digest:
// the sum of a hash of every row, changed in the same transaction as the rows. load() compares;
// a flipped, lost or stale row answers corrupt and the caller rebuilds.
//
// Everything blocks. Thread rule: the drive's worker, or start-up.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "meta/sqlite_vfs/database.h"
#include "store/format.h"
#include "store/log_record.h"

namespace gd2fs {

inline constexpr uint64_t kIndexFormatVersion = 1;

// A slot by its durable name: class, file number, slot.
inline constexpr int64_t make_place(uint8_t slot_class, uint32_t file_number, uint32_t slot) {
  return (int64_t{slot_class} << 40) | (int64_t{file_number} << 16) | int64_t{slot};
}

struct IndexRow {
  int64_t place = 0;
  ChunkKey key;
  uint8_t chunk_log2 = 0;
  uint16_t first_block = 0;
  uint16_t blocks = 0;
  uint64_t version = 0;
  uint64_t generation = 0;
  uint32_t group = 0;
  uint64_t epoch = 0;
  bool pending = false;  // for replication: written, not yet committed by the group

  uint8_t slot_class() const { return static_cast<uint8_t>(place >> 40); }
  uint32_t file_number() const { return static_cast<uint32_t>(place >> 16) & kDataFileNumberMax; }
  uint32_t slot() const { return static_cast<uint32_t>(place & 0xFFFF); }
};
// Of the extent that this descriptor tells of.
IndexRow index_row(int64_t place, const SlotDescriptor& descriptor);

struct ClientLow {
  uint64_t incarnation = 0;
  uint64_t low = 0;
};

// What one transaction changes. Removals come first.
struct IndexBatch {
  std::vector<int64_t> remove_places;
  std::vector<TagRecord> remove_tags;
  std::vector<FenceRecord> remove_fences;  // by inode and floor
  std::vector<uint64_t> remove_clients;
  std::vector<IndexRow> add_rows;
  std::vector<TagRecord> add_tags;
  std::vector<FenceRecord> add_fences;  // an equal one replaces itself
  std::vector<ClientLow> lows;
  bool empty() const {
    return remove_places.empty() && remove_tags.empty() && remove_fences.empty() &&
           remove_clients.empty() && add_rows.empty() && add_tags.empty() && add_fences.empty() &&
           lows.empty();
  }
};

class IndexDb {
 public:
  static constexpr const char* kName = "index.db";

  // The write-ahead log is kept below about a quarter of reserve_bytes.
  IndexDb(Disk& disk, DriveUuid uuid, uint64_t reserve_bytes = 64 * kMiB);
  ~IndexDb();

  // not_found if there is none; corrupt if it is damaged, unfinished, another drive's, or has lost
  // its write-ahead log or the end of it;
  // unsupported if a newer version of GD2FS wrote it.
  Status open();
  // Makes an empty one that is unfinished until finish(); whatever was there is removed.
  Status create(uint64_t epoch);
  Status finish();  // complete from now on
  Status set_epoch(uint64_t epoch);
  Status set_incomplete();  // the drive's descriptors were lost in part; kept here and in the log

  struct Loaded {
    std::vector<FenceRecord> fences;
    std::vector<TagRecord> tags;
    std::vector<ClientLow> lows;
    uint64_t epoch = 0;
    bool incomplete = false;
  };
  // Rows go to `row` one by one; corrupt as soon as something cannot be, or at the end if the
  // digest differs. The caller drops what it has built then.
  Result<Loaded> load(const std::function<Status(const IndexRow&)>& row);

  // Durable and whole when ok. After an error nothing of it is there; further calls fail unless it
  // was no_space.
  Status apply(const IndexBatch& batch);
  // Makes durable what was applied without a sync, if commits have none (decision 017).
  Status sync();
  uint64_t epoch() const { return epoch_; }
  uint64_t transactions() const { return transactions_; }
  uint64_t digest() const { return digest_; }
  Status close();  // moves the log into the main file; a set_epoch() begins anew

 private:
  struct Statements;
  enum State : uint64_t { kUnfinished = 0, kInUse = 1, kClosed = 2 };
  Status open_database(bool create);
  Status prepare();
  Status check_format();
  Status read_meta();
  Status write_meta();
  uint64_t meta_hash() const;
  static Status damaged_or(Status status);
  Result<Loaded> load_rows(const std::function<Status(const IndexRow&)>& row);
  Status apply_in_transaction(const IndexBatch& batch);
  Status apply_removals(const IndexBatch& batch);
  Status apply_additions(const IndexBatch& batch);
  Status update_low(const ClientLow& low);
  Status remove_and_subtract(Statement& statement, uint64_t kind);
  Status look_again(Status error, uint64_t attempted);
  Status remove_files();

  Disk& disk_;
  DriveUuid uuid_;
  uint64_t reserve_bytes_;
  std::unique_ptr<Database> db_;
  std::unique_ptr<Statements> statements_;
  uint64_t epoch_ = 0;
  uint64_t transactions_ = 0;
  uint64_t digest_ = 0;
  uint64_t state_ = kUnfinished;
  bool incomplete_ = false;
  Status failed_;
};

}  // namespace gd2fs
