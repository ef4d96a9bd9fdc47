// Verbs: the door to RDMA NICs. The functions of libibverbs that we call, found in libibverbs.so.1
// at run time; nothing of it is linked, and a machine without it is not touched.
//
// Loaded once per process, when somebody first asks for a NIC. GD2FS_VERBS_LIBRARY names another
// library (tests/fake_verbs). Posting and polling are inline functions of <infiniband/verbs.h> that
// call the device's own through its context, and need no symbol of the library; those that do need
// one are members here. Numbers and structs are the library's. Any thread.
#pragma once

#include <infiniband/verbs.h>

#include "base/status.h"

namespace gd2fs::verbs {

class Library {
 public:
  // The process's one, loaded by the first call. unsupported: no library, or one without a function
  // that we need (Debian 12's has all); every later call answers the same.
  static Result<const Library*> get();

  ibv_device** (*get_device_list)(int* count) = nullptr;
  void (*free_device_list)(ibv_device** list) = nullptr;
  const char* (*get_device_name)(ibv_device* device) = nullptr;
  ibv_context* (*open_device)(ibv_device* device) = nullptr;
  int (*close_device)(ibv_context* context) = nullptr;
  int (*query_device)(ibv_context* context, ibv_device_attr* out) = nullptr;
  ssize_t (*query_gid_table)(ibv_context* context, ibv_gid_entry* entries, size_t entries_max,
                             uint32_t flags, size_t entry_bytes) = nullptr;
  int (*query_pkey)(ibv_context* context, uint8_t port, int index, __be16* key) = nullptr;
  ibv_pd* (*alloc_pd)(ibv_context* context) = nullptr;
  int (*dealloc_pd)(ibv_pd* domain) = nullptr;
  ibv_mr* (*reg_mr)(ibv_pd* domain, void* address, size_t length_bytes, int access) = nullptr;
  // For access flags that a device may ignore, as relaxed ordering.
  ibv_mr* (*reg_mr_iova2)(ibv_pd* domain, void* address, size_t length_bytes, uint64_t iova,
                          unsigned access) = nullptr;
  // nullptr before rdma-core 34.
  ibv_mr* (*reg_dmabuf_mr)(ibv_pd* domain, uint64_t offset, size_t length_bytes, uint64_t iova,
                           int fd, int access) = nullptr;
  int (*dereg_mr)(ibv_mr* region) = nullptr;
  ibv_comp_channel* (*create_comp_channel)(ibv_context* context) = nullptr;
  int (*destroy_comp_channel)(ibv_comp_channel* channel) = nullptr;
  ibv_cq* (*create_cq)(ibv_context* context, int entries, void* owner, ibv_comp_channel* channel,
                       int vector) = nullptr;
  int (*destroy_cq)(ibv_cq* queue) = nullptr;
  int (*get_cq_event)(ibv_comp_channel* channel, ibv_cq** queue, void** owner) = nullptr;
  void (*ack_cq_events)(ibv_cq* queue, unsigned count) = nullptr;
  ibv_qp* (*create_qp)(ibv_pd* domain, ibv_qp_init_attr* attributes) = nullptr;
  int (*modify_qp)(ibv_qp* pair, ibv_qp_attr* attributes, int mask) = nullptr;
  int (*destroy_qp)(ibv_qp* pair) = nullptr;
  int (*get_async_event)(ibv_context* context, ibv_async_event* out) = nullptr;
  void (*ack_async_event)(ibv_async_event* event) = nullptr;
  const char* (*wc_status_text)(ibv_wc_status status) = nullptr;

 private:
  Library() = default;
  static Result<const Library*> load();
  Status find_functions(void* library);
};

// "create_qp: Cannot allocate memory", with what helps where that is known (ENOMEM mostly means the
// limit of locked memory).
Status failure(int errno_value, std::string_view what);

}  // namespace gd2fs::verbs
