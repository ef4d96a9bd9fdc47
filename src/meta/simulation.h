// Simulation: several clients change a namespace while the process that serves it dies and comes
// back, on a drive that loses, tears and reorders what was not synced. All choices come from the
// seed. For tests.
//
// Each client works in a directory of its own, where every answer and every state is known exactly
// (NamespaceModel), and now and then races for names in a shared one. A mutation that got no answer
// is retried with its tag until it gets one. After every restart:
//   - what was acknowledged is there, what was not is there whole or not at all;
//   - all records agree with each other (check_metadata): usage is the sum of the sizes, no inode
//     is without its name or its intent;
//   - no inode that was unlinked is ever seen again, no number is given out twice;
// and in the end each shared name was created exactly as often as it was unlinked, or once more.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "meta/check_metadata.h"
#include "meta/sim_client.h"

namespace gd2fs::meta_sim {

// As a controller does before it serves.
inline Task<Status> finish_pending(Life* life) {
  for (;;) {
    GD2FS_CO_ASSIGN(const auto page, co_await life->names->pending_intents({}));
    if (page.empty()) co_return Status();
    for (size_t i = 1; i < page.size(); ++i) {
      const bool ordered =
          page[i - 1].inode < page[i].inode ||
          (page[i - 1].inode == page[i].inode && page[i - 1].generation < page[i].generation);
      if (!ordered) co_return Status(StatusCode::corrupt, "intents out of order");
    }
    GD2FS_CO_TRY(co_await life->names->finish_intents(page));
  }
}

inline Task<Result<NamespaceModel::Tree>> read_tree(Life* life, History* history, std::string top) {
  NamespaceModel::Tree tree;
  tree[top] = {.directory = true};
  std::vector<std::string> directories = {top};
  while (!directories.empty()) {
    const std::string directory = directories.back();
    directories.pop_back();
    GD2FS_CO_ASSIGN(const DirectoryPage page,
                    co_await life->names->readdir(history->cluster, directory, "", 1000));
    for (const DirectoryEntry& entry : page.entries) {
      const std::string path = directory + "/" + entry.name;
      GD2FS_CO_ASSIGN(const InodeInfo info, co_await life->names->lookup(history->cluster, path));
      if (history->unlinked.contains(info.inode)) history->wrong("unlinked, and back: " + path);
      if (info.inode != entry.inode || info.size_bytes != entry.size_bytes) {
        history->wrong("readdir and lookup differ at " + path);
      }
      tree[path] = {.directory = info.type == FileType::directory, .size_bytes = info.size_bytes};
      if (info.type == FileType::directory) directories.push_back(path);
    }
  }
  co_return tree;
}

class Simulation {
 public:
  Simulation(uint64_t seed, Mutation mutation)
      : random_(seed), mutation_(mutation), drive_("meta-sim", random_.next()) {
    history_.seed = seed;
    for (uint64_t i = 0; i < 4; ++i) {
      Client& client = clients_.emplace_back();
      client.incarnation = kFirstClient + i;
      client.top = "/c" + std::to_string(i);
      client.model = NamespaceModel(client.top);
      client.random = random_.fork();
    }
  }

  const History& history() const { return history_; }
  // What was wrong; empty if nothing.
  std::string run() {
    const uint64_t lives = 2 + random_.below(5);
    for (uint64_t i = 0; i < lives && history_.trouble.empty(); ++i) live(false);
    if (history_.trouble.empty()) live(true);
    return history_.trouble;
  }

 private:
  std::string describe(const NamespaceModel::Tree& tree) {
    std::string out;
    for (const auto& [path, node] : tree) {
      out += path + (node.directory ? "/ " : ":" + std::to_string(node.size_bytes) + " ");
    }
    return out;
  }

  // One life; the last one is without misfortune and answers everything still open.
  void live(bool last) {
    Life life(drive_, wall_ns_);
    drive_.crash_after_changes(last ? 0 : 1 + random_.below(random_.chance(1, 3) ? 60 : 700));
    if (start(life, last)) {
      const int operations = static_cast<int>(4 + random_.below(20));
      for (Client& client : clients_) {
        if (client.ready) life.loop->spawn(work(&life, &history_, &client, last ? 1 : operations));
      }
      life.run();
      if (last) check(life, true);
    }
    wall_ns_ = life.clock.ns + kSecond;
    drive_.crash_after_changes(0);
    if (!last && random_.chance(1, 4)) {
      [[maybe_unused]] Status closed = life.store ? life.finish(life.store->close()) : Status();
    }
    if (random_.chance(1, 3)) {
      drive_.kill();
    } else {
      drive_.crash();
    }
  }

