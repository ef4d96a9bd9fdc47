// What the library exports but for queues: devices, domains, memory, controls.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include "world.h"

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace fake_verbs {
int post_send(ibv_qp* target, ibv_send_wr* first, ibv_send_wr** bad);
int post_recv(ibv_qp* target, ibv_recv_wr* first, ibv_recv_wr** bad);
int poll_cq(ibv_cq* target, int count, ibv_wc* out);
int req_notify_cq(ibv_cq* target, int solicited_only);

namespace {

int query_port(ibv_context* context, uint8_t port, ibv_port_attr* out, size_t length) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (port != 1) return EINVAL;
  if (context_of(context).gone) return EIO;
  std::memset(out, 0, length);
  const Device& device = device_of(context);
  out->state = device.active ? IBV_PORT_ACTIVE : IBV_PORT_DOWN;
  out->max_mtu = IBV_MTU_4096;
  out->active_mtu = IBV_MTU_4096;
  out->gid_tbl_len = static_cast<int>(device.gids.size());
  out->link_layer = IBV_LINK_LAYER_ETHERNET;
  if (!device.infiniband) return 0;
  if (device.active && device.lid == 0) out->state = IBV_PORT_INIT;
  out->gid_tbl_len = 1;
  out->link_layer = IBV_LINK_LAYER_INFINIBAND;
  out->lid = device.lid;
  out->sm_sl = kServiceLevel;
  out->pkey_tbl_len = std::size(kPartitionKeys);
  return 0;
}

template <class Change>
void change(Change what) {
  World& world = World::instance();
  {
    std::lock_guard lock(world.mutex);
    what(world);
  }
  world.wake();
}

}  // namespace
}  // namespace fake_verbs

using namespace fake_verbs;

FAKE_API ibv_device** ibv_get_device_list(int* count) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto** list = new ibv_device*[world.devices.size() + 1];
  size_t i = 0;
  for (auto& device : world.devices) {
    if (!device->removed) list[i++] = &device->device;
  }
  list[i] = nullptr;
  if (count != nullptr) *count = static_cast<int>(i);
  return list;
}
FAKE_API void ibv_free_device_list(ibv_device** list) {
  delete[] list;
}
FAKE_API const char* ibv_get_device_name(ibv_device* device) {
  return device->name;
}

FAKE_API ibv_context* ibv_open_device(ibv_device* device) {
  World& world = World::instance();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return nullptr;
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  std::lock_guard lock(world.mutex);
  auto* context = new Context;
  context->bell = ends[1];
  world.contexts.push_back(context);
  for (auto& one : world.devices) {
    if (&one->device == device) context->device = one.get();
  }
  verbs_context& extended = context->extended;
  extended.sz = sizeof extended;
  extended.query_port = query_port;
  extended.context.abi_compat = __VERBS_ABI_IS_EXTENDED;
  extended.context.device = device;
  extended.context.async_fd = ends[0];
  extended.context.ops.post_send = post_send;
  extended.context.ops.post_recv = post_recv;
  extended.context.ops.poll_cq = poll_cq;
  extended.context.ops.req_notify_cq = req_notify_cq;
  extended.context.num_comp_vectors = 1;
  return &extended.context;
}
FAKE_API int ibv_close_device(ibv_context* context) {
  Context* const closed = &context_of(context);
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  std::erase(world.contexts, closed);
  close(context->async_fd);
  close_bell(closed->bell);
  delete closed;
  return 0;
}
FAKE_API int ibv_get_async_event(ibv_context* context, ibv_async_event* out) {
  char bell = 0;
  if (read(context->async_fd, &bell, 1) != 1) return -1;
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  std::deque<ibv_async_event>& events = context_of(context).events;
  *out = events.front();
  events.pop_front();
  return 0;
}
FAKE_API void ibv_ack_async_event(ibv_async_event*) {}

FAKE_API int ibv_query_device(ibv_context*, ibv_device_attr* out) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  std::memset(out, 0, sizeof *out);
  out->max_mr_size = world.max_mr_size;
  out->max_qp = 4096;
  out->max_qp_wr = 4096;
  out->max_sge = 16;
  out->max_cq = 4096;
  out->max_cqe = 32767;
  out->max_qp_rd_atom = 16;
  out->max_qp_init_rd_atom = 16;
  return 0;
}

FAKE_API ssize_t _ibv_query_gid_table(ibv_context* context, ibv_gid_entry* entries,
                                      size_t entries_max, uint32_t, size_t) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (context_of(context).gone) return -EIO;
  const Device& device = device_of(context);
  const std::vector<ibv_gid_entry> gids =
      device.infiniband ? std::vector{device.guid} : device.gids;
  if (gids.size() > entries_max) return -EINVAL;
  std::copy(gids.begin(), gids.end(), entries);
  return static_cast<ssize_t>(gids.size());
}

