// gpu_bench: the kernel against the copy engine by length of piece, and whole transfers.
#include "base/random.h"
#include "bench/gpu_bench.h"
#include "gpu/copy_kernel_ptx.h"
#include "gpu/cuda_target.h"

namespace gd2fs::bench {
namespace {

struct Ways {
  explicit Ways(Bench& owner) : bench(owner) {
    must(bench.driver->module_load_data(&module, cuda::kCopyKernelPtx) == 0, "cuModuleLoadData");
    must(bench.driver->module_get_function(&kernel, module, cuda::kCopyKernelName) == 0,
         "function");
    must(bench.driver->stream_create(&stream, cuda::kStreamNonBlocking) == 0, "cuStreamCreate");
  }
  ~Ways() {
    (void)bench.driver->stream_destroy(stream);
    (void)bench.driver->module_unload(module);
  }
  Ways(const Ways&) = delete;
  Ways& operator=(const Ways&) = delete;

  double by_engine(const std::vector<GpuPiece>& pieces, bool to_gpu) {
    const uint64_t from_ns = now_ns();
    for (const GpuPiece& piece : pieces) {
      const auto gpu = reinterpret_cast<Pointer>(piece.gpu);
      const Error error =
          to_gpu ? bench.driver->copy_to_device(gpu, piece.host, piece.length_bytes, stream)
                 : bench.driver->copy_to_host(piece.host, gpu, piece.length_bytes, stream);
      must(error == 0, "cuMemcpyAsync");
    }
    must(bench.driver->stream_synchronize(stream) == 0, "synchronize");
    return static_cast<double>(now_ns() - from_ns);
  }

  // `tiles` is registered memory with room for all.
  double by_kernel(const std::vector<GpuPiece>& pieces, bool to_gpu, cuda::Tile* tiles,
                   unsigned blocks, unsigned threads) {
    const uint64_t from_ns = now_ns();
    uint32_t count = 0;
    for (GpuPiece piece : pieces) {
      while (piece.length_bytes > 0) {
        const uint64_t take = std::min(piece.length_bytes, cuda::kTileBytes);
        const auto host = reinterpret_cast<uint64_t>(piece.host);
        const auto gpu = reinterpret_cast<uint64_t>(piece.gpu);
        tiles[count++] = {to_gpu ? gpu : host, to_gpu ? host : gpu, take};
        piece.host += take;
        piece.gpu += take;
        piece.length_bytes -= take;
      }
    }
    auto list = reinterpret_cast<Pointer>(tiles);
    void* parameters[] = {&list, &count};
    must(bench.driver->launch_kernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream, parameters,
                                     nullptr) == 0,
         "cuLaunchKernel");
    must(bench.driver->stream_synchronize(stream) == 0, "synchronize");
    return static_cast<double>(now_ns() - from_ns);
  }

  Bench& bench;
  cuda::Module module = nullptr;
  cuda::Function kernel = nullptr;
  Stream stream = nullptr;
};

// Pieces of one length, in random order on the host side, one after another on the GPU's.
std::vector<GpuPiece> scattered(std::byte* host, std::byte* gpu, uint64_t length, uint64_t total,
                                uint64_t skew) {
  const uint64_t stride = length + (length < 4096 ? 512 : 4096);
  std::vector<uint64_t> order(total / stride - 1);
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  Random random(3);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  if (order.size() > 20'000) order.resize(20'000);
  std::vector<GpuPiece> pieces;
  pieces.reserve(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    pieces.push_back({host + order[i] * stride + skew, gpu + i * stride, length, 1, 1});
  }
  return pieces;
}

template <class Measure>
double best_of(int rounds, Measure measure) {
  std::vector<double> times;
  times.reserve(static_cast<size_t>(rounds));
  for (int i = 0; i < rounds; ++i) times.push_back(measure());
  return median(times);
}

}  // namespace

