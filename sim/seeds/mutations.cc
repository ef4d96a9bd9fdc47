#include "sim/seeds/mutations.h"

#include "wire/message.h"

namespace gd2fs::sim {
namespace {

// What every mutated store has in common: it passes everything on.
class PassingStore : public Store {
 public:
  PassingStore(Loop& loop, Store& inner) : loop_(loop), inner_(inner) {}
  Task<Status> close() override { return inner_.close(); }
  void read(StoreRead& read) override { inner_.read(read); }
  bool read_now(StoreRead& read) override { return inner_.read_now(read); }
  void reserve(StoreWrite& write) override { inner_.reserve(write); }
  void commit(StoreWrite& write) override { inner_.commit(write); }
  void abort(StoreWrite& write) override { inner_.abort(write); }
  void fence(const StoreFence& fence, Completion& done) override { inner_.fence(fence, done); }
  void flush(Completion& done) override { inner_.flush(done); }
  void evict(uint64_t inode) override { inner_.evict(inode); }
  Status pin(const StorePin& pin) override { return inner_.pin(pin); }
  StoreResidency residency(const ChunkKey& key, uint32_t offset_bytes,
                           uint32_t length_bytes) const override {
    return inner_.residency(key, offset_bytes, length_bytes);
  }
  Task<ScrubReport> scrub(uint64_t rate_bytes_per_s) override {
    return inner_.scrub(rate_bytes_per_s);
  }
  StoreStats stats() const override { return inner_.stats(); }
  std::vector<uint64_t> inodes() const override { return inner_.inodes(); }
  bool fences_unsure() const override { return inner_.fences_unsure(); }
  void reached(uint64_t inode, uint64_t generation) override { inner_.reached(inode, generation); }
  bool has_drives_to_forget() const override { return inner_.has_drives_to_forget(); }
  Task<Status> forget_drives(std::vector<uint64_t> inode_ends) override {
    return inner_.forget_drives(std::move(inode_ends));
  }

 protected:
  Loop& loop_;

