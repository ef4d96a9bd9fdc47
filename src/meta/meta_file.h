// MetaFile: the SQLite side of the embedded metadata store, blocking: one table
// kv(key, value) and one row that says whose it is. docs/on_disk_meta.md has the format.
//
// Opening refuses a file of a newer schema, of another deployment, or of something else, and checks
// every page after a process that did not close it. A COMMIT that fails leaves open whether it
// happened: the file is then opened again and looked into; only if that fails, too, nobody knows,
// and every later call tries to open it first.
//
// Thread rule: one thread (its Worker); before the first and after the last job, any one.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "disk/disk.h"
#include "meta/optimistic_store.h"
#include "meta/sqlite_vfs/database.h"

namespace gd2fs {

struct MetaFileOptions {
  std::string name = "meta.db";    // on the Disk
  uint64_t deployment_id = 0;      // that it must have; 0: any
  uint64_t new_deployment_id = 0;  // that it gets when it is made; 0: it must be there
  uint32_t page_cache_kib = 16 * 1024;
  // The log is moved to the main file when it has this many pages; until then commits are shorter.
  uint32_t checkpoint_pages = 4096;
};

class MetaFile {
 public:
  static constexpr int64_t kSchema = 1;
  static constexpr int64_t kApplicationId = 0x4744324D;  // "GD2M"

  MetaFile(Disk& disk, MetaFileOptions options) : disk_(disk), options_(std::move(options)) {}

  // not_found, unsupported (newer), invalid (of another deployment, or no metadata), corrupt, busy
  // (another process has it), io.
  Status open();
  Status read(MetaRead& read);
  // All or nothing. ok: durable. unavailable: nobody knows. Else: nothing happened.
  Status write(std::span<const MetaWrite> writes);
  // Marks it as closed in order.
  Status close();

  uint64_t deployment_id() const { return deployment_id_; }
  uint64_t opens() const { return opens_; }  // how often it has been opened, this time included

 private:
  Status open_database();
  Status make();
  Status check_identity();
  Status mark_open();
  Status prepare();
  Status ensure_open();
  void drop();
  Status read_keys(MetaRead& read);
  Status read_range(MetaRead& read);
  Status apply(std::span<const MetaWrite> writes);
  // After a COMMIT that failed with `failure`.
  Status look_again(std::span<const MetaWrite> writes, const Status& failure);
  Result<bool> holds(std::span<const MetaWrite> writes);
  Result<int64_t> query_int(std::string_view sql);

  Disk& disk_;
  MetaFileOptions options_;
  std::unique_ptr<Database> database_;
  Statement get_;
  Statement scan_;
  Statement put_;
  Statement remove_;
  Statement begin_;
  Statement commit_;
  uint64_t deployment_id_ = 0;
  uint64_t opens_ = 0;
};

}  // namespace gd2fs
