// gpu_bench: what a machine's GPU and its driver can do, in the terms of src/gpu. One JSON row per
// line; `gpu_bench [facts|calls|latency|registration|border|bulk]...`, default all.
#include "bench/gpu_bench.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/random.h"

namespace gd2fs::bench {

void must(bool ok, const std::string& what) {
  if (ok) return;
  std::printf("FAIL %s\n", what.c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
}

void must(const Status& status, const char* what) {
  must(status.ok(), std::string(what) + ": " + status.to_string());
}

Extra::Extra(const Driver&) {
  const char* named = std::getenv("GD2FS_CUDA_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
  void* library = dlopen(named != nullptr ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  const auto find = [&](const char* name, auto* out) {
    *out = reinterpret_cast<std::remove_pointer_t<decltype(out)>>(dlsym(library, name));
    must(*out != nullptr, name);
  };
  find("cuMemGetInfo_v2", &memory_info);
  find("cuLaunchHostFunc", &launch_host_function);
}

Bench::Bench() {
  const Result<const Driver*> loaded = Driver::get();
  must(loaded.has_value(), loaded.has_value() ? "" : loaded.error().to_string());
  driver = *loaded;
  extra_ = std::make_unique<Extra>(*driver);
  must(driver->primary_context_retain(&context, 0) == 0, "cuDevicePrimaryCtxRetain");
  must(driver->context_push(context) == 0, "cuCtxPushCurrent");
}

Pointer Bench::alloc(size_t length) {
  Pointer pointer = 0;
  must(driver->memory_alloc(&pointer, length) == 0, "cuMemAlloc");
  return pointer;
}

Status Bench::run(GpuCopy& copy, bool busy) {
  struct Flag {
    bool ended = false;
    void on(Completion&) { ended = true; }
  } flag;
  copy.done.bind<&Flag::on>(&flag);
  gpu.copy(copy);
  Loop::Drive drive = loop.try_drive();
  while (!flag.ended) loop.turn(busy ? 0 : UINT64_MAX, busy ? 0 : 50 * kUs);
  return copy.done.status;
}

Slab::Slab(size_t length_bytes) : length(length_bytes) {
  const int fd = memfd_create("slab", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  must(fd >= 0 && ftruncate(fd, static_cast<off_t>(length)) == 0, "memfd");
  void* own = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  must(own != MAP_FAILED, "mmap");
  writable = static_cast<std::byte*>(own);
  Random random(1);
  auto* words = static_cast<uint64_t*>(own);
  for (size_t i = 0; i < length / 8; ++i) words[i] = random.next();
  constexpr int kFutureWrite = 0x10;  // F_SEAL_FUTURE_WRITE
  must(fcntl(fd, F_ADD_SEALS, kFutureWrite | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0,
       "seal");
  void* view = mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, 0);
  must(view != MAP_FAILED, "mmap read-only");
  data = static_cast<std::byte*>(view);
  close(fd);
}

Slab::~Slab() {
  munmap(writable, length);
  munmap(data, length);
}

}  // namespace gd2fs::bench

int main(int argc, char** argv) {
  using namespace gd2fs::bench;  // NOLINT
  std::vector<std::string> what(argv + 1, argv + argc);
  const auto wanted = [&](const char* name) {
    return what.empty() || std::ranges::find(what, name) != what.end();
  };
  Bench bench;
  char name[64] = "";
  (void)bench.driver->device_get_name(name, sizeof name, 0);
  Row("device").put("name", name).put("driver", bench.gpu.description());
  if (wanted("facts")) check_facts(bench);
  if (wanted("calls")) measure_calls(bench);
  if (wanted("latency")) measure_latency(bench);
  if (wanted("registration")) measure_registration(bench);
  if (wanted("border")) measure_border(bench);
  if (wanted("bulk")) measure_bulk(bench);
  return 0;
}
