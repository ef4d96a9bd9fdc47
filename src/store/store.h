// Store: a server's chunk engine. Keeps chunk bytes on drives and in the slab; knows no network.
//
// A chunk is a fixed-size piece of a file (power of two, 64 KiB..64 MiB) made of 64 KiB blocks, the
// unit of checksum and of copy-on-write. A read answers slices of immutable, verified slab pages. A
// write is reserved first (extent and page allocated: no_space comes before any byte moves), filled
// by the caller, then committed: data and descriptor durable, index durable, acknowledged. One
// write to one chunk is atomic: it becomes one extent with one self-checked descriptor.
// docs/on_disk.md has the format.
//
// Invariants
//  - a page is immutable once readable; a write publishes a new page;
//  - bytes handed out were checked against their block checksum when they entered the slab;
//  - an extent is reused only after the index commit that dropped it and the last disk read of it
//    have ended;
//  - a block that no extent covers reads as zeros only if every drive that may hold it is known
//    complete, else the answer is io.
//
// Thread rule: everything on one loop. Nothing blocks: SQLite and fallocate run on each drive's
// worker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/shared_arena.h"
#include "disk/disk.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include "store/drive_uuid.h"
#include "wire/ids.h"

namespace gd2fs {

inline constexpr uint32_t kBlockBytes = 64 * 1024;

// A run of bytes ends at multiples of this at the latest, so that the fabric sends it as one stripe
// with the crc given here. (The crcs of a longer run's stripes are not known; making them read the
// bytes once more and cost a fifth of the throughput.)
inline constexpr uint32_t kSliceBlocksMax = 8;

// A run of a read's answer, in order. zeros: no bytes are stored; `bytes` is empty.
struct StoreSlice {
  ConstBytes bytes;
  uint32_t length_bytes = 0;
  uint32_t crc = 0;  // of exactly these bytes, made from verified block checksums; not if uncut
  bool zeros = false;
  // Where it lies in memory that clients on this host may map; null if they may not.
  SharedArena* arena = nullptr;
  uint64_t arena_offset = 0;
  uint64_t page_generation = 0;
};

class SlabPage;
class Store;

// Of one drive read into the slab.
inline constexpr uint32_t kFillMaxBytes = 4 << 20;

// One read of a range within one chunk; caller-owned. After `done` is ok the slices stay valid
// until release(), also if the chunk is overwritten or dropped meanwhile.
struct StoreRead {
  ChunkKey key;
  uint8_t chunk_log2 = kChunkLog2Default;
  uint32_t offset_bytes = 0;  // any alignment; offset + length <= chunk size
  uint32_t length_bytes = 0;
  uint64_t generation = 0;  // older than the inode's fence: stale
  bool sequential = false;  // hint: fill whole neighbouring ranges
  // Hint: so much of what follows will be asked for soon. It is filled too, by whole chunks, where
  // there is room.
  uint64_t ahead_bytes = 0;
  // Brings the bytes into the slab and answers none; does not wait for room.
  bool fill_only = false;
  // Hints for the end of a long request, where little should be left to be checked and sent when
  // its last bytes come from the drive. What is to be read behind this for the same request
  // (UINT64_MAX: perhaps more), and of what size a drive read is at most (a multiple of
  // kBlockBytes, > 0).
  uint64_t left_bytes = UINT64_MAX;
  uint32_t fill_bytes_max = kFillMaxBytes;
  // For who moves the bytes without cutting and checking them: slices reach to the ends of their
  // pages and have no crc.
  bool uncut = false;
  Completion done;

  std::vector<StoreSlice> slices;
  bool hit = false;          // no disk read was needed
  bool in_read_now = false;  // the store's own
  void release();
  ~StoreRead() { release(); }

 private:
  friend class Store;
  friend struct StoreReadState;
  std::vector<SlabPage*> pages_;
};

// One write to one chunk; caller-owned. reserve() -> fill `buffer` -> commit() or abort().
struct StoreWrite {
  ChunkKey key;
  uint8_t chunk_log2 = kChunkLog2Default;
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;  // > 0
  uint64_t generation = 0;
  MutationTag tag;
  uint32_t group = 0;  // fencing number of the group, kept with the data for replication
  uint64_t epoch = 0;
  // Durability memory: commit() completes when readers see the bytes, before a drive has them,
  // while not too much is in that state. They are written back at once; flush() waits for it.
  bool ack_from_memory = false;
  Completion done;

