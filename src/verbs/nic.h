// Nic: one port of an RDMA device, opened, with the protection domain that all our memory and queue
// pairs on it belong to. Found from a local address: the port whose RoCE v2 GID is that address
// (IPv4 as ::ffff:a.b.c.d), or the InfiniBand port whose network device has it (ipoib.h). One Nic
// per (ctx, address) in a client, per address in a server; what a key of one domain opens no other
// can.
//
// open() blocks for milliseconds: not on a loop. The rest from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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

enum class LinkLayer : uint8_t { ethernet, infiniband };
std::string_view name_of(LinkLayer layer);  // "Ethernet"

// Where a port is now; a subnet manager may move one of InfiniBand.
struct PortPlace {
  ibv_gid gid{};
  uint8_t gid_index = 0;
  // Of InfiniBand alone:
  uint16_t lid = 0;
  uint16_t key_index = 0;  // of the partition that its queue pairs are in
  uint8_t service_level = 0;
  bool always_global = false;  // its packets carry a global route within its subnet, too
};

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
  LinkLayer link_layer() const { return link_layer_; }
  // Its GID may have moved, or gone, when the network interface was down in between. unavailable:
  // the port is down, or its address is gone, or no subnet manager has given it a LID. Calls into
  // the device.
  Result<PortPlace> find_again() const;
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
  // One of the two finds a port.
  struct Wanted {
    ibv_gid gid{};                      // of Ethernet
    std::optional<uint64_t> port_guid;  // of InfiniBand
  };
  Status find_gid(const Wanted& wanted, std::string* seen);
  Result<ibv_gid_entry> look_up(const Wanted& wanted, bool* other_kind) const;
  Result<ibv_port_attr> read_port() const;
  Result<uint16_t> find_partition_key(int keys) const;

  const Library* library_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  std::string name_;
  std::string folder_;
  uint8_t port_ = 0;
  LinkLayer link_layer_ = LinkLayer::ethernet;
  Wanted found_by_;
  ibv_mtu mtu_ = IBV_MTU_1024;
  ibv_device_attr limits_{};
  mutable std::atomic<bool> gone_ = false;
};

// The GID of a RoCE v2 port with that address. invalid: not an address.
Result<ibv_gid> gid_of(const std::string& address);

}  // namespace gd2fs::verbs
