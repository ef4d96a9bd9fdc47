#include "controller/fencing.h"

#include "base/log.h"

namespace gd2fs::controller {
namespace {

constexpr uint64_t kFenceRetryNs = 10 * kMs;

std::vector<std::byte> fence_body(const Intent& intent) {
  msg::FenceT fence;
  if (intent.namespace_epoch != 0) {
    fence.cluster_id = cluster_of_inode(intent.inode);
    fence.namespace_epoch = intent.namespace_epoch;
  } else {
    fence.inode = intent.inode;
    fence.generation = intent.generation;
    fence.keep_bytes = intent.keep_bytes;
    fence.chunk_log2 = intent.chunk_log2 != 0 ? intent.chunk_log2 : kChunkLog2Default;
    fence.unlinked = intent.unlinked;
  }
  return pack_body(fence);
}

}  // namespace

Task<Status> Fencing::settle(std::vector<Intent> intents) {
  if (intents.empty()) co_return Status();
  bool all_have_it = true;
  const auto& members = membership_.members();
  for (size_t i = 0; i < members.size(); ++i) {  // may grow meanwhile
    for (const Intent& intent : intents) {
      const Result<bool> has_it = co_await fence_member(members[i].get(), intent);
      if (!has_it.has_value()) co_return has_it.error();
      all_have_it = all_have_it && *has_it;
    }
  }
  // Until its intents have ended, a change shows nobody its new names. Whoever is told of it must
  // see them from then on, so the end comes before the answer.
  co_return co_await end_intents(std::move(intents), all_have_it);
}

// True: durable there. False: its lease has ended, and it is owed the fence.
Task<Result<bool>> Fencing::fence_member(Member* member, Intent intent) {
  const uint64_t give_up_ns = loop_.now_ns() + options_.fence_patience_ns;
  while (!stopping_) {
    const bool patient = loop_.now_ns() < give_up_ns;
    if (membership_.lease_ended(*member) && (!member->connected() || (member->owed && !patient))) {
      membership_.owe(*member);
      co_return false;
    }
    if (member->connected() && !member->owed) {
      const std::shared_ptr<Connection> connection = member->connection;
      auto reply = co_await connection->calls().call(msg::Type::fence, fence_body(intent),
                                                     options_.call_timeout_ns);
      if (reply.has_value()) co_return true;
      if (loop_.now_ns() >= give_up_ns && connection->open()) {
        GD2FS_LOG_WARN("server {} does not make a fence durable: {}", member->record.server_id,
                       reply.error().to_string());
        membership_.owe(*member);
        connection->close(Status(StatusCode::timed_out, "a fence is not made durable"));
      }
    }
    co_await Delay(loop_, kFenceRetryNs);
  }
  co_return fail(StatusCode::unavailable, "the controller stops");
}

Task<Status> Fencing::end_intents(std::vector<Intent> intents, bool all_have_it) {
  Status status;
  if (all_have_it) {
    status = co_await names_.finish_intents(std::move(intents));
  } else {
    status = co_await names_.settle_intents(std::move(intents));
  }
  if (!status.ok()) leftovers_ = true;
  co_return status;
}

void Fencing::start_catch_up(Member& member) {
  if (member.catching_up || !member.connected()) return;
  member.catching_up = true;
  tasks_.spawn(catch_up(&member));
}

Task<void> Fencing::catch_up(Member* member) {
  const std::shared_ptr<Connection> connection = member->connection;
  for (;;) {
    const uint64_t changes = member->owed_changes;
    const Status status = co_await catch_up_once(member, connection);
    if (!status.ok()) {
      GD2FS_LOG_WARN("server {} did not catch up: {}", member->record.server_id,
                     status.to_string());
      connection->close(status.with("catching up"));
      break;
    }
    if (member->connection != connection) break;
    if (changes == member->owed_changes) {
      member->owed = false;
      break;
    }
  }
  member->catching_up = false;
  // A newer connection of the same server found this one still running.
  if (member->owed && member->connection != connection) start_catch_up(*member);
}

Task<Status> Fencing::catch_up_once(Member* member, std::shared_ptr<Connection> connection) {
  Intent after;
  for (;;) {
    GD2FS_CO_ASSIGN(const std::vector<Intent> page, co_await names_.pending_intents(after));
    if (page.empty()) co_return Status();
    after = page.back();
    Status outcome;
    TaskGroup calls(loop_);
    for (const Intent& intent : page) calls.spawn(send_fence(connection, intent, &outcome));
    co_await calls.idle();
    GD2FS_CO_TRY(outcome);
    // One group of one server: what it has, all have.
    GD2FS_CO_TRY(co_await names_.finish_intents(page));
    GD2FS_LOG_INFO("server {} has caught up with {} fences", member->record.server_id, page.size());
  }
}

Task<void> Fencing::send_fence(std::shared_ptr<Connection> connection, Intent intent,
                               Status* outcome) {
  auto reply = co_await connection->calls().call(msg::Type::fence, fence_body(intent),
                                                 options_.call_timeout_ns);
  if (!reply.has_value() && outcome->ok()) *outcome = reply.error();
}

Task<void> Fencing::tidy() {
  if (!leftovers_) co_return;
  leftovers_ = false;
  Intent after;
  while (!stopping_) {
    auto page = co_await names_.pending_intents(after);
    if (!page.has_value()) {
      leftovers_ = true;
      co_return;
    }
    if (page->empty()) co_return;
    after = page->back();
    const Status status = co_await settle(std::move(*page));
    if (!status.ok()) leftovers_ = true;
  }
}

}  // namespace gd2fs::controller