  // Opens, ends the open intents, checks. False if the process has died in between.
  bool start(Life& life, bool last) {
    SqliteMetaOptions options;
    options.file.new_deployment_id = 1;
    options.file.checkpoint_pages = 32;
    options.cache_bytes = random_.chance(1, 2) ? 20000 : 1 << 20;
    auto opened = life.finish(SqliteMetaStore::open(*life.loop, *life.disk, life.worker, options));
    if (!opened) return gone(last, opened.error());
    life.store = std::move(*opened);
    if (mutation_ == Mutation::log_syncs_ignored) drive_.ignore_syncs("meta.db-wal", 3, 40);
    if (mutation_ == Mutation::tags_forgotten || mutation_ == Mutation::reads_unchecked) {
      life.mutant = std::make_unique<MutantStore>(*life.store, mutation_);
    }
    auto names = life.finish(Namespace::open(*life.loop, life.meta()));
    if (!names) return gone(last, names.error());
    life.names = std::move(*names);
    Status ended = life.finish(finish_pending(&life));
    if (!ended.ok()) return gone(last, ended);
    if (!prepare(life, last)) return false;
    return check(life, last);
  }

  // No answer is an answer only before the end.
  bool gone(bool last, const Status& status) {
    if (last || status.is(StatusCode::corrupt) || status.is(StatusCode::unsupported)) {
      history_.wrong(status.to_string());
    }
    return false;
  }

  // The cluster and the directories, with tags as everybody's.
  bool prepare(Life& life, bool last) {
    const MutationTag tag{.incarnation = 99, .sequence = 1, .low = 1};
    auto cluster = life.finish(life.names->create_cluster("sim", {}, "t", tag));
    if (!cluster) return gone(last, cluster.error());
    history_.cluster = cluster->id;
    std::vector<std::string> tops = {"/shared"};
    for (const Client& client : clients_) tops.push_back(client.top);
    for (size_t i = 0; i < tops.size(); ++i) {
      if (tops_ready_ > i) continue;
      MutationTag own = tag;
      own.sequence = own.low = 2 + i;
      auto made = life.finish(life.names->mkdir(history_.cluster, tops[i], own));
      if (!made) return gone(last, made.error());
      tops_ready_ = i + 1;
      if (i > 0) clients_[i - 1].ready = true;
    }
    return true;
  }

  bool check(Life& life, bool last) {
    auto findings = life.finish(check_metadata(*life.store));
    if (!findings) return gone(last, findings.error());
    if (!findings->findings.empty()) {
      history_.wrong(findings->findings.front());
      return false;
    }
    for (Client& client : clients_) {
      auto tree = life.finish(read_tree(&life, &history_, client.top));
      if (!tree) return gone(last, tree.error());
      const NamespaceModel::Tree& before = client.model.tree();
      if (*tree == before) continue;
      NamespaceModel after = client.model;
      if (client.pending && !client.pending_shared && after.apply(*client.pending) == 0 &&
          after.tree() == *tree) {
        continue;
      }
      history_.wrong("there is " + describe(*tree) + "but there should be " + describe(before));
      return false;
    }
    return !last || clients_.front().sequence == 0 || check_shared(life);
  }

  // Only when every mutation has been answered.
  bool check_shared(Life& life) {
    for (const Client& client : clients_) {
      if (client.pending) return true;  // the first check of the last life
    }
    for (const auto& [path, count] : history_.shared) {
      auto found = life.finish(life.names->lookup(history_.cluster, path));
      if (count < 0 || count > 1 || (count == 1) != found.has_value()) {
        history_.wrong(path + " was created " + std::to_string(count) +
                       " times more than unlinked, and lookup says " +
                       (found ? "it is there" : found.error().to_string()));
        return false;
      }
    }
    return true;
  }

  Random random_;
  Mutation mutation_;
  SimDrive drive_;
  History history_;
  std::vector<Client> clients_;
  size_t tops_ready_ = 0;
  uint64_t wall_ns_ = kSecond;
};

}  // namespace gd2fs::meta_sim
