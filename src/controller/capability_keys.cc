#include "controller/capability_keys.h"

namespace gd2fs::controller {

Task<Status> CapabilityKeys::open(uint64_t now_us) {
  const std::string key = capability_keys_key();
  auto transaction = store_.begin();
  GD2FS_CO_ASSIGN(const auto value, co_await transaction->get(key));
  if (!value.has_value()) {
    GD2FS_CO_TRY(co_await make_next(now_us));
  } else {
    GD2FS_CO_ASSIGN(record_, decode_capability_keys(key, *value));
  }
  switch_over();
  co_return Status();
}

CapabilityKeysRecord CapabilityKeys::new_key(uint64_t now_us) const {
  CapabilityKeysRecord record;
  record.current.resize(kCapabilityKeyBytes);
  make_secret_(as_writable_bytes(record.current.data(), record.current.size()));
  record.made_us = now_us;
  return record;
}

Task<Status> CapabilityKeys::make_next(uint64_t now_us) {
  CapabilityKeysRecord next = new_key(now_us);
  next.previous = record_.current;
  co_return co_await save(std::move(next));
}

Task<Status> CapabilityKeys::make_only(uint64_t now_us) {
  co_return co_await save(new_key(now_us));
}

Task<Status> CapabilityKeys::save(CapabilityKeysRecord record) {
  const std::string key = capability_keys_key();
  auto transaction = store_.begin();
  transaction->put(key, encode(record, key));
  GD2FS_CO_TRY(co_await transaction->commit());
  record_ = std::move(record);
  co_return Status();
}

void CapabilityKeys::fill(msg::ClusterKeysT& keys) const {
  keys.capability_key.assign(record_.current.begin(), record_.current.end());
  keys.capability_key_previous.assign(record_.previous.begin(), record_.previous.end());
}

SealedCapability CapabilityKeys::seal(const InodeInfo& info, bool may_write,
                                      uint64_t expiry_us) const {
  Capability capability;
  capability.cluster_id = cluster_of_inode(info.inode);
  capability.inode = info.inode;
  capability.generation = info.generation;
  capability.expiry_us = expiry_us;
  capability.chunk_log2 = info.chunk_log2;
  capability.may_read = true;
  capability.may_write = may_write;
  capability.pinned = info.pinned;
  return seal_capability(capability, signing_);
}

}  // namespace gd2fs::controller
