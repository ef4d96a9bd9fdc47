#include "meta/mutation.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "meta/keys.h"

namespace gd2fs {

Task<Status> Mutation::resolve(MetaTransaction&) {
  co_return Status();
}

void Mutation::expect(std::vector<std::string>*) const {}

void Mutation::add_argument(std::string_view bytes) {
  add_argument(uint64_t{bytes.size()});
  arguments_crc_ = crc32c_extend(arguments_crc_, as_bytes(bytes.data(), bytes.size()));
}

void Mutation::add_argument(uint64_t value) {
  arguments_crc_ = crc32c_extend(arguments_crc_, as_bytes(&value, sizeof value));
}

void Mutation::put_intent(MetaTransaction& tx, const Intent& intent, std::vector<HeldName> held) {
  answer.intents.push_back(intent);
  const std::string key = intent_key(intent.inode, intent.generation);
  tx.put(key, IntentRecord{intent, std::move(held)}.encode(key));
}

Task<Status> Mutation::charge(MetaTransaction& tx, UsageDelta delta) {
  return charge_usage(tx, cluster(), shard_, delta);
}

}  // namespace gd2fs
