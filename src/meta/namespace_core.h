// NamespaceCore: what the operations of a Namespace share: the store, the unused inode numbers, the
// usage shards, and run(), which takes a Mutation from its tag to its commit.
// Thread rule: the Namespace's loop.
#pragma once

#include "loop/loop.h"
#include "meta/inode_ranges.h"
#include "meta/meta_store.h"
#include "meta/mutation.h"
#include "meta/recent_clients.h"
#include "meta/settles.h"
#include "meta/usage.h"

namespace gd2fs {

struct NamespaceCore {
  // Lost races before a mutation gives up. Each round one of the rivals wins, so this many would
  // have to pass it.
  static constexpr int kAttemptsMax = 10000;

  NamespaceCore(Loop& owner_loop, MetaStore& meta_store)
      : loop(owner_loop),
        store(meta_store),
        shards(owner_loop, Namespace::kMutationsWaitingMax),
        inodes(owner_loop, meta_store),
        settles(owner_loop) {}

  // The mutation's status; `mutation.answer` when it is ok.
  Task<Status> run(Mutation& mutation, MutationTag tag);
  // For operations that are idempotent by themselves.
  Task<Status> run_untagged(Mutation& mutation) { return run(mutation, MutationTag()); }

  Loop& loop;
  MetaStore& store;
  UsageShards shards;
  InodeRanges inodes;
  RecentClients clients;
  Settles settles;

 private:
  enum class Round : uint8_t { ended, lost };
  Task<Round> run_once(Mutation& mutation, MutationTag tag, Status* out);
  // ok and *seen: the tag was executed before; its answer is in the mutation, its status in *out.
  Task<Status> find_tag(MetaTransaction& tx, Mutation& mutation, MutationTag tag, bool* seen,
                        Status* out);
  void put_tag(MetaTransaction& tx, const Mutation& mutation, MutationTag tag,
               const Status& status);
};

}  // namespace gd2fs
