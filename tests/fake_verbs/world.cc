#include "world.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <utility>

#include <arpa/inet.h>

namespace fake_verbs {
namespace {

constexpr uint64_t kRetriesNs = 20'000'000;  // until a peer that does not answer is given up
constexpr uint64_t kNoBufferPauseNs = 640'000;
constexpr int kNoBufferTries = 6;

void add_gid(Device& device, const ibv_gid& gid, uint32_t type) {
  ibv_gid_entry entry{};
  entry.gid = gid;
  entry.gid_index = static_cast<uint32_t>(device.gids.size());
  entry.port_num = 1;
  entry.gid_type = type;
  device.gids.push_back(entry);
}

ibv_gid gid_of(const std::string& address) {
  ibv_gid gid{};
  if (inet_pton(AF_INET, address.c_str(), gid.raw + 12) == 1) {
    gid.raw[10] = gid.raw[11] = 0xff;
  } else {
    inet_pton(AF_INET6, address.c_str(), gid.raw);
  }
  return gid;
}

}  // namespace

Context& context_of(ibv_context* context) {
  // As verbs_get_ctx does it.
  auto* extended = reinterpret_cast<verbs_context*>(reinterpret_cast<char*>(context) -
                                                    offsetof(verbs_context, context));
  return *reinterpret_cast<Context*>(extended);
}

Device& device_of(ibv_context* context) {
  return *context_of(context).device;
}

void close_bell(int& bell) {
  if (bell >= 0) close(bell);
  bell = -1;
}

World& World::instance() {
  static World world;
  return world;
}

World::World() {
  const char* named = std::getenv("FAKE_VERBS_DEVICES");  // NOLINT(concurrency-mt-unsafe)
  const int count = named != nullptr ? std::atoi(named) : 4;
  for (int i = 0; i < count; ++i) {
    auto device = std::make_unique<Device>();
    device->index = i;
    std::snprintf(device->device.name, sizeof device->device.name, "fake%d", i);
    const char* sysfs = std::getenv("FAKE_VERBS_SYSFS");  // NOLINT(concurrency-mt-unsafe)
    if (sysfs != nullptr) {
      std::snprintf(device->device.ibdev_path, sizeof device->device.ibdev_path, "%s/fake%d", sysfs,
                    i);
    }
    device->device.node_type = IBV_NODE_CA;
    device->device.transport_type = IBV_TRANSPORT_IB;
    device->guid.port_num = 1;
    device->guid.gid_type = IBV_GID_TYPE_IB;
    device->guid.gid.raw[8] = 0x02;
    device->guid.gid.raw[15] = static_cast<uint8_t>(i + 1);
    set_subnet(*device, static_cast<uint16_t>(i + 0x11), kLinkLocal);
    const ibv_gid v4 = gid_of("127.0.0." + std::to_string(i + 1));
    add_gid(*device, v4, IBV_GID_TYPE_ROCE_V1);
    add_gid(*device, v4, IBV_GID_TYPE_ROCE_V2);
    if (i == 0) add_gid(*device, gid_of("::1"), IBV_GID_TYPE_ROCE_V2);
    devices.push_back(std::move(device));
  }
  thread_ = std::thread([this] { run(); });
}

World::~World() {
  {
    std::lock_guard lock(mutex);
    stopping_ = true;
  }
  changed.notify_all();
  thread_.join();
}

uint64_t World::now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

Region* World::add_region(ibv_pd* domain, uint64_t begin, uint64_t size, std::byte* memory,
                          unsigned access) {
  auto region = std::make_unique<Region>();
  region->context = domain->context;
  region->pd = domain;
  region->device = &device_of(domain->context);
  region->begin = begin;
  region->size = std::min(size, max_mr_size);
  region->memory = memory;
  region->access = access;
  region->lkey = region->rkey = last_key += 0x101;
  ++region->device->counts.regions;
  regions_by_key[region->lkey] = region.get();
  regions.push_back(std::move(region));
  return regions.back().get();
}

void World::tell(const Device& device, ibv_event_type type) {
  if (!events_on) return;
  for (Context* context : contexts) {
    if (context->device != &device || context->gone) continue;
    ibv_async_event event{};
    event.event_type = type;
    event.element.port_num = 1;
    context->events.push_back(event);
    const char bell = 1;
    [[maybe_unused]] const ssize_t rung = write(context->bell, &bell, 1);
  }
}

// The kernel lets go of all that was opened; nothing more completes.
void World::remove(Device& device) {
  device.removed = true;
  device.active = false;
  for (Context* context : contexts) {
    if (context->device != &device) continue;
    context->gone = true;
    close_bell(context->bell);
    for (Channel* channel : context->channels) close_bell(channel->refcnt);
  }
  for (Pair* pair : live_pairs) {
    if (pair->device != &device) continue;
    pair->state = IBV_QPS_ERR;
    pair->sends.clear();
    pair->receives.clear();
  }
}

void World::complete(ibv_cq* target, const Entry& entry, bool solicited) {
  auto& queue = *static_cast<Queue*>(target);
  if (!queue.alive || context_of(queue.context).gone) return;
  if (queue.entries.size() >= static_cast<size_t>(queue.cqe)) {
    ++queue.device->counts.overruns;
    return;
  }
  queue.entries.push_back(entry);
  solicited |= entry.wc.status != IBV_WC_SUCCESS;
  const bool asked_for =
      queue.armed == Queue::Armed::any || (queue.armed == Queue::Armed::solicited && solicited);
  if (!asked_for || queue.channel == nullptr) return;
  queue.armed = Queue::Armed::no;
  ++queue.device->counts.events;
  static_cast<Channel*>(queue.channel)->events.push_back(&queue);
  const char bell = 1;
  // A full pipe is readable anyway. refcnt keeps the writing end.
  [[maybe_unused]] const ssize_t rung = write(queue.channel->refcnt, &bell, 1);
}

void World::complete_send(Pair& pair, const Work& work, ibv_wc_status status, uint32_t length) {
  ++pair.since_entry;
  if (!work.signaled && status == IBV_WC_SUCCESS) return;
  Entry entry;
  entry.wc.wr_id = work.id;
  entry.wc.status = status;
  entry.wc.opcode = work.opcode == IBV_WR_RDMA_WRITE  ? IBV_WC_RDMA_WRITE
                    : work.opcode == IBV_WR_RDMA_READ ? IBV_WC_RDMA_READ
                                                      : IBV_WC_SEND;
  entry.wc.byte_len = length;
  entry.wc.qp_num = pair.qp_num;
  entry.sent_by = &pair;
  entry.frees = std::exchange(pair.since_entry, 0);
  ++pair.device->counts.send_completions;
  complete(pair.send_cq, entry);
}

void World::stop(Pair& pair) {
  pair.state = IBV_QPS_ERR;
  while (!pair.sends.empty() && !late_bytes) {
    const Work work = pair.sends.front();
    pair.sends.pop_front();
    complete_send(pair, work, IBV_WC_WR_FLUSH_ERR, 0);
  }
  while (!pair.receives.empty()) {
    Entry entry;
    entry.wc.wr_id = pair.receives.front().id;
    entry.wc.status = IBV_WC_WR_FLUSH_ERR;
    entry.wc.opcode = IBV_WC_RECV;
    entry.wc.qp_num = pair.qp_num;
    pair.receives.pop_front();
    complete(pair.recv_cq, entry);
  }
}

// --- carrying out ---

void World::run() {
  std::unique_lock lock(mutex);
  while (!stopping_) {
    const uint64_t now = now_ns();
    uint64_t next_ns = now + 50'000'000;
    if (carry_out_one(now, &next_ns)) {
      // Others want the mutex, too.
      lock.unlock();
      lock.lock();
      continue;
    }
    changed.wait_for(lock, std::chrono::nanoseconds(next_ns - now));
  }
}

std::vector<Pair*> World::ready() const {
  std::vector<Pair*> busy;
  for (Pair* pair : live_pairs) {
    if (!pair->sends.empty() && !pair->device->held) busy.push_back(pair);
  }
  // Whatever their turns were while the thread carried out.
  std::ranges::sort(busy, {}, [](const Pair* pair) { return pair->qp_num; });
  return busy;
}

void World::forget_dead() {
  const auto alive = [](const auto& object) { return object->alive; };
  if (!live_pairs.empty() || std::ranges::any_of(queues, alive) ||
      std::ranges::any_of(regions, alive)) {
    return;
  }
  pairs.clear();
  pairs_by_number.clear();
  queues.clear();
  regions.clear();
  regions_by_key.clear();
}

uint64_t World::step(uint64_t choice) {
  const std::vector<Pair*> busy = ready();
  if (busy.empty()) return 0;
  Pair& chosen = *busy[choice % busy.size()];
  carry_out(chosen, now_ns());
  return busy.size() - (chosen.sends.empty() ? 1 : 0);
}

bool World::carry_out_one(uint64_t now, uint64_t* next_ns) {
  if (manual) return false;
  for (size_t i = 0; i < live_pairs.size(); ++i) {
    Pair& pair = *live_pairs[i];
    if (pair.sends.empty() || pair.device->held) continue;
    const uint64_t due_ns = std::max(pair.sends.front().due_ns, pair.device->busy_until_ns);
    if (due_ns > now) {
      *next_ns = std::min(*next_ns, due_ns);
      continue;
    }
    // The others have their turn first next time.
    std::rotate(live_pairs.begin() + static_cast<ptrdiff_t>(i),
                live_pairs.begin() + static_cast<ptrdiff_t>(i) + 1, live_pairs.end());
    carry_out(pair, now);
    return true;
  }
  return false;
}

Region* World::find_region(uint32_t key, ibv_pd* domain, uint64_t address, uint64_t length,
                           unsigned access, bool late) {
  const auto found = regions_by_key.find(key);
  if (found == regions_by_key.end()) return nullptr;
  Region& region = *found->second;
  if ((!region.alive && !late) || region.pd != domain) return nullptr;
  if ((region.access & access) != access) return nullptr;
  if (address < region.begin || address - region.begin > region.size) return nullptr;
  if (length > region.size - (address - region.begin)) return nullptr;
  return &region;
}

Pair* World::peer_of(const Pair& pair, bool* late) {
  const auto found = pairs_by_number.find(pair.peer_number);
  if (found == pairs_by_number.end()) return nullptr;
  Pair& peer = *found->second;
  if (peer.peer_number != pair.qp_num || !peer.device->active || !pair.device->active ||
      pair.device->cut_from.contains(peer.device->index) || !leads_to(pair, peer)) {
    return nullptr;
  }
  const bool receives = peer.alive && (peer.state == IBV_QPS_RTR || peer.state == IBV_QPS_RTS);
  *late = !receives;
  return receives || late_bytes ? &peer : nullptr;
}

// The first work request has failed, and with it the pair.
void World::end(Pair& pair, ibv_wc_status status) {
  const Work work = pair.sends.front();
  pair.sends.pop_front();
  complete_send(pair, work, status, 0);
  stop(pair);
}

void World::carry_out(Pair& pair, uint64_t now) {
  Work& work = pair.sends.front();
  if (lose > 0) {
    --lose;
    return end(pair, IBV_WC_RETRY_EXC_ERR);
  }
  bool late = false;
  Pair* peer = peer_of(pair, &late);
  if (peer == nullptr) {
    if (late_bytes) {
      pair.sends.pop_front();
    } else if (work.tries++ == 0) {
      work.due_ns = now + kRetriesNs;
    } else {
      end(pair, IBV_WC_RETRY_EXC_ERR);
    }
    return;
  }
  const unsigned access = work.opcode == IBV_WR_RDMA_READ ? IBV_ACCESS_LOCAL_WRITE : 0;
  std::byte* local = nullptr;
  if (work.local.length > 0) {
    Region* region = find_region(work.local.lkey, pair.pd, work.local.addr, work.local.length,
                                 access, late_bytes);
    if (region == nullptr) {
      ++pair.device->counts.refused_keys;
      return end(pair, IBV_WC_LOC_PROT_ERR);
    }
    if (region->gpu && pair.device->kept_from_gpus) return end(pair, IBV_WC_LOC_PROT_ERR);
    local = region->at(work.local.addr);
  }
  const bool message = work.opcode == IBV_WR_SEND || work.opcode == IBV_WR_SEND_WITH_IMM;
  const bool done = message ? late || send(pair, *peer, work, local, now)
                            : transfer(pair, *peer, work, local, late);
  if (!done) return;
  const Work carried = work;
  pair.sends.pop_front();
  complete_send(pair, carried, IBV_WC_SUCCESS, carried.local.length);
}

// False: not now, or the pair has ended.
bool World::send(Pair& pair, Pair& peer, Work& work, const std::byte* from, uint64_t now) {
  if (peer.receives.empty()) {
    ++pair.device->counts.no_buffer;
    work.due_ns = now + kNoBufferPauseNs;
    if (++work.tries > kNoBufferTries) end(pair, IBV_WC_RNR_RETRY_EXC_ERR);
    return false;
  }
  const Work buffer = peer.receives.front();
  Region* region = find_region(buffer.local.lkey, peer.pd, buffer.local.addr, work.local.length,
                               IBV_ACCESS_LOCAL_WRITE, false);
  if (region == nullptr || work.local.length > buffer.local.length) {
    stop(peer);
    end(pair, IBV_WC_REM_INV_REQ_ERR);
    return false;
  }
  peer.receives.pop_front();
  if (from != nullptr) {
    std::memcpy(region->at(buffer.local.addr), from, work.local.length);
  }
  ++pair.device->counts.sends;
  pair.device->counts.send_bytes += work.local.length;
  Entry entry;
  entry.wc.wr_id = buffer.id;
  entry.wc.status = IBV_WC_SUCCESS;
  entry.wc.opcode = IBV_WC_RECV;
  entry.wc.byte_len = work.local.length;
  entry.wc.qp_num = peer.qp_num;
  if (work.opcode == IBV_WR_SEND_WITH_IMM) {
    entry.wc.wc_flags = IBV_WC_WITH_IMM;
    entry.wc.imm_data = lose_credit ? 0 : work.immediate;
  }
  ++peer.device->counts.receive_completions;
  complete(peer.recv_cq, entry, work.solicited);
  return true;
}

// As if the poster had named something else. Where all is open it is other memory that is there.
void World::forge_key(Work& work, const Pair& peer) {
  --forge;
  ++peer.device->counts.forged_keys;
  const auto found = regions_by_key.find(work.remote_key);
  const uint64_t kind = all_open ? 2 : forge_choice % 3;
  if (kind == 1 && found != regions_by_key.end()) {
    const Region& region = *found->second;
    work.remote_address = region.begin + region.size - work.local.length / 2;
    return;
  }
  work.remote_key ^= 0x8000'0000;
  if (kind != 2) return;
  std::vector<const Region*> others;
  for (const auto& [key, region] : regions_by_key) {
    const bool open = region->alive && (region->access & IBV_ACCESS_REMOTE_WRITE) != 0;
    if (open && region->pd != peer.pd && region->size >= work.local.length) {
      others.push_back(region);
    }
  }
  if (others.empty()) return;
  std::ranges::sort(others, {}, [](const Region* region) { return region->rkey; });
  const Region& other = *others[forge_choice / 3 % others.size()];
  work.remote_key = other.rkey;
  work.remote_address = other.begin;
}

bool World::transfer(Pair& pair, Pair& peer, Work& work, std::byte* local, bool late) {
  const bool write = work.opcode == IBV_WR_RDMA_WRITE;
  const uint32_t length = work.local.length;
  if (forge > 0) forge_key(work, peer);
  Region* region =
      find_region(work.remote_key, peer.pd, work.remote_address, length,
                  write ? IBV_ACCESS_REMOTE_WRITE : IBV_ACCESS_REMOTE_READ, late_bytes);
  Region everything{};  // with the addresses of the process
  if (region == nullptr && all_open) region = &everything;
  if (region == nullptr) {
    ++peer.device->counts.refused_keys;
    stop(peer);
    end(pair, IBV_WC_REM_ACCESS_ERR);
    return false;
  }
  if (region->gpu && peer.device->kept_from_gpus) {
    stop(peer);
    end(pair, IBV_WC_REM_ACCESS_ERR);
    return false;
  }
  if (region->gpu) peer.device->counts.gpu_bytes += length;
  if (late || !region->alive) pair.device->counts.late_bytes += length;
  std::byte* remote = region->at(work.remote_address);
  if (write) {
    std::memcpy(remote, local, length);
    ++pair.device->counts.writes;
    pair.device->counts.write_bytes += length;
  } else {
    std::memcpy(local, remote, length);
    ++pair.device->counts.reads;
    pair.device->counts.read_bytes += length;
  }
  pair.device->busy_until_ns = now_ns() + pair.device->transfer_ns;
  if (hold_after > 0 && --hold_after == 0) {
    hold_after = -1;
    pair.device->held = true;
  }
  return true;
}

}  // namespace fake_verbs
