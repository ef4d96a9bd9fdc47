#include "verbs/verbs.h"

#include <cerrno>
#include <cstdlib>
#include <dlfcn.h>
#include <memory>

namespace gd2fs::verbs {
namespace {

const char* library_name() {
  const char* named = secure_getenv("GD2FS_VERBS_LIBRARY");
  return named != nullptr && *named != '\0' ? named : "libibverbs.so.1";
}

template <class Signature>
bool find(void* library, const char* name, Signature* out) {
  *out = reinterpret_cast<Signature>(dlsym(library, name));
  return *out != nullptr;
}

}  // namespace

Status Library::find_functions(void* library) {
  const char* missing = nullptr;
  const auto need = [&](const char* name, auto* out) {
    if (!find(library, name, out) && missing == nullptr) missing = name;
  };
  need("ibv_get_device_list", &get_device_list);
  need("ibv_free_device_list", &free_device_list);
  need("ibv_get_device_name", &get_device_name);
  need("ibv_open_device", &open_device);
  need("ibv_close_device", &close_device);
  need("ibv_query_device", &query_device);
  need("_ibv_query_gid_table", &query_gid_table);
  need("ibv_query_pkey", &query_pkey);
  need("ibv_alloc_pd", &alloc_pd);
  need("ibv_dealloc_pd", &dealloc_pd);
  need("ibv_reg_mr", &reg_mr);
  need("ibv_reg_mr_iova2", &reg_mr_iova2);
  need("ibv_dereg_mr", &dereg_mr);
  need("ibv_create_comp_channel", &create_comp_channel);
  need("ibv_destroy_comp_channel", &destroy_comp_channel);
  need("ibv_create_cq", &create_cq);
  need("ibv_destroy_cq", &destroy_cq);
  need("ibv_get_cq_event", &get_cq_event);
  need("ibv_ack_cq_events", &ack_cq_events);
  need("ibv_create_qp", &create_qp);
  need("ibv_modify_qp", &modify_qp);
  need("ibv_destroy_qp", &destroy_qp);
  need("ibv_get_async_event", &get_async_event);
  need("ibv_ack_async_event", &ack_async_event);
  need("ibv_wc_status_str", &wc_status_text);
  find(library, "ibv_reg_dmabuf_mr", &reg_dmabuf_mr);
  if (missing == nullptr) return {};
  return {StatusCode::unsupported, std::string(library_name()) + " has no " + missing};
}

Result<const Library*> Library::load() {
  void* library = dlopen(library_name(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): per thread in glibc
    return fail(StatusCode::unsupported, why == nullptr ? library_name() : why);
  }
  // Stays loaded: its providers do not survive being unloaded.
  auto verbs = std::unique_ptr<Library>(new Library);
  GD2FS_TRY(verbs->find_functions(library));
  return verbs.release();  // for the rest of the process
}

Result<const Library*> Library::get() {
  static const Result<const Library*> library = load();
  return library;
}

Status failure(int errno_value, std::string_view what) {
  Status status = Status::from_errno(errno_value, what);
  if (errno_value != ENOMEM && errno_value != EPERM) return status;
  return {status.code(),
          std::string(status.text()) + " (is the limit of locked memory, ulimit -l, too low?)",
          errno_value};
}

}  // namespace gd2fs::verbs