  // After reserve() completed ok: where the caller puts the length_bytes of payload, contiguous
  // slab memory. Empty when `replayed`.
  Bytes buffer;
  // At commit(): empty, or the crc32c of each kBlockBytes of the buffer, which must then begin and
  // end with a block. The caller took them of these very bytes when they came; they are kept as
  // they are.
  std::span<const uint32_t> block_crcs;
  // The tag was seen before: nothing to fill, the recorded result is in done.status.
  bool replayed = false;
  uint64_t version = 0;  // after commit

 private:
  friend class Store;
  friend struct StoreWriteState;
  struct StoreWriteState* state_ = nullptr;
};

// What an inode's holder must know before a controller acknowledges unlink, rename or truncate.
struct StoreFence {
  uint64_t inode = 0;
  uint64_t generation = 0;  // requests with a lower one are stale from now on
  // Drops all bytes from here on (0 = the whole file, an unlink when `unlinked`). UINT64_MAX: keeps
  // all (a rename). The rest of a block cut in two reads as zeros.
  uint64_t keep_bytes = UINT64_MAX;
  uint8_t chunk_log2 = kChunkLog2Default;
  bool unlinked = false;
};

// Keep a file's pages in memory, or no longer.
struct StorePin {
  uint64_t inode = 0;
  bool pinned = false;
  uint64_t stamp_us = 0;    // of this word; an older one than the last is ignored
  bool told = false;        // somebody asks for it now: size_bytes counts, and may be refused
  uint64_t size_bytes = 0;  // of the file
};

struct StoreResidency {
  uint64_t bytes = 0;  // in the slab
  bool pinned = false;
};

struct StoreStats {
  uint64_t chunks = 0;
  uint64_t extents = 0;
  uint64_t used_bytes = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
  uint64_t slab_bytes = 0;
  uint64_t slab_used_bytes = 0;
  uint64_t slab_pinned_bytes = 0;
  uint64_t slab_dirty_bytes = 0;     // acknowledged from memory, not yet on a drive
  uint64_t slab_stranded_bytes = 0;  // of these, what no drive took
  uint64_t read_hits = 0;
  uint64_t read_misses = 0;
  uint64_t disk_read_bytes = 0;
  uint64_t disk_write_bytes = 0;
  uint64_t commits = 0;  // group commits
  uint64_t committed_writes = 0;
  uint64_t corrupt_blocks = 0;
  uint64_t slots_taken = 0;    // when all is quiet: as many as extents
  uint64_t slots_unwiped = 0;  // free, with an old descriptor in them
  uint64_t pages_held = 0;
  uint32_t drives = 0;
  uint32_t drives_set_aside = 0;
  uint32_t drives_missing = 0;  // others that this store has had, and may still have bytes on
};

struct ScrubReport {
  uint64_t extents = 0;
  uint64_t bytes = 0;
  uint64_t corrupt_blocks = 0;
  std::vector<std::string> findings;  // "drive /d0 data/c06-0 slot 3: inode 7 chunk 1 block 5: crc"
  bool finished = false;
};

// Memory for arenas: sealed memfds outside, plain memory in sim/. One thread at a time.
class ArenaSource {
 public:
  virtual ~ArenaSource() = default;
  // At most `count` arenas of this length will be out at a time: a source that can do so beside the
  // caller's work gives them their memory ahead. (A page fault costs more than the copy of its
  // bytes, and would be paid by the first who write.) count 0: no more from now on.
  virtual void prepare(size_t /*length_bytes*/, size_t /*count*/) {}
  struct Arena {
    std::byte* data = nullptr;
    size_t length_bytes = 0;
    int fd = -1;  // the sealed memfd, -1 if there is none
    // Of a memfd: the table that SharedArena speaks of, all 0, and its memfd, sealed alike.
    Generation* generations = nullptr;
    int generations_fd = -1;
  };
  virtual Result<Arena> make(size_t length_bytes) = 0;
  virtual void destroy(Arena& arena) = 0;
};
std::unique_ptr<ArenaSource> memfd_arena_source();
std::unique_ptr<ArenaSource> plain_arena_source();

struct StoreDrive {
  std::unique_ptr<Disk> disk;
  std::unique_ptr<Worker> worker;
};

struct StoreOptions {
  uint64_t deployment_id = 0;  // a data directory of another deployment is refused
  uint64_t slab_bytes = 1 * kGiB;
  uint64_t arena_bytes = 1 * kGiB;            // smaller for small slabs and tests
  uint64_t data_file_bytes = 1 * kGiB;        // preallocation unit, smaller for tests
  uint64_t drive_reserve_bytes = 64 * kMiB;   // kept free for the index
  uint64_t drive_deadline_ns = 10 * kSecond;  // a transfer older than this sets its drive aside
  uint64_t drive_window_bytes = 8 * kMiB;     // of large transfers in a drive's hands; > 0
  uint64_t commit_delay_ns = 0;               // extra wait to gather a group commit
  uint32_t check_helpers = 0;         // threads at most that verify large reads beside the loop
  uint64_t patient_bytes = 1 * kMiB;  // a write of so much may wait for more of its file
  uint64_t write_back_max_bytes = 0;  // dirty in the slab; 0: a quarter of it
  bool rebuild = false;               // rebuild the index by scan even if there is one
  // Drives of this store that are lost for good; opening fails (invalid) if one is here or unknown.
  // Those that have been forgotten already may stay on the list.
  std::vector<DriveUuid> forget_drives;
};

class Store {
 public:
  // Opens (or makes, on an empty directory) every drive: checks identity and version, replays or
  // rebuilds. A drive that cannot be opened is logged and set aside; an error is answered only if
  // none is left, or if one belongs to another deployment, is of a newer version, or is in use.
  static Task<Result<std::unique_ptr<Store>>> open(Loop& loop, std::vector<StoreDrive> drives,
                                                   std::unique_ptr<ArenaSource> arenas,
                                                   StoreOptions options, Random random);
  virtual ~Store() = default;
  // Waits for what is in flight, makes the drives' state clean. No calls after it.
  virtual Task<Status> close() = 0;

