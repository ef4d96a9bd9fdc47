#include "meta/namespace_core.h"

#include <cerrno>

#include "meta/keys.h"
#include "meta/walk.h"

namespace gd2fs {

namespace {

// Answers that a retry must repeat. The others say nothing about the namespace: try again.
bool is_final(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
    case StatusCode::not_found:
    case StatusCode::exists:
    case StatusCode::invalid:
    case StatusCode::no_space:
      return true;
    default:
      return false;
  }
}

Status check_tag(const MutationTag& tag) {
  if (tag.incarnation == 0 || tag.sequence == 0) {
    return {StatusCode::invalid, "a mutation without a tag"};
  }
  if (tag.low > tag.sequence) {
    return {StatusCode::stale, "a mutation that its client has had answered"};
  }
  if (tag.sequence - tag.low >= Namespace::kTagWindow) {
    return {StatusCode::invalid, "more unanswered mutations than the window holds"};
  }
  return {};
}

uint8_t slot_of(const MutationTag& tag) {
  static_assert(Namespace::kTagWindow == 256);
  return static_cast<uint8_t>(tag.sequence % Namespace::kTagWindow);
}

}  // namespace

Task<Status> NamespaceCore::run(Mutation& mutation, MutationTag tag) {
  if (mutation.operation_ != OperationCode::none) {
    GD2FS_CO_TRY(check_tag(tag));
    if (!clients.admit(tag)) {
      co_return Status(StatusCode::stale, "a mutation that its client has had answered");
    }
  }
  GD2FS_CO_ASSIGN(const UsageShards::Lease lease, co_await shards.borrow());
  mutation.shard_ = lease.shard();
  for (int i = 0; i < kAttemptsMax; ++i) {
    Status status;
    const Round round = co_await run_once(mutation, tag, &status);
    if (round == Round::ended) co_return status;
  }
  co_return Status(StatusCode::busy, "lost too many races");
}

Task<NamespaceCore::Round> NamespaceCore::run_once(Mutation& mutation, MutationTag tag,
                                                   Status* out) {
  const bool tagged = mutation.operation_ != OperationCode::none;
  mutation.answer = Mutated();
  mutation.only_read_ = false;
  mutation.now_us_ = loop.clock().wall_us();
  auto tx = store.begin();
  if (mutation.cluster_id_ != 0) {
    auto cluster = co_await read_cluster(*tx, mutation.cluster_id_);
    if (!cluster) {
      *out = cluster.error();
      co_return tx->conflicted() ? Round::lost : Round::ended;
    }
    mutation.cluster_ = std::move(*cluster);
  }
  Status status;
  {
    auto walk = store.begin();
    status = co_await mutation.resolve(*walk);
    if (walk->conflicted()) co_return Round::lost;
  }
  std::vector<std::string> keys;
  if (tagged) keys = {tag_floor_key(tag.incarnation), tag_slot_key(tag.incarnation, slot_of(tag))};
  if (status.ok()) mutation.expect(&keys);
  if (!keys.empty()) {  // into the engine's cache, all in one trip
    auto fetched = co_await tx->get_many(std::move(keys));
    if (!fetched) {
      *out = fetched.error();
      co_return tx->conflicted() ? Round::lost : Round::ended;
    }
  }
  if (tagged) {
    bool seen = false;
    Status found = co_await find_tag(*tx, mutation, tag, &seen, out);
    if (tx->conflicted()) co_return Round::lost;
    if (!found.ok()) *out = found;
    if (!found.ok() || seen) co_return Round::ended;
  }
  if (status.ok()) status = co_await mutation.attempt(*tx);
  if (tx->conflicted()) co_return Round::lost;
  *out = status;
  if (!is_final(status) || (status.ok() && mutation.only_read_)) co_return Round::ended;
  if (!status.ok()) {
    tx->drop_writes();
    mutation.answer = Mutated();
    if (!tagged) co_return Round::ended;
  }
  if (tagged) put_tag(*tx, mutation, tag, status);
  Status committed = co_await tx->commit();
  if (tx->conflicted()) co_return Round::lost;
  if (!committed.ok()) *out = committed;
  co_return Round::ended;
}

Task<Status> NamespaceCore::find_tag(MetaTransaction& tx, Mutation& mutation, MutationTag tag,
                                     bool* seen, Status* out) {
  const std::string floor_key = tag_floor_key(tag.incarnation);
  const std::string slot_key = tag_slot_key(tag.incarnation, slot_of(tag));
  std::vector<std::string> keys = {floor_key, slot_key};
  GD2FS_CO_ASSIGN(const auto values, co_await tx.get_many(std::move(keys)));
  if (values[0]) {
    GD2FS_CO_ASSIGN(const TagFloorRecord floor, TagFloorRecord::decode(floor_key, *values[0]));
    if (tag.sequence <= floor.sequence) {
      co_return Status(StatusCode::stale, "a mutation of a client forgotten since");
    }
  }
  if (!values[1]) co_return Status();
  GD2FS_CO_ASSIGN(AnswerRecord record, AnswerRecord::decode(slot_key, *values[1]));
  if (record.sequence < tag.sequence) co_return Status();
  if (record.sequence > tag.sequence) {
    co_return Status(StatusCode::stale, "a mutation older than the window");
  }
  if (record.operation != static_cast<uint8_t>(mutation.operation_) ||
      record.arguments_crc != mutation.arguments_crc_) {
    co_return Status(StatusCode::invalid, "a tag used for another mutation");
  }
  *seen = true;
  *out = record.status;
  mutation.answer.info = record.info;
  mutation.answer.replayed = true;
  keys.clear();
  for (const Intent& intent : record.intents) {
    keys.push_back(intent_key(intent.inode, intent.generation));
  }
  if (keys.empty()) co_return Status();
  const std::vector<std::string> intent_keys = keys;
  GD2FS_CO_ASSIGN(const auto intents, co_await tx.get_many(std::move(keys)));
  for (size_t i = 0; i < intents.size(); ++i) {
    if (!intents[i]) continue;  // finished
    GD2FS_CO_ASSIGN(const IntentRecord open, IntentRecord::decode(intent_keys[i], *intents[i]));
    if (!open.intent.settled) mutation.answer.intents.push_back(open.intent);
  }
  co_return Status();
}

void NamespaceCore::put_tag(MetaTransaction& tx, const Mutation& mutation, MutationTag tag,
                            const Status& status) {
  AnswerRecord record;
  record.sequence = tag.sequence;
  record.operation = static_cast<uint8_t>(mutation.operation_);
  record.arguments_crc = mutation.arguments_crc_;
  record.time_us = mutation.now_us_;
  record.status = status;
  record.info = mutation.answer.info;
  record.intents = mutation.answer.intents;
  const std::string key = tag_slot_key(tag.incarnation, slot_of(tag));
  tx.put(key, record.encode(key));
}

}  // namespace gd2fs
