// The clients of the metadata's simulation, and the history of what they were answered: mutations
// one after another, each repeated with its tag until it has an answer. For tests.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/random.h"
#include "meta/namespace_model.h"
#include "meta/sim_life.h"

namespace gd2fs::meta_sim {

struct History {
  uint64_t seed = 0;
  uint16_t cluster = 0;
  std::set<uint64_t> made;            // inodes of acknowledged creates
  std::set<uint64_t> unlinked;        // of acknowledged unlinks
  std::map<std::string, int> shared;  // creates minus unlinks, by name
  // What the run was made of, so that one that tests little is noticed.
  uint64_t answered = 0;
  uint64_t succeeded = 0;
  uint64_t retried = 0;  // in a later life
  uint64_t applied = 0;  // ... and had been applied without an answer
  std::string trouble;   // the first thing that was wrong
  void wrong(const std::string& what) {
    if (trouble.empty()) trouble = what;
  }
};

struct Client {
  uint64_t incarnation = 0;
  uint64_t sequence = 0;
  std::string top;
  NamespaceModel model{""};
  Random random{0};
  std::optional<ModelOp> pending;  // issued, no answer yet
  bool pending_shared = false;
  bool ready = false;  // its directory is there

  MutationTag tag() const {
    return {.incarnation = incarnation, .sequence = sequence, .low = sequence};
  }
  // One that is there, or a name in one that is, so that most operations get far.
  std::string draw_path() {
    static constexpr std::string_view kNames[] = {"a", "b", "c"};
    const NamespaceModel::Tree& tree = model.tree();
    auto at = tree.begin();
    std::advance(at, static_cast<ptrdiff_t>(random.below(tree.size())));
    const bool deep = std::count(at->first.begin(), at->first.end(), '/') > 4;
    if (at->first != top && (deep || random.chance(1, 2))) return at->first;
    return at->first + "/" + std::string(kNames[random.below(3)]);
  }
  ModelOp draw() {
    static constexpr ModelOp::Kind kKinds[] = {
        ModelOp::Kind::create,   ModelOp::Kind::create, ModelOp::Kind::open,
        ModelOp::Kind::mkdir,    ModelOp::Kind::mkdir,  ModelOp::Kind::rmdir,
        ModelOp::Kind::unlink,   ModelOp::Kind::rename, ModelOp::Kind::rename,
        ModelOp::Kind::truncate, ModelOp::Kind::grow,   ModelOp::Kind::grow};
    ModelOp op;
    op.kind = kKinds[random.below(std::size(kKinds))];
    op.path = draw_path();
    op.to = draw_path();
    op.size_bytes = random.below(100000);
    return op;
  }
  ModelOp draw_shared() {
    ModelOp op;
    op.kind = random.chance(1, 2) ? ModelOp::Kind::create : ModelOp::Kind::unlink;
    op.path = "/shared/s" + std::to_string(random.below(3));
    return op;
  }
};

inline bool is_answer(const Status& status) {
  switch (status.code()) {
    case StatusCode::ok:
    case StatusCode::not_found:
    case StatusCode::exists:
    case StatusCode::invalid:
      return true;
    default:
      return false;
  }
}

inline Task<Status> grow(Life* life, uint16_t cluster, std::string path, uint64_t end_bytes) {
  GD2FS_CO_ASSIGN(const InodeInfo file, co_await life->names->lookup(cluster, path));
  if (file.type != FileType::file) co_return Status(StatusCode::invalid, EISDIR);
  GD2FS_CO_ASSIGN([[maybe_unused]] const InodeInfo reserved,
                  co_await life->names->reserve(file.inode, file.generation, end_bytes));
  GD2FS_CO_ASSIGN([[maybe_unused]] const InodeInfo grown,
                  co_await life->names->set_size(file.inode, file.generation, end_bytes));
  co_return Status();
}

inline Task<Result<Mutated>> open(Life* life, uint16_t cluster, std::string path, MutationTag tag) {
  GD2FS_CO_ASSIGN(const Looked looked,
                  co_await life->names->lookup_or_create(cluster, path, {}, tag));
  co_return Mutated{.info = looked.info};
}

inline Task<Result<Mutated>> grow_as_mutation(Life* life, uint16_t cluster, std::string path,
                                              uint64_t end_bytes) {
  GD2FS_CO_TRY(co_await grow(life, cluster, path, end_bytes));
  co_return Mutated();
}

inline Task<Result<Mutated>> issue(Life* life, uint16_t cluster, const ModelOp& op,
                                   MutationTag tag) {
  Namespace& names = *life->names;
  switch (op.kind) {
    case ModelOp::Kind::create:
      return names.create(cluster, op.path, {.size_bytes = op.size_bytes}, tag);
    case ModelOp::Kind::open:
      return open(life, cluster, op.path, tag);
    case ModelOp::Kind::mkdir:
      return names.mkdir(cluster, op.path, tag);
    case ModelOp::Kind::rmdir:
      return names.rmdir(cluster, op.path, tag);
    case ModelOp::Kind::unlink:
      return names.unlink(cluster, op.path, tag);
    case ModelOp::Kind::rename:
      return names.rename(cluster, op.path, op.to, tag);
    case ModelOp::Kind::truncate:
      return names.truncate(cluster, op.path, op.size_bytes, tag);
    case ModelOp::Kind::grow:
      return grow_as_mutation(life, cluster, op.path, op.size_bytes);
  }
  return {};
}

inline void note_answer(History* history, Client* client, const ModelOp& op,
                        const Result<Mutated>& answer) {
  const int got = answer ? 0 : answer.error().errno_value();
  ++history->answered;
  if (answer) ++history->succeeded;
  if (answer && answer->replayed) ++history->applied;
  if (client->pending_shared) {
    const bool create = op.kind == ModelOp::Kind::create;
    if (answer) history->shared[op.path] += create ? 1 : -1;
    const int refusal = create ? EEXIST : ENOENT;
    if (got != 0 && got != refusal)
      history->wrong(op.path + " answered errno " + std::to_string(got));
  } else {
    const int want = client->model.apply(op);
    if (got != want) {
      history->wrong("operation " + std::to_string(static_cast<int>(op.kind)) + " " + op.path +
                     " " + op.to + " answered errno " + std::to_string(got) + ", not " +
                     std::to_string(want));
    }
  }
  if (!answer) return;
  const uint64_t inode = answer->info.inode;
  const bool makes = op.kind == ModelOp::Kind::create || op.kind == ModelOp::Kind::mkdir;
  if (makes && !history->made.insert(inode).second) history->wrong("an inode number twice");
  if (!makes && op.kind != ModelOp::Kind::unlink && history->unlinked.contains(inode)) {
    history->wrong("an unlinked inode came back at " + op.path);
  }
  if (op.kind == ModelOp::Kind::unlink) history->unlinked.insert(inode);
}

// Operations one after another until `operations` are answered or the process is gone.
inline Task<void> work(Life* life, History* history, Client* client, int operations) {
  constexpr int kHeldMax = 1000;
  int held = 0;
  for (int i = 0; i < operations; ++i) {
    if (!client->pending) {
      client->pending_shared = client->random.chance(1, 4);
      client->pending = client->pending_shared ? client->draw_shared() : client->draw();
      ++client->sequence;
    }
    const ModelOp op = *client->pending;
    auto answer = co_await issue(life, history->cluster, op, client->tag());
    const Status status = answer ? Status() : answer.error();
    if (status.is(StatusCode::busy) && status.errno_value() == EAGAIN) {  // held; again
      if (++held > kHeldMax) {
        history->wrong("held for ever: " + op.path);
        co_return;
      }
      co_await Delay(*life->loop, kMs);
      --i;
      continue;
    }
    if (!is_answer(status)) {  // no answer: the next life retries
      ++history->retried;
      co_return;
    }
    if (answer && !answer->intents.empty()) {
      co_await Delay(*life->loop, client->random.below(2 * kMs));  // the fences' way
      Status ended;
      if (client->random.chance(1, 4)) {
        ended = co_await life->names->settle_intents(answer->intents);
      } else {
        ended = co_await life->names->finish_intents(answer->intents);
      }
      if (!ended.ok()) co_return;
    }
    note_answer(history, client, op, answer);
    client->pending.reset();
  }
}

}  // namespace gd2fs::meta_sim
