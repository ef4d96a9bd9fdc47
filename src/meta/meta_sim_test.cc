// The metadata through crashes: several clients change a namespace over SQLite on a simulated drive
// that loses, tears and reorders what was not synced, while the process dies and comes back.
//
// Each client works in a directory of its own, where every answer and every state is known exactly
// (NamespaceModel), and now and then races for names in a shared one. A mutation that got no answer
// is retried with its tag until it gets one. After every restart:
//   - what was acknowledged is there, what was not is there whole or not at all;
//   - all records agree with each other (check_metadata): usage is the sum of the sizes, no inode
//   is
//     without its name or its intent;
//   - no inode that was unlinked is ever seen again, no number is given out twice;
// and in the end each shared name was created exactly as often as it was unlinked, or once more.
//
// GD2FS_SIM_SEEDS sets how many seeds run, GD2FS_SIM_FIRST where they begin.
#include <algorithm>
#include <cstdlib>
#include <set>

#include <gtest/gtest.h>

#include "base/log.h"
#include "base/random.h"
#include "meta/check_metadata.h"
#include "meta/keys.h"
#include "meta/namespace.h"
#include "meta/namespace_model.h"
#include "meta/sqlite_engine.h"
#include "meta/test_engines.h"

namespace gd2fs {
namespace {

// Which rule is taken out, to show that the checks notice.
enum class Mutation : uint8_t { none, log_syncs_ignored, tags_forgotten, reads_unchecked };

constexpr uint64_t kFirstClient = 100;  // its incarnation

// A transaction as faulty code would use it: it finds no tag records, or what it reads is not
// checked at the commit.
class MutantTransaction final : public MetaTransaction {
 public:
  MutantTransaction(MetaStore& store, Mutation mutation)
      : store_(store), mutation_(mutation), inner_(store.begin()) {}
  Task<Result<std::vector<std::optional<std::string>>>> get_many(
      std::vector<std::string> keys) override {
    const std::vector<std::string> asked = keys;
    if (mutation_ == Mutation::reads_unchecked) {
      auto aside = store_.begin();
      co_return co_await aside->get_many(std::move(keys));
    }
    auto values = co_await inner_->get_many(std::move(keys));
    if (!values) co_return values;
    for (size_t i = 0; i < asked.size(); ++i) {
      // Of the clients that the checks watch.
      auto tag = parse_tag_key(asked[i]);
      if (tag && tag->incarnation >= kFirstClient) (*values)[i] = std::nullopt;
    }
    co_return values;
  }
  Task<Result<std::vector<KeyValue>>> scan(std::string begin, std::string end,
                                           size_t limit) override {
    return inner_->scan(std::move(begin), std::move(end), limit);
  }
  void put(std::string_view key, std::string_view value) override { inner_->put(key, value); }
  void remove(std::string_view key) override { inner_->remove(key); }
  void drop_writes() override { inner_->drop_writes(); }
  void answer_when_decided() override { inner_->answer_when_decided(); }
  Task<Status> commit() override { return inner_->commit(); }
  bool conflicted() const override { return inner_->conflicted(); }

 private:
  MetaStore& store_;
  Mutation mutation_;
  std::unique_ptr<MetaTransaction> inner_;
};

class MutantStore final : public MetaStore {
 public:
  MutantStore(MetaStore& inner, Mutation mutation) : inner_(inner), mutation_(mutation) {}
  std::unique_ptr<MetaTransaction> begin() override {
    return std::make_unique<MutantTransaction>(inner_, mutation_);
  }
  uint64_t revision() const override { return inner_.revision(); }
  uint64_t watch(std::string prefix, std::function<void(uint64_t)> on_change) override {
    return inner_.watch(std::move(prefix), std::move(on_change));
  }
  void unwatch(uint64_t watch_id) override { inner_.unwatch(watch_id); }
  Task<Status> close() override { return inner_.close(); }

 private:
  MetaStore& inner_;
  Mutation mutation_;
};

// Its jobs run later than what was ready when they were given: an answer that waits for none of
// them comes first, and a crash may come between.
class LateWorker final : public Worker {
 public:
  void submit(Loop& loop, Job& job) override {
    loop.post([this, &loop, &job] { inline_.submit(loop, job); });
  }

 private:
  InlineWorker inline_;
};

// One life of the process that serves the metadata.
struct Life {
  StillClock clock;
  std::unique_ptr<Loop> loop = std::make_unique<Loop>(clock, Loop::Waits::never);
  LateWorker worker;
  std::unique_ptr<SimDisk> disk;
  std::unique_ptr<SqliteMetaStore> store;
  std::unique_ptr<MutantStore> mutant;
  std::unique_ptr<Namespace> names;