FAKE_API int ibv_query_pkey(ibv_context*, uint8_t port, int index, __be16* key) {
  if (port != 1 || index < 0 || index >= static_cast<int>(std::size(kPartitionKeys))) return -1;
  *key = htobe16(kPartitionKeys[index]);
  return 0;
}

FAKE_API ibv_pd* ibv_alloc_pd(ibv_context* context) {
  auto* domain = new ibv_pd{};
  domain->context = context;
  return domain;
}
FAKE_API int ibv_dealloc_pd(ibv_pd* domain) {
  delete domain;
  return 0;
}

FAKE_API ibv_mr* ibv_reg_mr_iova2(ibv_pd* domain, void* address, size_t length, uint64_t iova,
                                  unsigned access) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (context_of(domain->context).gone) {
    errno = EIO;
    return nullptr;
  }
  if (world.refuse_count > 0) {
    --world.refuse_count;
    if (world.lie_about_refusals) return world.add_region(domain, iova, 0, nullptr, 0);
    errno = world.refuse_error;
    return nullptr;
  }
  return world.add_region(domain, iova, length, static_cast<std::byte*>(address), access);
}
#undef ibv_reg_mr
FAKE_API ibv_mr* ibv_reg_mr(ibv_pd* domain, void* address, size_t length, int access) {
  return ibv_reg_mr_iova2(domain, address, length, reinterpret_cast<uintptr_t>(address),
                          static_cast<unsigned>(access));
}
// Device memory of the fake GPUs, which knows where the CPU may touch it.
FAKE_API ibv_mr* ibv_reg_dmabuf_mr(ibv_pd* domain, uint64_t offset, size_t length, uint64_t iova,
                                   int fd, int access) {
  const char* cuda = std::getenv("GD2FS_CUDA_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
  void* library = cuda == nullptr ? nullptr : dlopen(cuda, RTLD_NOW | RTLD_NOLOAD);
  using Bytes = void* (*)(int, uint64_t, uint64_t);
  auto bytes_of = library == nullptr
                      ? nullptr
                      : reinterpret_cast<Bytes>(dlsym(library, "fake_cuda_dmabuf_bytes"));
  void* bytes = bytes_of == nullptr ? nullptr : bytes_of(fd, offset, length);
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  if (world.refuse_count > 0) {
    --world.refuse_count;
    bytes = nullptr;
  }
  if (bytes == nullptr) {
    errno = EOPNOTSUPP;
    return nullptr;
  }
  Region* region = world.add_region(domain, iova, length, static_cast<std::byte*>(bytes),
                                    static_cast<unsigned>(access));
  region->gpu = true;
  return region;
}
FAKE_API int ibv_dereg_mr(ibv_mr* target) {
  World& world = World::instance();
  std::lock_guard lock(world.mutex);
  auto& region = *static_cast<Region*>(target);
  if (!region.alive) return EINVAL;
  region.alive = false;
  --region.device->counts.regions;
  if (!world.late_bytes) world.regions_by_key.erase(region.lkey);
  return 0;
}

// --- controls ---

FAKE_API void fake_verbs_set_delay_ns(uint64_t delay_ns) {
  change([&](World& world) { world.delay_ns = delay_ns; });
}
FAKE_API void fake_verbs_hold(int device, int held) {
  change([&](World& world) {
    for (auto& one : world.devices) {
      if (device < 0 || one->index == device) one->held = held != 0;
    }
  });
}
FAKE_API void fake_verbs_hold_after(int transfers) {
  change([&](World& world) { world.hold_after = transfers; });
}
FAKE_API void fake_verbs_lose(int count) {
  change([&](World& world) { world.lose = count; });
}
FAKE_API void fake_verbs_break(int device) {
  change([&](World& world) {
    for (Pair* pair : world.live_pairs) {
      if (pair->device->index == device) world.stop(*pair);
    }
  });
}
FAKE_API void fake_verbs_set_port(int device, int active) {
  change([&](World& world) {
    Device& one = *world.devices[static_cast<size_t>(device)];
    one.active = active != 0;
    world.tell(one, one.active ? IBV_EVENT_PORT_ACTIVE : IBV_EVENT_PORT_ERR);
  });
}
FAKE_API void fake_verbs_set_events(int on) {
  change([&](World& world) { world.events_on = on != 0; });
}
FAKE_API void fake_verbs_fail_device(int device) {
  change([&](World& world) {
    Device& one = *world.devices[static_cast<size_t>(device)];
    one.active = false;
    world.tell(one, IBV_EVENT_DEVICE_FATAL);
  });
}
FAKE_API void fake_verbs_remove_device(int device) {
  change([&](World& world) { world.remove(*world.devices[static_cast<size_t>(device)]); });
}
FAKE_API void fake_verbs_insert_device(int device) {
  change([&](World& world) {
    Device& one = *world.devices[static_cast<size_t>(device)];
    one.removed = false;
    one.active = true;
  });
}
FAKE_API void fake_verbs_set_infiniband(int device, int on) {
  change([&](World& world) { world.devices[static_cast<size_t>(device)]->infiniband = on != 0; });
}
FAKE_API void fake_verbs_set_subnet(int device, uint16_t lid, uint64_t prefix) {
  change([&](World& world) {
    World::set_subnet(*world.devices[static_cast<size_t>(device)], lid, prefix);
  });
}
FAKE_API void fake_verbs_keep_from_gpus(int device, int kept) {
  change([&](World& world) {
    world.devices[static_cast<size_t>(device)]->kept_from_gpus = kept != 0;
  });
}
FAKE_API void fake_verbs_slow(int device, uint64_t transfer_ns) {
  change(
      [&](World& world) { world.devices[static_cast<size_t>(device)]->transfer_ns = transfer_ns; });
}
FAKE_API void fake_verbs_cut(int one, int other, int cut) {
  change([&](World& world) {
    for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
      std::set<int>& cut_from = world.devices[static_cast<size_t>(from)]->cut_from;
      if (cut != 0) {
        cut_from.insert(to);
      } else {
        cut_from.erase(to);
      }
    }
  });
}
FAKE_API void fake_verbs_refuse_registrations(int count, int error) {
  change([&](World& world) {
    world.refuse_count = count;
    world.refuse_error = error;
  });
}
FAKE_API void fake_verbs_set_max_mr_size(uint64_t length_bytes) {
  change([&](World& world) { world.max_mr_size = length_bytes; });
}
FAKE_API void fake_verbs_let_late_bytes_through(int through) {
  change([&](World& world) { world.late_bytes = through != 0; });
}
FAKE_API void fake_verbs_open_all_memory(int open) {
  change([&](World& world) { world.all_open = open != 0; });
}
FAKE_API void fake_verbs_lie_about_refusals(int lie) {
  change([&](World& world) { world.lie_about_refusals = lie != 0; });
}
FAKE_API void fake_verbs_lose_credit(int lost) {
  change([&](World& world) { world.lose_credit = lost != 0; });
}
FAKE_API void fake_verbs_forge_keys(int count, uint64_t choice) {
  change([&](World& world) {
    world.forge = count;
    world.forge_choice = choice;
  });
}
FAKE_API void fake_verbs_manual(int manual) {
  change([&](World& world) { world.manual = manual != 0; });
}
FAKE_API uint64_t fake_verbs_step(uint64_t choice) {
  uint64_t left = 0;
  change([&](World& world) { left = world.step(choice); });
  return left;
}
FAKE_API uint64_t fake_verbs_ready(void) {
  uint64_t count = 0;
  change([&](World& world) { count = world.ready().size(); });
  return count;
}
FAKE_API void fake_verbs_reset(void) {
  change([&](World& world) {
    world.forget_dead();
    world.manual = false;
    world.delay_ns = 0;
    world.hold_after = -1;
    world.lose = 0;
    world.refuse_count = 0;
    world.max_mr_size = std::numeric_limits<uint64_t>::max();
    world.late_bytes = false;
    world.all_open = false;
    world.lie_about_refusals = false;
    world.lose_credit = false;
    world.forge = 0;
    world.events_on = true;
    for (auto& device : world.devices) {
      device->held = false;
      device->removed = false;
      device->infiniband = false;
      World::set_subnet(*device, static_cast<uint16_t>(device->index + 0x11), kLinkLocal);
      if (!device->active) world.tell(*device, IBV_EVENT_PORT_ACTIVE);
      device->active = true;
      device->kept_from_gpus = false;
      device->cut_from.clear();
      device->transfer_ns = 0;
      device->busy_until_ns = 0;
    }
  });
}
FAKE_API void fake_verbs_get_counts(int device, fake_verbs_counts* counts) {
  change([&](World& world) { *counts = world.devices[static_cast<size_t>(device)]->counts; });
}
FAKE_API uint32_t fake_verbs_key_at(int device, const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  uint32_t key = 0;
  change([&](World& world) {
    for (const auto& [each, region] : world.regions_by_key) {
      if (region->alive && region->device->index == device && at >= region->begin &&
          at - region->begin < region->size) {
        key = std::max(key, each);
      }
    }
  });
  return key;
}
FAKE_API uint64_t fake_verbs_queued(void) {
  uint64_t queued = 0;
  change([&](World& world) {
    for (Pair* pair : world.live_pairs) queued += pair->sends.size();
  });
  return queued;
}