 private:
  Store& inner_;
};

class FencelessStore final : public PassingStore {
 public:
  using PassingStore::PassingStore;
  void fence(const StoreFence&, Completion& done) override {
    done.start();
    loop_.complete(done, Status());
  }
};

class BlindStore final : public PassingStore {
 public:
  using PassingStore::PassingStore;
  void read(StoreRead& read) override {
    read.generation = UINT64_MAX;
    PassingStore::read(read);
  }
  bool read_now(StoreRead& read) override {
    read.generation = UINT64_MAX;
    return PassingStore::read_now(read);
  }
  void reserve(StoreWrite& write) override {
    write.generation = UINT64_MAX;
    PassingStore::reserve(write);
  }
};

// The server, or its NIC, does nothing for longer than clients wait.
void server_wakes_late(SeedProfile& profile) {
  profile.nics = true;
  profile.timeout_ns = 1 * kSecond;
  profile.troubles.kinds = {Trouble::hold_nic, Trouble::stop_process};
  profile.troubles.count = 8;
  profile.troubles.period_ns = 3 * kSecond;
  profile.troubles.network = false;
  profile.workload.data_percent = 90;
  profile.requests = 300;
}

void clients_forge_keys(SeedProfile& profile) {
  profile.nics = true;
  profile.troubles.kinds = {Trouble::forge_keys};
  profile.troubles.count = 8;
  profile.troubles.network = false;
  profile.workload.data_percent = 90;
}

template <class Mutant>
SeedMutation with_store() {
  SeedMutation out;
  out.options = [](ClusterOptions& options) {
    options.mutate_store = [](Loop& loop, Store& store) {
      return std::make_unique<Mutant>(loop, store);
    };
  };
  return out;
}

// Every frame passes through `tamper`.
template <class Tamper>
SeedMutation with_frames(Tamper tamper, void (*profile)(SeedProfile&)) {
  SeedMutation out;
  out.profile = profile;
  out.cluster = [tamper](Cluster& cluster) { cluster.network().faults.tamper = tamper; };
  return out;
}

bool is(const SimFrame& frame, msg::Type type, FrameKind kind = FrameKind::message) {
  return frame.kind == kind && frame.type == static_cast<uint16_t>(type);
}

// The body of a frame that this code has made: it needs no check.
template <class Table>
flatbuffers::Table* table_of(SimFrame& frame) {
  auto* table = flatbuffers::GetMutableRoot<Table>(frame.body.data());
  return reinterpret_cast<flatbuffers::Table*>(table);
}

template <class Table>
bool retag(SimFrame& frame, msg::Type type, uint64_t incarnation) {
  if (!is(frame, type)) return false;
  auto* tag = table_of<Table>(frame)->template GetStruct<msg::Tag*>(Table::VT_TAG);
  if (tag != nullptr) *tag = msg::Tag(incarnation, 1, 1);
  return true;
}

// Every crash loses the power, and there is some.
void power_fails(SeedProfile& profile) {
  profile.troubles.only_power = true;
  profile.troubles.read_errors = false;
  profile.troubles.kinds.push_back(Trouble::crash_both);
  profile.troubles.count = std::max<size_t>(profile.troubles.count, 2);
}

// Many small writes to the same few blocks.
void server_power_fails(SeedProfile& profile) {
  power_fails(profile);
  profile.troubles.kinds = {Trouble::crash_server, Trouble::sudden_server};
  profile.troubles.count = 6;
  profile.troubles.period_ns = 3 * kSecond;
  profile.troubles.network = false;
  profile.workload.paths = 1;
  profile.workload.file_max_bytes = profile.workload.chunk_bytes;
  profile.workload.data_percent = 90;
  profile.workload.think_max_ns = 2 * kMs;
  profile.requests = 400;
}

// Answers get lost, while few chunks and names are worked on.
void answers_get_lost(SeedProfile& profile) {
  profile.troubles.kinds = {Trouble::reset_sessions, Trouble::crash_server,
                            Trouble::crash_controller};
  profile.troubles.count = 8;
  profile.troubles.period_ns = 500 * kMs;
  profile.troubles.network = true;
  profile.workload.paths = 2;
  profile.workload.file_max_bytes = profile.workload.chunk_bytes;
  profile.workload.think_max_ns = 2 * kMs;
}

void directories_are_renamed(SeedProfile& profile) {
  profile.workload.paths = Workload::files().size();
  profile.workload.directory_percent = 40;
}

// The server is out of the controller's reach for long, but not of the clients'.
void server_and_controller_part(SeedProfile& profile) {
  profile.troubles.kinds = {Trouble::partition, Trouble::stop_process};
  profile.troubles.count = 8;
  profile.troubles.period_ns = 3 * kSecond;
  profile.workload.paths = 2;
  profile.workload.data_percent = 60;
  profile.workload.think_max_ns = 200 * kMs;
  profile.timeout_ns = 10 * kSecond;
}

}  // namespace

SeedMutation ignore_server_syncs(const std::string& name_prefix) {
  SeedMutation out;
  out.cluster = [name_prefix](Cluster& cluster) {
    for (size_t i = 0; i < cluster.options().data_drives; ++i) {
      cluster.data_drive(i).ignore_syncs(name_prefix, 0, UINT64_MAX);
    }
  };
  out.profile = server_power_fails;
  return out;
}

SeedMutation ignore_controller_syncs(const std::string& name_prefix) {
  SeedMutation out;
  out.cluster = [name_prefix](Cluster& cluster) {
    cluster.meta_drive().ignore_syncs(name_prefix, 0, UINT64_MAX);
  };
  out.profile = power_fails;
  return out;
}

SeedMutation ignore_server_dir_syncs() {
  SeedMutation out;
  out.cluster = [](Cluster& cluster) {
    for (size_t i = 0; i < cluster.options().data_drives; ++i) {
      cluster.data_drive(i).ignore_dir_syncs(true);
    }
  };
  out.profile = power_fails;
  return out;
}

SeedMutation ignore_controller_dir_syncs() {
  SeedMutation out;
  out.cluster = [](Cluster& cluster) { cluster.meta_drive().ignore_dir_syncs(true); };
  out.profile = power_fails;
  return out;
}

SeedMutation drop_fences() {
  return with_store<FencelessStore>();
}

SeedMutation blind_to_generations() {
  return with_store<BlindStore>();
}

SeedMutation drop_namespace_fences() {
  return with_frames(
      [](SimFrame& frame) {
        if (!is(frame, msg::Type::fence)) return;
        flatbuffers::Table* fence = table_of<msg::Fence>(frame);
        if (fence->GetField<uint64_t>(msg::Fence::VT_NAMESPACE_EPOCH, 0) > 1) {
          fence->SetField<uint64_t>(msg::Fence::VT_NAMESPACE_EPOCH, 1, 0);
        }
      },
      directories_are_renamed);
}

SeedMutation retag_writes() {
  return with_frames(
      [next = uint64_t{1} << 40](SimFrame& frame) mutable {
        if (!is(frame, msg::Type::write)) return;
        flatbuffers::Table* write = table_of<msg::Write>(frame);
        write->SetField<uint64_t>(msg::Write::VT_INCARNATION, ++next, 0);
      },
      answers_get_lost);
}

SeedMutation retag_names() {
  return with_frames(
      [next = uint64_t{1} << 40](SimFrame& frame) mutable {
        ++next;
        [[maybe_unused]] const bool known = retag<msg::Create>(frame, msg::Type::create, next) ||
                                            retag<msg::Lookup>(frame, msg::Type::lookup, next) ||
                                            retag<msg::Mkdir>(frame, msg::Type::mkdir, next) ||
                                            retag<msg::Rmdir>(frame, msg::Type::rmdir, next) ||
                                            retag<msg::Unlink>(frame, msg::Type::unlink, next) ||
                                            retag<msg::Rename>(frame, msg::Type::rename, next) ||
                                            retag<msg::Truncate>(frame, msg::Type::truncate, next);
      },
      answers_get_lost);
}

SeedMutation stretch_leases() {
  return with_frames(
      [](SimFrame& frame) {
        constexpr uint32_t kForEverMs = 1'000'000;
        const auto stretch = [](flatbuffers::Table* table, flatbuffers::voffset_t field) {
          if (table->GetField<uint32_t>(field, 0) > 0)
            table->SetField<uint32_t>(field, kForEverMs, 0);
        };
        if (is(frame, msg::Type::heartbeat, FrameKind::reply)) {
          stretch(table_of<msg::HeartbeatReply>(frame), msg::HeartbeatReply::VT_LEASE_MS);
        } else if (is(frame, msg::Type::register_server, FrameKind::reply)) {
          stretch(table_of<msg::RegisterServerReply>(frame), msg::RegisterServerReply::VT_LEASE_MS);
        }
      },
      server_and_controller_part);
}

SeedMutation write_late_bytes() {
  SeedMutation out;
  out.cluster = [](Cluster& cluster) { cluster.network().faults.write_late_bytes = true; };
  return out;
}

SeedMutation skip_recalls() {
  SeedMutation out;
  out.cluster = [](Cluster& cluster) { cluster.nics()->skip_recalls = true; };
  out.profile = server_wakes_late;
  return out;
}

SeedMutation open_all_memory() {
  SeedMutation out;
  out.cluster = [](Cluster& cluster) { cluster.nics()->open_all_memory(); };
  out.profile = clients_forge_keys;
  return out;
}

}  // namespace gd2fs::sim
