// Namespace: clusters, directories, files: names, sizes, generations and quota, on a MetaStore.
// Knows no network and no server: what the data servers must be told before an answer may leave is
// handed to the caller as intents.
//
// The caller (a controller operation) does, for unlink, truncate and rename (docs/protocol.md):
//   1. auto answer = co_await names.unlink(cluster, path, tag);       // committed
//   2. for each of answer.intents: send the fence that it describes to every server (that of a
//      namespace epoch, too) and wait until each has made it durable or its lease has surely ended;
//   3. all answered: co_await names.finish_intents(answer.intents). One did not, but its lease has
//      ended: settle_intents(), and finish_intents() when the last one has answered;
//   4. acknowledge to the client.
// After a crash pending_intents() lists what was not finished; do 2 and 3 for each of them before
// anything depends on it. A retried mutation whose intents are not settled answers with them again:
// do 2 to 4 again. To one server, the fences of one inode go in the order of their generations; a
// server ignores one that is not above what it has.
//
// Open intents. Until an intent is settled, nobody learns of what it did: the names that it took
// away or gave a new meaning, all names below such a directory, and the inode itself are held.
// Whatever meets one answers busy: wait_for_settle(), then again; so does the rename of a directory
// that has held names below it. readdir shows held names as they were. So nobody holds a new
// generation while its fence is under way, and nobody who saw the new state can be followed by a
// reader whose old layout still works. An unlinked inode stays as a tombstone until
// finish_intents() removes it; its number is never used again.
//
// Retries. Every mutation takes a MutationTag and commits its answer, success or failure, in the
// same transaction. The same tag again gets the same answer and runs nothing. The window is
// kTagWindow sequences per incarnation: sequence - low < kTagWindow, else invalid; a sequence below
// what the client has had answered (or of a client forgotten by expire_clients) is stale. reserve,
// set_size and finish_intents need no tag: they are idempotent by themselves.
//
// Failures (text says which path): not_found ENOENT; exists EEXIST; invalid EINVAL, ENAMETOOLONG,
// ENOTDIR, EISDIR, ENOTEMPTY, EFBIG; no_space EDQUOT; stale (old generation: look up again); busy
// (held by an open intent, or too many mutations at once: retry); corrupt (a damaged record); what
// the store answers.
//
// Thread rule: one loop, the MetaStore's. Several Namespaces (controllers) may share one
// distributed store. The Namespace outlives its tasks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "loop/loop.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "wire/ids.h"

namespace gd2fs {

struct NamespaceCore;  // namespace_core.h: what the operations share

enum class Durability : uint8_t { disk = 0, memory = 1 };

struct ClusterPolicy {
  uint8_t chunk_log2 = kChunkLog2Default;  // of new files
  uint64_t quota_bytes = 0;                // of reserved bytes; 0 = none
  Durability durability = Durability::disk;
  friend bool operator==(const ClusterPolicy&, const ClusterPolicy&) = default;
};

struct Cluster {
  uint16_t id = 0;  // >= 1, never reused
  std::string name;
  ClusterPolicy policy;
  std::string token;           // secret
  std::string previous_token;  // still good while clients change over; empty if there is none
  uint64_t namespace_epoch = 1;
  uint64_t created_us = 0;
  friend bool operator==(const Cluster&, const Cluster&) = default;
};

struct ClusterUsage {
  uint64_t files = 0;
  uint64_t directories = 0;     // without the root
  uint64_t size_bytes = 0;      // the sum of sizes
  uint64_t reserved_bytes = 0;  // the sum of reserved bytes (>= size); the quota bounds it
  friend bool operator==(const ClusterUsage&, const ClusterUsage&) = default;
};

struct InodeInfo {
  uint64_t inode = 0;
  FileType type = FileType::none;
  uint64_t generation = 0;
  uint64_t size_bytes = 0;
  uint64_t reserved_bytes = 0;
  uint8_t chunk_log2 = 0;
  uint32_t layout_version = 0;  // of the group map that places its chunks
  uint64_t mtime_us = 0;        // created, extended or truncated
  uint64_t ctime_us = 0;        // also renamed
  bool pinned = false;          // to be kept in the servers' memory
  uint64_t namespace_epoch = 0;
  friend bool operator==(const InodeInfo&, const InodeInfo&) = default;
};

// What servers must know before a mutation is acknowledged.
struct Intent {
  uint64_t inode = 0;                // cluster << 48 when this raises the cluster's namespace epoch
  uint64_t generation = 0;           // the inode's new one: lower ones are stale from now on
  uint64_t keep_bytes = UINT64_MAX;  // drop all bytes from here on; UINT64_MAX: drop none
  uint8_t chunk_log2 = 0;
  bool unlinked = false;
  uint64_t namespace_epoch = 0;  // the new one after a directory rename; else 0
  bool settled = false;          // acknowledged, but owed to a server that was down
  friend bool operator==(const Intent&, const Intent&) = default;
};

struct Mutated {
  InodeInfo info;               // as it was right after the mutation
  std::vector<Intent> intents;  // not settled: fence, then acknowledge
  bool replayed = false;        // the tag was seen before
};

struct Looked {
  InodeInfo info;
  bool created = false;
};

struct DirectoryEntry {
  std::string name;
  FileType type = FileType::none;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  uint64_t mtime_us = 0;
};

struct DirectoryPage {
  std::vector<DirectoryEntry> entries;  // by name, bytewise
  bool more = false;                    // ask again after the last name
};

struct CreateOptions {
  uint64_t size_bytes = 0;  // the file begins with so many zeros
  uint8_t chunk_log2 = 0;   // 0 = the cluster's policy
  uint32_t layout_version = 1;
};

class Namespace {
 public:
  static constexpr uint64_t kTagWindow = 256;
  static constexpr size_t kReaddirMax = 1000;
  static constexpr size_t kTokenMaxBytes = 128;
  static constexpr uint16_t kClustersMax = 65534;  // ever made in a deployment
  static constexpr uint64_t kQuotaMaxBytes = uint64_t{1} << 62;
  static constexpr size_t kIntentsPageMax = 100;
  static constexpr size_t kMutationsWaitingMax = 4096;  // over it: busy

