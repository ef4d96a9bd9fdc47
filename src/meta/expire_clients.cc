// expire_clients: forgets the answers given to clients that have long been silent, but never that
// they were given: a floor record stays, below which everything is stale.
#include <algorithm>

#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"

namespace gd2fs {

namespace {

constexpr size_t kSlotsPerTransaction = 90;

struct ClientRecords {
  TagFloorRecord floor;
  std::vector<std::string> slots;  // keys
  bool silent = true;
};

Task<Result<std::optional<uint64_t>>> next_client(MetaTransaction& tx, std::string begin) {
  GD2FS_CO_ASSIGN(const auto found, co_await tx.scan(std::move(begin), table_end(kTagTable), 1));
  if (found.empty()) co_return std::nullopt;
  GD2FS_CO_ASSIGN(const TagKey key, parse_tag_key(found.front().key));
  co_return key.incarnation;
}

Task<Result<ClientRecords>> read_client(MetaTransaction& tx, uint64_t incarnation,
                                        uint64_t before_us) {
  const std::string floor_key = tag_floor_key(incarnation);
  GD2FS_CO_ASSIGN(const auto found,
                  co_await tx.scan(floor_key, tag_slot_key(incarnation, UINT8_MAX) + '\0',
                                   Namespace::kTagWindow + 1));
  ClientRecords client;
  for (const KeyValue& kv : found) {
    if (kv.key == floor_key) {
      GD2FS_CO_ASSIGN(const TagFloorRecord floor, TagFloorRecord::decode(kv.key, kv.value));
      client.floor.sequence = std::max(client.floor.sequence, floor.sequence);
      continue;
    }
    GD2FS_CO_ASSIGN(const AnswerRecord record, AnswerRecord::decode(kv.key, kv.value));
    client.slots.push_back(kv.key);
    client.floor.sequence = std::max(client.floor.sequence, record.sequence);
    client.silent = client.silent && record.time_us < before_us;
  }
  co_return client;
}

}  // namespace

// True: all of its slots are gone. False: it is not silent.
static Task<Result<bool>> expire_client(NamespaceCore& core, uint64_t incarnation,
                                        uint64_t before_us) {
  for (bool removed = false;;) {
    auto tx = core.store.begin();
    auto client = co_await read_client(*tx, incarnation, before_us);
    if (tx->conflicted()) continue;
    if (!client) co_return fail(client.error());
    if (client->slots.empty() || !client->silent) co_return removed;
    client->floor.time_us = core.loop.clock().wall_us();
    const std::string floor_key = tag_floor_key(incarnation);
    tx->put(floor_key, client->floor.encode(floor_key));
    for (size_t i = 0; i < std::min(client->slots.size(), kSlotsPerTransaction); ++i) {
      tx->remove(client->slots[i]);
    }
    Status status = co_await tx->commit();
    if (tx->conflicted()) continue;
    if (!status.ok()) co_return fail(status);
    removed = true;
  }
}

Task<Result<uint64_t>> Namespace::expire_clients(uint64_t before_us) {
  uint64_t expired = 0;
  std::string begin = table_begin(kTagTable);
  for (;;) {
    GD2FS_CO_ASSIGN(const auto incarnation,
                    co_await read_again(
                        core_->store, [&](MetaTransaction& tx) { return next_client(tx, begin); }));
    if (!incarnation) co_return expired;
    GD2FS_CO_ASSIGN(const bool removed, co_await expire_client(*core_, *incarnation, before_us));
    if (removed) ++expired;
    begin = tag_slot_key(*incarnation, UINT8_MAX) + '\0';
  }
}

}  // namespace gd2fs