  Life(SimDrive& drive, uint64_t wall_ns) : disk(std::make_unique<SimDisk>(*loop, drive)) {
    clock.ns = wall_ns;
  }
  // What still runs goes before what it uses.
  ~Life() { loop.reset(); }
  MetaStore& meta() {
    return mutant ? static_cast<MetaStore&>(*mutant) : static_cast<MetaStore&>(*store);
  }
  // Until nothing runs and no timer is left.
  void run() {
    for (;;) {
      while (loop->run_ready() > 0) {
      }
      if (loop->next_timer_ns() == UINT64_MAX) return;
      clock.ns = std::max(clock.ns, loop->next_timer_ns());
    }
  }
  template <class T>
  T finish(Task<T> task) {
    std::optional<T> out;
    loop->spawn(keep_result(std::move(task), &out));
    run();
    CHECK(out.has_value());
    return std::move(*out);
  }
};

bool is_answer(const Status& status) {
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

Task<Status> grow(Life* life, uint16_t cluster, std::string path, uint64_t end_bytes) {
  GD2FS_CO_ASSIGN(const InodeInfo file, co_await life->names->lookup(cluster, path));
  if (file.type != FileType::file) co_return Status(StatusCode::invalid, EISDIR);
  GD2FS_CO_ASSIGN([[maybe_unused]] const InodeInfo reserved,
                  co_await life->names->reserve(file.inode, file.generation, end_bytes));
  GD2FS_CO_ASSIGN([[maybe_unused]] const InodeInfo grown,
                  co_await life->names->set_size(file.inode, file.generation, end_bytes));
  co_return Status();
}

Task<Result<Mutated>> open(Life* life, uint16_t cluster, std::string path, MutationTag tag) {
  GD2FS_CO_ASSIGN(const Looked looked,
                  co_await life->names->lookup_or_create(cluster, path, {}, tag));
  co_return Mutated{.info = looked.info};
}

Task<Result<Mutated>> grow_as_mutation(Life* life, uint16_t cluster, std::string path,
                                       uint64_t end_bytes) {
  GD2FS_CO_TRY(co_await grow(life, cluster, path, end_bytes));
  co_return Mutated();
}

Task<Result<Mutated>> issue(Life* life, uint16_t cluster, const ModelOp& op, MutationTag tag) {
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

void note_answer(History* history, Client* client, const ModelOp& op,
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
Task<void> work(Life* life, History* history, Client* client, int operations) {
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

// As a controller does before it serves.
Task<Status> finish_pending(Life* life) {
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

Task<Result<NamespaceModel::Tree>> read_tree(Life* life, History* history, std::string top) {
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

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class MetaSimulation : public testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::off); }
  void TearDown() override { set_log_level(LogLevel::info); }
};

TEST_F(MetaSimulation, every_acknowledged_change_survives_and_no_other_is_seen_in_part) {
  const uint64_t first = from_environment("GD2FS_SIM_FIRST", 1);
  const uint64_t seeds = from_environment("GD2FS_SIM_SEEDS", 300);
  History sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    Simulation simulation(seed, Mutation::none);
    const std::string trouble = simulation.run();
    ASSERT_EQ(trouble, "") << "seed " << seed;
    sum.answered += simulation.history().answered;
    sum.succeeded += simulation.history().succeeded;
    sum.retried += simulation.history().retried;
    sum.applied += simulation.history().applied;
  }
  std::printf(
      "%llu seeds: %llu operations answered, %llu of them ok; %llu lost their answer, of which"
      " %llu had happened\n",
      static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(sum.answered),
      static_cast<unsigned long long>(sum.succeeded), static_cast<unsigned long long>(sum.retried),
      static_cast<unsigned long long>(sum.applied));
  EXPECT_GT(sum.answered, seeds * 20);
  EXPECT_GT(sum.applied, seeds / 20);
}

// Each of these breaks one rule; the simulation must notice within these seeds.
void expect_noticed(Mutation mutation) {
  constexpr uint64_t kSeeds = 200;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string trouble = Simulation(seed, mutation).run();
    if (!trouble.empty()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), trouble.c_str());
      return;
    }
  }
  FAIL() << "nothing was noticed in " << kSeeds << " seeds";
}

TEST_F(MetaSimulation, a_drive_that_ignores_syncs_of_the_log_is_noticed) {
  expect_noticed(Mutation::log_syncs_ignored);
}

TEST_F(MetaSimulation, looking_for_no_tag_record_is_noticed) {
  expect_noticed(Mutation::tags_forgotten);
}

TEST_F(MetaSimulation, not_checking_what_was_read_is_noticed) {
  expect_noticed(Mutation::reads_unchecked);
}

}  // namespace
}  // namespace gd2fs
