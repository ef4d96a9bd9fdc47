#include "meta/check_metadata.h"

#include <map>

#include "meta/inode_ranges.h"
#include "meta/keys.h"
#include "meta/read_again.h"
#include "meta/records.h"
#include "meta/usage.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

constexpr size_t kPage = 256;

Task<Result<std::vector<KeyValue>>> read_page(MetaTransaction& tx, std::string begin,
                                              std::string end) {
  co_return co_await tx.scan(std::move(begin), std::move(end), kPage);
}

class Checker {
 public:
  explicit Checker(MetaStore& store) : store_(store) {}

  Task<Result<MetaFindings>> run() {
    GD2FS_CO_TRY(co_await each(kClusterTable, &Checker::check_cluster));
    GD2FS_CO_TRY(co_await each(kUsageTable, &Checker::add_usage));
    GD2FS_CO_TRY(co_await each(kDentryTable, &Checker::check_name));
    GD2FS_CO_TRY(co_await each(kInodeTable, &Checker::check_inode));
    GD2FS_CO_TRY(co_await each(kIntentTable, &Checker::check_intent));
    if (holds_ != held_) {
      found("names are held " + std::to_string(holds_) + " times by " + std::to_string(held_) +
            " intents");
    }
    for (const auto& [cluster, counted] : usage_) {
      if (!sums_.contains(cluster)) found("usage of no cluster " + std::to_string(cluster));
    }
    for (const auto& [cluster, sum] : sums_) {
      const ClusterUsage& counted = usage_[cluster];
      if (counted != sum) {
        found("usage of cluster " + std::to_string(cluster) + " says " + text(counted) +
              ", its files are " + text(sum));
      }
    }
    co_return std::move(out_);
  }

 private:
  using Check = Task<Status> (Checker::*)(const KeyValue&);

  static std::string text(const ClusterUsage& u) {
    return std::to_string(u.files) + " files " + std::to_string(u.directories) + " directories " +
           std::to_string(u.size_bytes) + "/" + std::to_string(u.reserved_bytes) + " bytes";
  }
  void found(std::string finding) {
    if (out_.findings.size() >= MetaFindings::kFindingsMax) return;
    out_.findings.push_back(std::move(finding));
  }
  void found(const KeyValue& kv, const std::string& finding) {
    found(printable_key(kv.key) + ": " + finding);
  }

  Task<Status> each(char table, Check check) {
    std::string begin = table_begin(table);
    for (;;) {
      GD2FS_CO_ASSIGN(const auto page, co_await read_again(store_, [&](MetaTransaction& tx) {
                        return read_page(tx, begin, table_end(table));
                      }));
      for (const KeyValue& kv : page) {
        ++out_.records;
        Status status = co_await (this->*check)(kv);
        if (status.is(StatusCode::corrupt)) {
          found(kv, std::string(status.text()));
        } else if (!status.ok()) {
          co_return status;
        }
      }
      if (page.size() < kPage) co_return Status();
      begin = page.back().key + '\0';
    }
  }

  Task<Result<std::optional<std::string>>> get(std::string key) {
    co_return co_await read_again(store_, [&](MetaTransaction& tx) { return tx.get(key); });
  }

  Task<Status> check_cluster(const KeyValue& kv) {
    GD2FS_CO_ASSIGN(const ClusterRecord record, ClusterRecord::decode(kv.key, kv.value));
    sums_[record.cluster.id];
    const std::string name_key = cluster_name_key(record.cluster.name);
    GD2FS_CO_ASSIGN(const auto value, co_await get(name_key));
    if (!value) co_return Status(StatusCode::corrupt, "a cluster without its name");
    GD2FS_CO_ASSIGN(const auto name, ClusterNameRecord::decode(name_key, *value));
    if (name.cluster != record.cluster.id) found(kv, "its name belongs to another cluster");
    GD2FS_CO_ASSIGN(const auto root, co_await get(inode_key(root_inode(record.cluster.id))));
    if (!root) found(kv, "a cluster without its root");
    co_return Status();
  }

  Task<Status> add_usage(const KeyValue& kv) {
    GD2FS_CO_ASSIGN(const UsageKey key, parse_usage_key(kv.key));
    GD2FS_CO_ASSIGN(const UsageRecord record, UsageRecord::decode(kv.key, kv.value));
    ClusterUsage& sum = usage_[key.cluster];  // wraps around below zero, and back in the sum
    sum.files += static_cast<uint64_t>(record.files);
    sum.directories += static_cast<uint64_t>(record.directories);
    sum.size_bytes += static_cast<uint64_t>(record.size_bytes);
    sum.reserved_bytes += static_cast<uint64_t>(record.reserved_bytes);
    co_return Status();
  }

