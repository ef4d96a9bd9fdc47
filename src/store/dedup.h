// DedupWindow: which mutations have happened, so that a retry is answered and not executed again.
//
// A mutation is named by {incarnation, sequence} and the chunk it changed (one client request may
// be cut into pieces for several chunks that share a sequence). It is remembered while its client
// may still ask: from the client's `low` on. Below low the answer is stale, for ever: low itself is
// durable. Everything recorded here was committed to the index in the mutation's own transaction.
//
// Thread rule: the store's loop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "loop/clock.h"
#include "store/log_record.h"

namespace gd2fs {

class DedupWindow {
 public:
  static constexpr size_t kEntriesPerClientMax = 8192;
  static constexpr size_t kClientsWanted = 4096;  // idle ones expire beyond this
  static constexpr size_t kClientsMax = 16 * 4096;
  static constexpr uint64_t kIdleNs = 3600 * kSecond;

  enum class Verdict : uint8_t { fresh, replayed, stale };
  Verdict check(const MutationTag& tag, const ChunkKey& key, uint64_t* version) const;
  bool full(uint64_t incarnation) const;

  // What must change in the indexes when a mutation is recorded.
  struct Forgotten {
    TagRecord record;
    uint16_t drive = 0;
  };
  // The client's low after recording this tag; entries below it are appended to `forgotten`.
  uint64_t record(const TagRecord& record, uint16_t drive, uint64_t now_ns,
                  std::vector<Forgotten>* forgotten);
  // From a drive at start; in any order. raise_low() afterwards drops what lies below.
  void load(const TagRecord& record, uint16_t drive, uint64_t now_ns);
  uint64_t raise_low(uint64_t incarnation, uint64_t low, uint64_t now_ns,
                     std::vector<Forgotten>* forgotten);
  uint64_t low_of(uint64_t incarnation) const;

  // The tag of a version that is still in the window: its descriptor is about to go. With what the
  // client's low is by now, so that the record keeps that too.
  std::optional<TagRecord> find_version(uint64_t version) const;
  void logged(uint64_t version);  // it now stands in the drive's log
  // Entries of the drive that only its log would bring back after a rebuild.
  void logged_records(uint16_t drive, std::vector<TagRecord>* out) const;
  void records(uint16_t drive, std::vector<TagRecord>* out) const;
  void lows(std::vector<std::pair<uint64_t, uint64_t>>* out) const;
  // Clients idle for kIdleNs, beyond kClientsWanted: dropped, with their entries.
  std::vector<uint64_t> expire(uint64_t now_ns, std::vector<Forgotten>* forgotten);
  size_t entries() const { return by_version_.size(); }

 private:
  using Key = std::pair<uint64_t, ChunkKey>;  // sequence, chunk
  struct Entry {
    TagRecord record;
    uint16_t drive = 0;
    bool logged = false;
  };
  struct Client {
    uint64_t low = 0;
    uint64_t seen_ns = 0;
    std::map<Key, Entry> entries;
  };
  static TagRecord with_low(const TagRecord& record, const Client& client);
  void drop_below(Client& client, std::vector<Forgotten>* forgotten);

  std::unordered_map<uint64_t, Client> clients_;
  std::unordered_map<uint64_t, Entry*> by_version_;
};

}  // namespace gd2fs
