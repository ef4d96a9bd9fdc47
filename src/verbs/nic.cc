#include "verbs/nic.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <vector>

#include <arpa/inet.h>

#include "base/check.h"
#include "verbs/ipoib.h"

namespace gd2fs::verbs {
namespace {

constexpr size_t kGidsMax = 1024;  // of one device
constexpr uint16_t kFullMember = 0x8000;
constexpr uint16_t kDefaultKey = 0xffff;  // of the partition that everybody is in, as full member

int access_of(Use use) {
  switch (use) {
    case Use::message:
      return IBV_ACCESS_LOCAL_WRITE;
    case Use::data:
      return IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING;
    case Use::data_for_peers:
      return IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
             IBV_ACCESS_RELAXED_ORDERING;
  }
  CHECK(false);
}

class DeviceList {
 public:
  explicit DeviceList(const Library& library)
      : library_(library), list_(library.get_device_list(&count_)), error_(errno) {}
  ~DeviceList() {
    if (list_ != nullptr) library_.free_device_list(list_);
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;
  bool ok() const { return list_ != nullptr; }
  int error() const { return error_; }
  int count() const { return count_; }
  ibv_device* operator[](int i) const { return list_[i]; }

 private:
  const Library& library_;
  int count_ = 0;
  ibv_device** list_;
  int error_;
};

const char* port_state(ibv_port_state state) {
  switch (state) {
    case IBV_PORT_DOWN:
      return "down";
    case IBV_PORT_INIT:
      return "initialising (of InfiniBand: no subnet manager has seen it)";
    case IBV_PORT_ARMED:
      return "armed";
    case IBV_PORT_ACTIVE:
      return "active";
    default:
      return "of unknown state";
  }
}

}  // namespace

Result<ibv_gid> gid_of(const std::string& address) {
  ibv_gid gid{};
  if (inet_pton(AF_INET, address.c_str(), gid.raw + 12) == 1) {
    gid.raw[10] = gid.raw[11] = 0xff;
    return gid;
  }
  if (inet_pton(AF_INET6, address.c_str(), gid.raw) == 1) return gid;
  return fail(StatusCode::invalid, address + ": not the address of a NIC");
}

std::string_view name_of(LinkLayer layer) {
  return layer == LinkLayer::infiniband ? "InfiniBand" : "Ethernet";
}

MemoryRegion::~MemoryRegion() {
  // It fails only where the device is gone, and then so is its access.
  (void)nic_->library().dereg_mr(region_);
}

Nic::~Nic() {
  if (domain_ != nullptr) (void)library_->dealloc_pd(domain_);
  if (context_ != nullptr) (void)library_->close_device(context_);
}

Result<std::shared_ptr<Nic>> Nic::open(const std::string& address) {
  Wanted wanted;
  GD2FS_ASSIGN(wanted.gid, gid_of(address));
  for (const IpoibAddress& one : ipoib_addresses()) {
    if (std::memcmp(one.address.raw, wanted.gid.raw, sizeof wanted.gid.raw) != 0) continue;
    wanted.port_guid = one.port_guid;
  }
  GD2FS_ASSIGN(const Library* library, Library::get());
  const DeviceList devices(*library);
  if (!devices.ok()) return fail(failure(devices.error(), "ibv_get_device_list"));
  if (devices.count() == 0) return fail(StatusCode::unsupported, "this machine has no RDMA device");
  std::string seen;
  for (int i = 0; i < devices.count(); ++i) {
    std::shared_ptr<Nic> nic(new Nic(*library));
    const char* name = library->get_device_name(devices[i]);
    nic->name_ = name == nullptr ? "?" : name;
    nic->folder_ = devices[i]->ibdev_path;
    nic->context_ = library->open_device(devices[i]);
    if (nic->context_ == nullptr) {
      seen += (seen.empty() ? "" : ", ") + nic->name_ + " (cannot be opened)";
      continue;
    }
    const Status found = nic->find_gid(wanted, &seen);
    if (found.is(StatusCode::not_found)) continue;
    GD2FS_TRY(found.with(nic->name_));
    if (const int error = library->query_device(nic->context_, &nic->limits_); error != 0) {
      return fail(failure(error, nic->name_ + ": ibv_query_device"));
    }
    const int flags = fcntl(nic->events_fd(), F_GETFL);
    if (flags < 0 || fcntl(nic->events_fd(), F_SETFL, flags | O_NONBLOCK) != 0) {
      return fail(Status::from_errno(errno, nic->name_ + ": its events"));
    }
    GD2FS_ASSIGN(const ibv_port_attr port, nic->read_port());
    nic->mtu_ = port.active_mtu;
    nic->domain_ = library->alloc_pd(nic->context_);
    if (nic->domain_ == nullptr) return fail(failure(errno, nic->name_ + ": ibv_alloc_pd"));
    return nic;
  }
  return fail(StatusCode::not_found,
              "no RDMA port has the address " + address + "; looked at " + seen);
}

Result<ibv_gid_entry> Nic::look_up(const Wanted& wanted, bool* other_kind) const {
  std::vector<ibv_gid_entry> table(kGidsMax);
  const ssize_t count =
      library_->query_gid_table(context_, table.data(), table.size(), 0, sizeof table[0]);
  if (count < 0) return fail(failure(static_cast<int>(-count), "ibv_query_gid_table"));
  for (ssize_t i = 0; i < count; ++i) {
    const ibv_gid_entry& entry = table[static_cast<size_t>(i)];
    if (port_ != 0 && entry.port_num != port_) continue;
    if (entry.gid_type == IBV_GID_TYPE_IB && entry.gid_index <= UINT8_MAX &&
        wanted.port_guid == port_guid_of(entry.gid)) {
      return entry;
    }
    if (std::memcmp(entry.gid.raw, wanted.gid.raw, sizeof wanted.gid.raw) != 0) continue;
    // RoCE v1 lists the same GID once more.
    if (entry.gid_type == IBV_GID_TYPE_ROCE_V2 && entry.gid_index <= UINT8_MAX) return entry;
    *other_kind = true;
  }
  return fail(Status(StatusCode::not_found));
}

Status Nic::find_gid(const Wanted& wanted, std::string* seen) {
  bool other_kind = false;
  const Result<ibv_gid_entry> entry = look_up(wanted, &other_kind);
  if (!entry.has_value()) {
    *seen += (seen->empty() ? "" : ", ") + name_ + (other_kind ? " (not as RoCE v2)" : "");
    return entry.error();
  }
  port_ = static_cast<uint8_t>(entry->port_num);
  const bool infiniband = entry->gid_type == IBV_GID_TYPE_IB;
  link_layer_ = infiniband ? LinkLayer::infiniband : LinkLayer::ethernet;
  // Later no other way than this one leads to it.
  if (infiniband) {
    found_by_.port_guid = wanted.port_guid;
  } else {
    found_by_.gid = entry->gid;
  }
  name_ += " port " + std::to_string(port_);
  return {};
}

Result<PortPlace> Nic::find_again() const {
  GD2FS_ASSIGN(const ibv_port_attr port, read_port());
  bool other_kind = false;
  const Result<ibv_gid_entry> entry = look_up(found_by_, &other_kind);
  if (!entry.has_value()) {
    return fail(StatusCode::unavailable, name_ + ": its address is gone");
  }
  PortPlace place;
  place.gid = entry->gid;
  place.gid_index = static_cast<uint8_t>(entry->gid_index);
  if (link_layer_ == LinkLayer::ethernet) return place;
  if (port.lid == 0) {
    return fail(StatusCode::unavailable, name_ + ": no subnet manager has given it a LID");
  }
  place.lid = port.lid;
  place.service_level = port.sm_sl;
  place.always_global = (port.flags & IBV_QPF_GRH_REQUIRED) != 0;
  GD2FS_ASSIGN(place.key_index, find_partition_key(port.pkey_tbl_len));
  return place;
}

// The default partition's if we are a full member there, else the first that we are one of.
Result<uint16_t> Nic::find_partition_key(int keys) const {
  std::optional<uint16_t> full;
  for (int i = 0; i < keys; ++i) {
    __be16 big_endian = 0;
    if (library_->query_pkey(context_, port_, i, &big_endian) != 0) continue;
    const uint16_t key = ntohs(big_endian);
    if (key == kDefaultKey) return static_cast<uint16_t>(i);
    if ((key & kFullMember) != 0 && !full) full = static_cast<uint16_t>(i);
  }
  if (full) return *full;
  return fail(StatusCode::unavailable, name_ + ": is a full member of no partition");
}

Nic::Event Nic::take_event(const ibv_qp** pair) const {
  ibv_async_event event{};
  if (library_->get_async_event(context_, &event) != 0) return Event::none;
  Event kind = Event::other;
  *pair = nullptr;
  switch (event.event_type) {
    case IBV_EVENT_PORT_ERR:
    case IBV_EVENT_PORT_ACTIVE:
      if (event.element.port_num != port_) break;
      kind = event.event_type == IBV_EVENT_PORT_ACTIVE ? Event::port_up : Event::port_down;
      break;
    case IBV_EVENT_DEVICE_FATAL:
    case IBV_EVENT_CQ_ERR:
      kind = Event::device_failed;
      break;
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
      kind = Event::pair_failed;
      *pair = event.element.qp;
      break;
    default:
      break;
  }
  // At once: a queue pair is destroyed only when its events are acknowledged.
  library_->ack_async_event(&event);
  return kind;
}

Result<ibv_port_attr> Nic::read_port() const {
  const verbs_context* extended = verbs_get_ctx_op(context_, query_port);
  if (extended == nullptr) return fail(StatusCode::unsupported, "its provider is too old");
  ibv_port_attr port{};
  if (const int error = extended->query_port(context_, port_, &port, sizeof port); error != 0) {
    return fail(failure(error, name_ + ": ibv_query_port"));
  }
  if (port.state == IBV_PORT_ACTIVE) return port;
  return fail(StatusCode::unavailable,
              name_ + ": the port is " + std::string(port_state(port.state)));
}

Result<std::unique_ptr<MemoryRegion>> Nic::register_memory(void* address, uint64_t length_bytes,
                                                           Use use) const {
  ibv_mr* region =
      library_->reg_mr_iova2(domain_, address, length_bytes, reinterpret_cast<uintptr_t>(address),
                             static_cast<unsigned>(access_of(use)));
  if (region == nullptr) return fail(failure(errno, name_ + ": ibv_reg_mr"));
  return std::make_unique<MemoryRegion>(shared_from_this(), region);
}

Result<std::unique_ptr<MemoryRegion>> Nic::register_dmabuf(int fd, uint64_t offset_bytes,
                                                           const void* address,
                                                           uint64_t length_bytes, Use use) const {
  if (library_->reg_dmabuf_mr == nullptr) {
    return fail(StatusCode::unsupported, "libibverbs has no ibv_reg_dmabuf_mr");
  }
  ibv_mr* region =
      library_->reg_dmabuf_mr(domain_, offset_bytes, length_bytes,
                              reinterpret_cast<uintptr_t>(address), fd, access_of(use));
  if (region == nullptr) {
    const int error = errno;
    const Status status = failure(error, name_ + ": ibv_reg_dmabuf_mr");
    const bool cannot = error == EOPNOTSUPP || error == ENOSYS || error == EPROTONOSUPPORT;
    return fail(cannot ? Status(StatusCode::unsupported, status.text(), error) : status);
  }
  return std::make_unique<MemoryRegion>(shared_from_this(), region);
}

}  // namespace gd2fs::verbs
