// Nic: one port of an RDMA device, opened, with the protection domain that all our memory and queue
// pairs on it belong to. Found from a local address: the port whose RoCE v2 GID is that address
// (IPv4 as ::ffff:a.b.c.d). One Nic per (ctx, address) in a client, per address in a server; what a
// key of one domain opens no other can.
//
// open() blocks for milliseconds: not on a loop. The rest from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "verbs/verbs.h"

namespace gd2fs::verbs {

class Nic;

// Memory that the NIC may use, from register_*() until it is destroyed; then its keys open nothing.
class MemoryRegion {
 public:
  MemoryRegion(std::shared_ptr<const Nic> nic, ibv_mr* region)
      : nic_(std::move(nic)), region_(region) {}
  ~MemoryRegion();
  MemoryRegion(const MemoryRegion&) = delete;
  MemoryRegion& operator=(const MemoryRegion&) = delete;
  uint32_t local_key() const { return region_->lkey; }
  uint32_t remote_key() const { return region_->rkey; }

 private:
  std::shared_ptr<const Nic> nic_;
  ibv_mr* region_;
};

// What memory is for. data: payload, in any order (relaxed ordering), and for a client open to the
// servers that hold its key. message: ours alone and strictly ordered, so that a message that was
// received is behind all the data that was written before it.
enum class Use : uint8_t { message, data, data_for_peers };

class Nic : public std::enable_shared_from_this<Nic> {
 public:
  // `address`: an IPv4 or IPv6 address as inet_pton takes it. unsupported: no library or no device;
  // not_found: no port has that address; unavailable: the port is down; io: the device failed. The
  // text says which devices were looked at.
  static Result<std::shared_ptr<Nic>> open(const std::string& address);
  ~Nic();
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  const std::string& name() const { return name_; }  // "mlx5_0 port 1"
  // "/sys/class/infiniband/mlx5_0"; the device itself is the link `device` in there.
  const std::string& folder() const { return folder_; }
  const Library& library() const { return *library_; }
  ibv_context* context() const { return context_; }
  ibv_pd* domain() const { return domain_; }
  uint8_t port() const { return port_; }
  // The index of our GID now: it may have moved, or gone, when the network interface was down in
  // between. unavailable: the port is down, or its address is gone. A call into the device.
  Result<uint8_t> find_again() const;
  const ibv_gid& gid() const { return gid_; }
  ibv_mtu mtu() const { return mtu_; }
  const ibv_device_attr& limits() const { return limits_; }
  // What the device says by itself, on a fd that does not block; it has one reader.
  enum class Event : uint8_t { none, port_up, port_down, device_failed, pair_failed, other };
  int events_fd() const { return context_->async_fd; }
  // The next; pair_failed: of *pair, which may be gone.
  Event take_event(const ibv_qp** pair) const;
  // The device was removed, or has failed: nothing works on it any more, and it has to be opened
  // anew. Who reads its events finds out.
  bool gone() const { return gone_.load(std::memory_order_relaxed); }
  void set_gone() const { gone_.store(true, std::memory_order_relaxed); }
  // Longer memory takes several registrations.
  uint64_t region_max_bytes() const { return limits_.max_mr_size; }

  // Pins: 30 to 300 ms per GiB. The memory stays mapped while the region lives.
  Result<std::unique_ptr<MemoryRegion>> register_memory(void* address, uint64_t length_bytes,
                                                        Use use) const;
  // Device memory as a dmabuf, its first byte at `offset_bytes`; keys mean the addresses from
  // `address` on. unsupported: library or device cannot.
  Result<std::unique_ptr<MemoryRegion>> register_dmabuf(int fd, uint64_t offset_bytes,
                                                        const void* address, uint64_t length_bytes,
                                                        Use use) const;

 private:
  explicit Nic(const Library& library) : library_(&library) {}
  Status find_gid(const ibv_gid& wanted, std::string* seen);
  Result<ibv_gid_entry> look_up(const ibv_gid& wanted, bool* other_kind) const;
  Result<ibv_port_attr> read_port() const;

  const Library* library_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  std::string name_;
  std::string folder_;
  uint8_t port_ = 0;
  ibv_gid gid_{};
  ibv_mtu mtu_ = IBV_MTU_1024;
  ibv_device_attr limits_{};
  mutable std::atomic<bool> gone_ = false;
};

// The GID of a RoCE v2 port with that address. invalid: not an address.
Result<ibv_gid> gid_of(const std::string& address);

}  // namespace gd2fs::verbs