  Task<Status> check_name(const KeyValue& kv) {
    GD2FS_CO_ASSIGN(const DentryKey key, parse_dentry_key(kv.key));
    GD2FS_CO_ASSIGN(const DentryRecord dentry, DentryRecord::decode(kv.key, kv.value));
    holds_ += dentry.holds;
    if (dentry.type == FileType::none) co_return Status();
    const std::string at = inode_key(dentry.inode);
    GD2FS_CO_ASSIGN(const auto value, co_await get(at));
    if (!value) co_return Status(StatusCode::corrupt, "a name without its inode");
    GD2FS_CO_ASSIGN(const InodeRecord inode, InodeRecord::decode(at, *value));
    if (inode.unlinked) found(kv, "a name of an unlinked inode");
    if (inode.type != dentry.type) found(kv, "name and inode are of different types");
    if (inode.parent != key.parent || inode.name != key.name) {
      found(kv, "the inode has another name: " + inode.name);
    }
    if (cluster_of_inode(dentry.inode) != cluster_of_inode(key.parent)) {
      found(kv, "a name of another cluster's inode");
    }
    co_return Status();
  }

  Task<Status> check_inode(const KeyValue& kv) {
    GD2FS_CO_ASSIGN(const uint64_t inode, parse_inode_key(kv.key));
    GD2FS_CO_ASSIGN(const InodeRecord record, InodeRecord::decode(kv.key, kv.value));
    const uint16_t cluster = cluster_of_inode(inode);
    if (!sums_.contains(cluster)) found(kv, "an inode of no cluster");
    if (record.pending_generation != 0 && record.type == FileType::file) {
      GD2FS_CO_ASSIGN(const auto intent,
                      co_await get(intent_key(inode, record.pending_generation)));
      if (!intent) found(kv, "it waits for an intent that is not there");
    }
    if (record.unlinked) {
      GD2FS_CO_ASSIGN(const auto intent, co_await get(intent_key(inode, record.generation)));
      if (!intent) found(kv, "an unlinked inode without an intent");
      co_return Status();
    }
    const std::string at = counter_key(cluster);
    GD2FS_CO_ASSIGN(const auto counter_value, co_await get(at));
    if (!counter_value) co_return Status(StatusCode::corrupt, "a cluster without its counter");
    GD2FS_CO_ASSIGN(const CounterRecord counter, CounterRecord::decode(at, *counter_value));
    if (inode_of(0, inode & kInodeNumberMax) >= counter.next) {
      found(kv, "a number that was not given out yet");
    }
    if (inode == root_inode(cluster)) co_return Status();
    ClusterUsage& sum = sums_[cluster];
    if (record.type == FileType::file) {
      ++sum.files;
      sum.size_bytes += record.size_bytes;
      sum.reserved_bytes += record.reserved_bytes;
      if (record.reserved_bytes < record.size_bytes) found(kv, "less reserved than its size");
    } else {
      ++sum.directories;
    }
    const std::string name_at = dentry_key(record.parent, record.name);
    GD2FS_CO_ASSIGN(const auto value, co_await get(name_at));
    if (!value) co_return Status(StatusCode::corrupt, "an inode without its name");
    GD2FS_CO_ASSIGN(const DentryRecord dentry, DentryRecord::decode(name_at, *value));
    if (dentry.inode != inode) found(kv, "its name belongs to another inode");
    GD2FS_CO_ASSIGN(const auto parent, co_await get(inode_key(record.parent)));
    if (!parent) found(kv, "its directory is not there");
    co_return Status();
  }

  Task<Status> check_intent(const KeyValue& kv) {
    GD2FS_CO_ASSIGN(const IntentRecord record, IntentRecord::decode(kv.key, kv.value));
    held_ += record.held.size();
    if (record.intent.settled && !record.held.empty()) found(kv, "settled, and still holds a name");
    for (const HeldName& held : record.held) {
      const std::string at = dentry_key(held.parent, held.name);
      GD2FS_CO_ASSIGN(const auto value, co_await get(at));
      if (!value) {
        found(kv, "it holds a name that is not there");
        continue;
      }
      GD2FS_CO_ASSIGN(const DentryRecord dentry, DentryRecord::decode(at, *value));
      if (dentry.holds == 0) found(kv, "it holds a name that says it is free");
    }
    co_return Status();
  }

  MetaStore& store_;
  MetaFindings out_;
  std::map<uint16_t, ClusterUsage> sums_;   // what there is
  std::map<uint16_t, ClusterUsage> usage_;  // what the usage records say
  uint64_t holds_ = 0;
  uint64_t held_ = 0;
};

}  // namespace

Task<Result<MetaFindings>> check_metadata(MetaStore& store) {
  Checker checker(store);
  co_return co_await checker.run();
}

}  // namespace gd2fs