  // not_found is never an answer: a chunk that is not there is zeros. stale, corrupt, io, busy,
  // unavailable.
  virtual void read(StoreRead& read) = 0;
  // The same, but what needs no waiting, as a hit does not, has ended when it returns: true, and
  // `done` has the outcome but its method does not run.
  virtual bool read_now(StoreRead& read) = 0;

  // Reserves; busy while the slab is full of pages in use, no_space when the drives are.
  virtual void reserve(StoreWrite& write) = 0;
  // After the buffer is filled: durable when it completes ok (but for ack_from_memory). stale if a
  // fence passed meanwhile; no_space if a first write of another has taken the chunk to a drive
  // that is full.
  virtual void commit(StoreWrite& write) = 0;
  // Instead of commit; the buffer may not be touched any more. Nothing completes.
  virtual void abort(StoreWrite& write) = 0;

  // Durable when it completes ok. Idempotent.
  virtual void fence(const StoreFence& fence, Completion& done) = 0;
  // Completes when every write that was acknowledged before is durable (with durability disk it is
  // already). io, no_space: some were acknowledged from memory, and no drive takes them.
  virtual void flush(Completion& done) = 0;

  // Drops clean pages of one inode (UINT64_MAX: all) from the slab, so that the next read is a
  // miss; pages in use stay.
  virtual void evict(uint64_t inode) = 0;

  // no_space: more than may be pinned, with the numbers in the text; busy: too many files are.
  virtual Status pin(const StorePin& pin) = 0;
  // Of this range of one chunk, counted in blocks that overlap it, but not past the range.
  virtual StoreResidency residency(const ChunkKey& key, uint32_t offset_bytes,
                                   uint32_t length_bytes) const = 0;

  // Whether a drive was missing when it was opened: fences that it alone had are not known, so that
  // a request from before them would be let in.
  virtual bool fences_unsure() const = 0;
  // The controller says that the inode has this generation: requests of lower ones are stale.
  virtual void reached(uint64_t inode, uint64_t generation) = 0;
  // Whether drives of StoreOptions::forget_drives are still counted as missing.
  virtual bool has_drives_to_forget() const = 0;
  // Forgets them, durably, before anything is served. What they may have had of inodes that exist
  // now is lost: io where nothing newer is. `inode_ends`: of each cluster, an inode above all of
  // its inodes that exist and not above any that is made later.
  virtual Task<Status> forget_drives(std::vector<uint64_t> inode_ends) = 0;

  // Checks every extent against its checksums at most rate_bytes_per_s (0: no limit).
  virtual Task<ScrubReport> scrub(uint64_t rate_bytes_per_s) = 0;

  virtual StoreStats stats() const = 0;
  // For the controller's bookkeeping and tests: bytes stored per inode, and which inodes there are.
  virtual std::vector<uint64_t> inodes() const = 0;
};

}  // namespace gd2fs
