// CapabilityKeys: the keys that capabilities are signed with, kept in the MetaStore. A new key is
// told to the servers before the first capability is signed with it, and the one before it stays
// good until the next change. One loop.
#pragma once

#include <functional>
#include <string>

#include "controller/records.h"
#include "loop/task.h"
#include "meta/meta_store.h"
#include "meta/namespace.h"
#include "wire/capability.h"
#include "wire/messages_generated.h"

namespace gd2fs::controller {

class CapabilityKeys {
 public:
  CapabilityKeys(MetaStore& store, std::function<void(Bytes)> make_secret)
      : store_(store), make_secret_(std::move(make_secret)) {}

  // Loads the keys, or makes the first one.
  Task<Status> open(uint64_t now_us);
  bool due(uint64_t now_us, uint64_t life_us) const {
    return now_us >= record_.made_us + life_us || now_us < record_.made_us;
  }
  // Makes a new key durable. Until switch_over() capabilities are still signed with the one before.
  Task<Status> make_next(uint64_t now_us);
  // The same, and no capability that was signed before is good any more.
  Task<Status> make_only(uint64_t now_us);
  void switch_over() { signing_ = record_.current; }
  bool switched_over() const { return signing_ == record_.current; }

  // Both keys, for data servers.
  void fill(msg::ClusterKeysT& keys) const;
  SealedCapability seal(const InodeInfo& info, bool may_write, uint64_t expiry_us) const;

 private:
  CapabilityKeysRecord new_key(uint64_t now_us) const;
  Task<Status> save(CapabilityKeysRecord record);

  MetaStore& store_;
  std::function<void(Bytes)> make_secret_;
  CapabilityKeysRecord record_;
  std::string signing_;
};

}  // namespace gd2fs::controller