void measure_border(Bench& bench) {
  constexpr uint64_t kTotal = 256 << 20;
  const Slab slab(kTotal);
  const Pointer pointer = bench.alloc(kTotal);
  std::byte* gpu = bench.data(pointer);
  const GpuTarget target = bench.gpu.find(gpu, 1)->target;
  const auto view = bench.gpu.map_host(target, slab.data, slab.length, Gpu::Access::read);
  const auto own = bench.gpu.map_host(target, slab.writable, slab.length, Gpu::Access::read_write);
  const size_t list_bytes = 64 << 20;
  void* list =
      mmap(nullptr, list_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto lists = bench.gpu.map_host(target, list, list_bytes, Gpu::Access::read_write);
  must(view.has_value() && own.has_value() && lists.has_value(), "map_host");
  auto* tiles = static_cast<cuda::Tile*>(list);
  Ways ways(bench);
  for (const bool to_gpu : {true, false}) {
    std::byte* host = to_gpu ? slab.data : slab.writable;
    for (const uint64_t length : {512ull, 2048ull, 4096ull, 16384ull, 65536ull, 131072ull,
                                  262144ull, 524288ull, 1048576ull, 2097152ull, 4194304ull}) {
      const auto pieces = scattered(host, gpu, length, kTotal, 0);
      const double bytes = static_cast<double>(length * pieces.size());
      Row row("border_gbps");
      row.put("direction", to_gpu ? "to_gpu" : "from_gpu")
          .put("piece_bytes", static_cast<double>(length))
          .put("pieces", static_cast<double>(pieces.size()));
      row.put("engine", bytes / best_of(5, [&] { return ways.by_engine(pieces, to_gpu); }));
      for (const unsigned blocks : {8u, 16u}) {
        for (const unsigned threads : {256u, 512u}) {
          const std::string key =
              "kernel_" + std::to_string(blocks) + "x" + std::to_string(threads);
          row.put(key.c_str(), bytes / best_of(5, [&] {
                                 return ways.by_kernel(pieces, to_gpu, tiles, blocks, threads);
                               }));
        }
      }
    }
    for (const uint64_t skew : {1ull, 4ull, 8ull}) {
      const auto pieces = scattered(host, gpu, 16384, kTotal, skew);
      const double bytes = static_cast<double>(16384 * pieces.size());
      Row("misaligned_gbps")
          .put("direction", to_gpu ? "to_gpu" : "from_gpu")
          .put("skew_bytes", static_cast<double>(skew))
          .put("kernel_16x256",
               bytes / best_of(5, [&] { return ways.by_kernel(pieces, to_gpu, tiles, 16, 256); }))
          .put("kernel_16x512",
               bytes / best_of(5, [&] { return ways.by_kernel(pieces, to_gpu, tiles, 16, 512); }));
    }
  }
  (void)bench.driver->memory_free(pointer);
}

void measure_bulk(Bench& bench) {
  constexpr size_t kMost = size_t{1} << 30;
  const Slab slab(kMost);
  const Pointer pointer = bench.alloc(kMost);
  const GpuTarget target = bench.gpu.find(bench.data(pointer), 1)->target;
  const auto view = bench.gpu.map_host(target, slab.data, kMost, Gpu::Access::read);
  const auto own = bench.gpu.map_host(target, slab.writable, kMost, Gpu::Access::read_write);
  must(view.has_value() && own.has_value(), "map_host");
  Ways ways(bench);
  for (const size_t length : {size_t{64} << 20, size_t{256} << 20, kMost}) {
    for (const bool to_gpu : {true, false}) {
      std::byte* host = to_gpu ? slab.data : slab.writable;
      const uint32_t mapping = (to_gpu ? *view : *own)->number();
      const std::vector<GpuPiece> whole{{host, bench.data(pointer), length, mapping, 1}};
      std::vector<GpuPiece> chunks;  // as a file's chunks of 4 MiB lie in a slab: neighbours
      for (size_t at = 0; at < length; at += 4 << 20) {
        chunks.push_back({host + at, bench.data(pointer) + at, 4 << 20, mapping, 1});
      }
      const auto ours_once = [&](bool busy) {
        GpuCopy copy;
        copy.direction = to_gpu ? GpuCopy::Direction::to_gpu : GpuCopy::Direction::from_gpu;
        copy.target = target;
        copy.pieces = chunks;
        const uint64_t from_ns = now_ns();
        must(bench.run(copy, busy), "copy");
        return static_cast<double>(now_ns() - from_ns);
      };
      // By turns, so that what disturbs the machine disturbs all alike.
      std::vector<double> plains, sleeping, spinning;
      for (int i = 0; i < 15; ++i) {
        plains.push_back(ways.by_engine(whole, to_gpu));
        sleeping.push_back(ours_once(false));
        spinning.push_back(ours_once(true));
      }
      const double plain = median(plains);
      const double ours = median(sleeping);
      Row("bulk")
          .put("direction", to_gpu ? "to_gpu" : "from_gpu")
          .put("length_mib", static_cast<double>(length >> 20))
          .put("plain_ms", plain / 1e6)
          .put("gd2fs_ms", ours / 1e6)
          .put("gd2fs_ms_p90", percentile(sleeping, 0.9) / 1e6)
          .put("gd2fs_busy_ms", median(spinning) / 1e6)
          .put("plain_gbps", static_cast<double>(length) / plain)
          .put("gd2fs_gbps", static_cast<double>(length) / ours)
          .put("ratio", plain / ours);
    }
  }
  std::vector<std::byte> seen(64 << 20);
  must(bench.driver->copy_to_host_now(seen.data(), pointer, seen.size()) == 0, "copy back");
  std::printf("%s the bytes are those of the slab\n",
              std::memcmp(seen.data(), slab.writable, seen.size()) == 0 ? "PASS" : "FAIL");
  (void)bench.driver->memory_free(pointer);
}

}  // namespace gd2fs::bench
