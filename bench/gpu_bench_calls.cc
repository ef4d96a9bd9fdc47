// gpu_bench: what the code relies on, the cost of single calls, ways to learn of a copy's end, the
// cost of registration.
#include <thread>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "bench/gpu_bench.h"
#include "gpu/copy_kernel_ptx.h"

namespace gd2fs::bench {
namespace {

void fact(const char* what, bool holds) {
  std::printf("%s %s\n", holds ? "PASS" : "FAIL", what);
}

bool cpu_can_read(const void* address) {
  char byte = 0;
  iovec local{&byte, 1};
  iovec remote{const_cast<void*>(address), 1};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

template <class Call>
double nanoseconds_of(Call call) {
  constexpr int kCalls = 2000;
  const uint64_t from_ns = now_ns();
  for (int i = 0; i < kCalls; ++i) call();
  return static_cast<double>(now_ns() - from_ns) / kCalls;
}

// One copy that crosses from one allocation into the next, if two happen to be neighbours.
void check_neighbours(Bench& bench) {
  constexpr size_t kLength = 2 << 20;
  std::vector<Pointer> all;
  all.reserve(64);
  for (int i = 0; i < 64; ++i) all.push_back(bench.alloc(kLength));
  std::ranges::sort(all);
  const auto pair =
      std::ranges::adjacent_find(all, [](Pointer a, Pointer b) { return a + kLength == b; });
  if (pair == all.end()) {
    std::printf("NOTE no two allocations are neighbours\n");
  } else {
    void* host = std::aligned_alloc(4096, kLength);
    must(bench.driver->host_register(host, kLength, 3) == 0, "cuMemHostRegister");
    const Error error = bench.driver->copy_to_device(*pair + kLength / 2, host, kLength, nullptr);
    std::printf("NOTE a copy over two neighbouring allocations answers %d\n", error);
    (void)bench.driver->stream_synchronize(nullptr);
    (void)bench.driver->host_unregister(host);
    std::free(host);
  }
  for (const Pointer pointer : all) (void)bench.driver->memory_free(pointer);
}

// What each thing that a target makes takes of the device's memory.
void check_memory(Bench& bench) {
  const auto free_bytes = [&] {
    size_t free = 0, total = 0;
    (void)bench.extra().memory_info(&free, &total);
    return static_cast<double>(free);
  };
  const Driver& driver = *bench.driver;
  double before = free_bytes();
  Stream streams[6] = {};
  cuda::Event events[64] = {};
  Row row("vram_bytes");
  for (int i = 0; i < 6; ++i) {
    (void)driver.stream_create(&streams[i], cuda::kStreamNonBlocking);
    row.put(("stream_" + std::to_string(i)).c_str(), before - free_bytes());
  }
  before = free_bytes();
  for (cuda::Event& event : events) (void)driver.event_create(&event, cuda::kEventDisableTiming);
  row.put("events_64", before - free_bytes());
  before = free_bytes();
  cuda::Module module = nullptr;
  cuda::Function function = nullptr;
  (void)driver.module_load_data(&module, cuda::kCopyKernelPtx);
  (void)driver.module_get_function(&function, module, cuda::kCopyKernelName);
  row.put("module", before - free_bytes());
  before = free_bytes();
  void* host = std::aligned_alloc(4096, 32 << 20);
  (void)driver.host_register(host, 32 << 20, 3);
  row.put("register_32_mib", before - free_bytes());
  (void)driver.host_unregister(host);
  std::free(host);
  (void)driver.module_unload(module);
  for (const Stream stream : streams) (void)driver.stream_destroy(stream);
  for (const cuda::Event event : events) (void)driver.event_destroy(event);
}

}  // namespace

void check_facts(Bench& bench) {
  const Pointer pointer = bench.alloc(1 << 20);
  fact("device memory cannot be read by the CPU through process_vm_readv",
       !cpu_can_read(bench.data(pointer)));
  std::thread([&] {
    const auto found = bench.gpu.find(bench.data(pointer) + 4096, 4096);
    fact("a thread without a context finds device memory", found.has_value());
    if (!found.has_value()) std::printf("NOTE %s\n", found.error().to_string().c_str());
  }).join();
  check_memory(bench);
  size_t before = 0, after = 0, total = 0;
  (void)bench.extra().memory_info(&before, &total);
  const uint64_t from_ns = now_ns();
  auto second = std::make_unique<CudaGpu>(bench.loop);
  const auto found = second->find(bench.data(pointer), 4096);
  const double open_ms = static_cast<double>(now_ns() - from_ns) / 1e6;
  (void)bench.extra().memory_info(&after, &total);
  Row("open")
      .put("ms", open_ms)
      .put("vram_bytes", static_cast<double>(before) - static_cast<double>(after));
  fact("opening a context's streams and kernel takes no device memory", before == after);
  second.reset();
  const auto exported = bench.gpu.export_range(bench.data(pointer) + 5000, 10000);
  std::printf("NOTE dmabuf export: %s\n",
              exported.has_value() ? "works" : exported.error().to_string().c_str());
  if (exported.has_value()) close(exported->fd);
  check_neighbours(bench);
  (void)bench.driver->memory_free(pointer);
}

void measure_calls(Bench& bench) {
  const Driver& driver = *bench.driver;
  const Pointer pointer = bench.alloc(1 << 20);
  (void)bench.gpu.find(bench.data(pointer), 1);
  cuda::Event event = nullptr;
  Stream stream = nullptr;
  must(driver.event_create(&event, cuda::kEventDisableTiming) == 0, "cuEventCreate");
  must(driver.stream_create(&stream, cuda::kStreamNonBlocking) == 0, "cuStreamCreate");
  unsigned flags = 0;
  int active = 0;
  Row("calls_ns")
      .put("find", nanoseconds_of([&] { (void)bench.gpu.find(bench.data(pointer) + 64, 64); }))
      .put("push_pop", nanoseconds_of([&] { const Current current(driver, bench.context); }))
      .put("context_state",
           nanoseconds_of([&] { (void)driver.primary_context_get_state(0, &flags, &active); }))
      .put("event_record", nanoseconds_of([&] { (void)driver.event_record(event, stream); }))
      .put("event_query", nanoseconds_of([&] { (void)driver.event_query(event); }))
      .put("stream_query", nanoseconds_of([&] { (void)driver.stream_query(stream); }));
  (void)driver.stream_destroy(stream);
  (void)driver.event_destroy(event);
  (void)bench.driver->memory_free(pointer);
}

// --- how to learn that a copy has ended ---

namespace {

struct HostFunctionEnd {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  uint64_t called_ns = 0;
  static void call(void* self) {
    auto* end = static_cast<HostFunctionEnd*>(self);
    end->called_ns = now_ns();
    const uint64_t one = 1;
    (void)!write(end->fd, &one, sizeof one);
  }
};

}  // namespace

void measure_latency(Bench& bench) {
  const Driver& driver = *bench.driver;
  const Slab slab(256 << 20);
  const Pointer pointer = bench.alloc(slab.length);
  const GpuTarget target = bench.gpu.find(bench.data(pointer), 1)->target;
  const auto mapping = bench.gpu.map_host(target, slab.data, slab.length, Gpu::Access::read);
  must(mapping.has_value(), "map_host");
  Stream stream = nullptr;
  cuda::Event event = nullptr;
  must(driver.stream_create(&stream, cuda::kStreamNonBlocking) == 0, "cuStreamCreate");
  must(driver.event_create(&event, cuda::kEventDisableTiming) == 0, "cuEventCreate");
  HostFunctionEnd end;
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  epoll_event watched{};
  watched.events = EPOLLIN;
  (void)epoll_ctl(poller, EPOLL_CTL_ADD, end.fd, &watched);
  for (const size_t length :
       {size_t{4} << 10, size_t{64} << 10, size_t{1} << 20, size_t{8} << 20, size_t{64} << 20}) {
    const int rounds = length < (8 << 20) ? 2000 : 100;
    std::vector<double> synchronized, queried, called, woken, looped, issue;
    for (int i = 0; i < rounds; ++i) {
      const auto since = [&](uint64_t from_ns) {
        return static_cast<double>(now_ns() - from_ns) / 1e3;
      };
      uint64_t from_ns = now_ns();
      must(driver.copy_to_device(pointer, slab.data, length, stream) == 0, "copy");
      issue.push_back(since(from_ns));
      (void)bench.driver->stream_synchronize(stream);
      synchronized.push_back(since(from_ns));

      from_ns = now_ns();
      (void)driver.copy_to_device(pointer, slab.data, length, stream);
      (void)driver.event_record(event, stream);
      while (driver.event_query(event) == cuda::kNotReady) {
      }
      queried.push_back(since(from_ns));

      from_ns = now_ns();
      (void)driver.copy_to_device(pointer, slab.data, length, stream);
      (void)bench.extra().launch_host_function(stream, &HostFunctionEnd::call, &end);
      (void)epoll_wait(poller, &watched, 1, -1);
      woken.push_back(since(from_ns));
      called.push_back(static_cast<double>(end.called_ns - from_ns) / 1e3);
      uint64_t count = 0;
      (void)!read(end.fd, &count, sizeof count);

      GpuCopy copy;
      copy.target = target;
      copy.pieces.push_back({slab.data, bench.data(pointer), length, (*mapping)->number(), 1});
      from_ns = now_ns();
      must(bench.run(copy), "copy");
      looped.push_back(since(from_ns));
    }
    Row("latency_us")
        .put("length_bytes", static_cast<double>(length))
        .put("issue", median(issue))
        .put("synchronize", median(synchronized))
        .put("event_query_spin", median(queried))
        .put("event_query_spin_p99", percentile(queried, 0.99))
        .put("host_function", median(called))
        .put("host_function_epoll", median(woken))
        .put("host_function_epoll_p99", percentile(woken, 0.99))
        .put("gd2fs_loop", median(looped))
        .put("gd2fs_loop_p99", percentile(looped, 0.99));
  }
  close(poller);
  close(end.fd);
  (void)driver.stream_destroy(stream);
  (void)driver.event_destroy(event);
  (void)bench.driver->memory_free(pointer);
}

// --- registration ---

namespace {

void measure_one(Bench& bench, const std::string& name, void* memory, size_t length, unsigned flags,
                 double touch_ms) {
  uint64_t from_ns = now_ns();
  const Error error = bench.driver->host_register(memory, length, flags);
  const double register_ms = static_cast<double>(now_ns() - from_ns) / 1e6;
  if (error != 0) {
    std::printf("NOTE register %s: %s\n", name.c_str(),
                bench.driver->failure(error, "cuMemHostRegister").to_string().c_str());
    return;
  }
  from_ns = now_ns();
  (void)bench.driver->host_unregister(memory);
  Row("registration")
      .put("memory", name)
      .put("length_mib", static_cast<double>(length >> 20))
      .put("touch_ms", touch_ms)
      .put("register_ms", register_ms)
      .put("unregister_ms", static_cast<double>(now_ns() - from_ns) / 1e6);
}

void measure_anonymous(Bench& bench, const char* name, size_t length, int map_flags, int advice) {
  void* memory =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | map_flags, -1, 0);
  if (memory == MAP_FAILED) {
    std::printf("NOTE %s: not to be had\n", name);
    return;
  }
  if (advice != 0) (void)madvise(memory, length, advice);
  const uint64_t from_ns = now_ns();
  std::memset(memory, 1, length);
  measure_one(bench, name, memory, length, 3, static_cast<double>(now_ns() - from_ns) / 1e6);
  munmap(memory, length);
}

}  // namespace

void measure_registration(Bench& bench) {
  for (int round = 0; round < 2; ++round) {
    const Slab slab(size_t{1} << 30);
    measure_one(bench, "sealed memfd, read-only", slab.data, slab.length, 3 | 8, 0);
    measure_one(bench, "sealed memfd, read-only, again", slab.data, slab.length, 3 | 8, 0);
    measure_one(bench, "sealed memfd, read-only, without the flag", slab.data, slab.length, 3, 0);
  }
  for (const size_t length : {size_t{32} << 20, size_t{256} << 20}) {
    measure_anonymous(bench, "anonymous, 4 KiB pages", length, 0, MADV_NOHUGEPAGE);
    measure_anonymous(bench, "anonymous, transparent huge pages", length, 0, MADV_HUGEPAGE);
    measure_anonymous(bench, "anonymous, hugetlb", length, MAP_HUGETLB, 0);
  }
}

}  // namespace gd2fs::bench
