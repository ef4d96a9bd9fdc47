// pending_intents, settle_intents, finish_intents, wait_for_settle: what servers have still to be
// told, and that they have been.
#include "meta/fences.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_core.h"
#include "meta/read_again.h"

namespace gd2fs {

namespace {

Task<Result<std::vector<Intent>>> list_intents(MetaTransaction& tx, Intent after) {
  GD2FS_CO_ASSIGN(const auto found,
                  co_await tx.scan(intent_key(after.inode, after.generation) + '\0',
                                   table_end(kIntentTable), Namespace::kIntentsPageMax));
  std::vector<Intent> intents;
  for (const KeyValue& kv : found) {
    GD2FS_CO_ASSIGN(const IntentRecord record, IntentRecord::decode(kv.key, kv.value));
    intents.push_back(record.intent);
  }
  co_return intents;
}

Task<Status> end_intents(NamespaceCore& core, std::vector<Intent> intents, IntentEnd end) {
  for (const Intent& intent : intents) {
    for (bool ended = false; !ended;) {
      auto tx = core.store.begin();
      Status status = co_await end_intent(*tx, intent, end);
      if (tx->conflicted()) continue;
      if (!status.ok()) co_return status;
      status = co_await tx->commit();
      if (tx->conflicted()) continue;
      if (!status.ok()) co_return status;
      ended = true;
    }
  }
  core.settles.wake_all();
  co_return Status();
}

}  // namespace

Task<Result<std::vector<Intent>>> Namespace::pending_intents(Intent after) {
  co_return co_await read_again(core_->store,
                                [&](MetaTransaction& tx) { return list_intents(tx, after); });
}

Task<Status> Namespace::settle_intents(std::vector<Intent> intents) {
  return end_intents(*core_, std::move(intents), IntentEnd::settle);
}

Task<Status> Namespace::finish_intents(std::vector<Intent> intents) {
  return end_intents(*core_, std::move(intents), IntentEnd::finish);
}

Task<void> Namespace::wait_for_settle(uint64_t timeout_ns) {
  return core_->settles.wait(timeout_ns);
}

}  // namespace gd2fs