  // Makes the records of an empty store. unsupported: a newer version wrote it; invalid: a load was
  // cut off in it.
  static Task<Result<std::unique_ptr<Namespace>>> open(Loop& loop, MetaStore& store);
  ~Namespace();
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;

  // --- clusters ---
  // exists if the name is taken (the answer to a retry is the cluster). Names are 1..64 of
  // [A-Za-z0-9._-], not beginning with '.' or '-'.
  Task<Result<Cluster>> create_cluster(std::string name, ClusterPolicy policy, std::string token,
                                       MutationTag tag);
  Task<Result<std::vector<Cluster>>> list_clusters();  // by name
  Task<Result<Cluster>> find_cluster(std::string name);
  Task<Result<Cluster>> get_cluster(uint16_t cluster);
  // ENOTEMPTY unless the root is empty; busy while an intent of the cluster is open.
  Task<Status> remove_cluster(std::string name, MutationTag tag);
  // A quota below what is reserved is kept: nothing more can be reserved until enough was removed.
  Task<Result<Cluster>> set_policy(std::string name, ClusterPolicy policy, MutationTag tag);
  // token becomes current, the current one previous. A retry answers the first one's cluster.
  Task<Result<Cluster>> rotate_token(std::string name, std::string token, MutationTag tag);
  Task<Status> drop_previous_token(std::string name, MutationTag tag);
  Task<Result<ClusterUsage>> usage(uint16_t cluster);
  // Of each cluster, an inode above all of its inodes and not above any that is made later.
  Task<Result<std::vector<uint64_t>>> inode_ends();

  // --- reading names ---
  Task<Result<InodeInfo>> lookup(uint16_t cluster, std::string path);  // a file or a directory
  // For a write to a path that may not exist: creates an empty file (not its directory).
  Task<Result<Looked>> lookup_or_create(uint16_t cluster, std::string path, CreateOptions options,
                                        MutationTag tag);
  // For messages and bookkeeping, whatever is under way.
  Task<Result<InodeInfo>> stat_inode(uint64_t inode);
  // At most limit (<= kReaddirMax) entries after the name `after` ("" = from the start). The names
  // are of one instant; sizes may be newer, and what was unlinked in between is left out.
  Task<Result<DirectoryPage>> readdir(uint16_t cluster, std::string path, std::string after,
                                      size_t limit);
  // Sums a directory tree (or one file); reserved bytes too. Not of one instant: the tree may
  // change meanwhile.
  Task<Result<ClusterUsage>> usage_of(uint16_t cluster, std::string path);
  // For messages: "cluster:/a/b".
  Task<Result<std::string>> path_of(uint64_t inode);

  // --- changing names ---
  Task<Result<Mutated>> create(uint16_t cluster, std::string path, CreateOptions options,
                               MutationTag tag);
  Task<Result<Mutated>> mkdir(uint16_t cluster, std::string path, MutationTag tag);
  Task<Result<Mutated>> rmdir(uint16_t cluster, std::string path, MutationTag tag);
  Task<Result<Mutated>> unlink(uint16_t cluster, std::string path, MutationTag tag);
  // Files and directories; replaces a file, or an empty directory by a directory, atomically.
  Task<Result<Mutated>> rename(uint16_t cluster, std::string from, std::string to, MutationTag tag);
  Task<Result<Mutated>> truncate(uint16_t cluster, std::string path, uint64_t size_bytes,
                                 MutationTag tag);

  // To be kept in the servers' memory, or no longer. Files only (EISDIR). Raises no generation:
  // what servers know of it comes with the capabilities.
  Task<Result<Mutated>> set_pinned(uint16_t cluster, std::string path, bool pinned,
                                   MutationTag tag);

  // --- sizes; by inode, because they follow I/O ---
  // Before data moves: reserved = max(reserved, end).
  Task<Result<InodeInfo>> reserve(uint64_t inode, uint64_t generation, uint64_t end_bytes);
  // After data and index are durable: size = max(size, end). Reserves too if the caller has not.
  Task<Result<InodeInfo>> set_size(uint64_t inode, uint64_t generation, uint64_t end_bytes);
  // Gives back what is reserved past the size, when its writer is known to be gone.
  Task<Result<InodeInfo>> release_reservation(uint64_t inode, uint64_t generation);

  // --- intents ---
  // In order of (inode, generation), those after `after`; at most kIntentsPageMax. Settled or not.
  Task<Result<std::vector<Intent>>> pending_intents(Intent after);
  // Idempotent, both. settle: what they held is free; they stay pending. finish: settled, and gone.
  Task<Status> settle_intents(std::vector<Intent> intents);
  Task<Status> finish_intents(std::vector<Intent> intents);
  // Until an intent was settled or finished here, or timeout_ns passed.
  Task<void> wait_for_settle(uint64_t timeout_ns);

  // --- background ---
  // Shrinks the tag records of clients that have been silent since before_us to one floor record
  // each, below which everything is stale. Answers how many clients.
  Task<Result<uint64_t>> expire_clients(uint64_t before_us);

 private:
  explicit Namespace(std::unique_ptr<NamespaceCore> core);
  std::unique_ptr<NamespaceCore> core_;
};

}  // namespace gd2fs
