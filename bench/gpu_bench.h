// What the parts of gpu_bench share: the driver's functions that only a bench needs, device memory,
// and rows of JSON.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "gpu/cuda_gpu.h"

namespace gd2fs::bench {

using cuda::Current;
using cuda::Driver;
using cuda::Error;
using cuda::Pointer;
using cuda::Stream;

inline uint64_t now_ns() {
  return RealClock().now_ns();
}

// Prints what failed and ends the program: a bench has nobody to report to.
void must(bool ok, const std::string& what);
void must(const Status& status, const char* what);

struct Extra {
  explicit Extra(const Driver& driver);
  Error (*memory_info)(size_t* free, size_t* total) = nullptr;
  Error (*launch_host_function)(Stream stream, void (*function)(void*), void* argument) = nullptr;
};

// A row: {"row": NAME, "KEY": number, ...}.
class Row {
 public:
  explicit Row(const std::string& name) { text_ = "{\"row\": \"" + name + "\""; }
  Row& put(const char* key, double value) {
    char number[64];
    std::snprintf(number, sizeof number, ", \"%s\": %.6g", key, value);
    text_ += number;
    return *this;
  }
  Row& put(const char* key, const std::string& value) {
    text_.append(", \"").append(key).append("\": \"").append(value).append("\"");
    return *this;
  }
  ~Row() {
    std::printf("%s}\n", text_.c_str());
    (void)std::fflush(stdout);
  }

 private:
  std::string text_;
};

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}
inline double percentile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(static_cast<double>(values.size()) * share))];
}

// Everything a measurement needs, on device 0.
struct Bench {
  Bench();
  Extra& extra() { return *extra_; }
  Pointer alloc(size_t length);
  std::byte* data(Pointer pointer) const {
    return reinterpret_cast<std::byte*>(pointer);  // NOLINT(performance-no-int-to-ptr)
  }
  // busy: the loop never sleeps.
  Status run(GpuCopy& copy, bool busy = false);

  RealClock clock;
  Loop loop{clock, Loop::Waits::epoll};
  const Driver* driver = nullptr;
  cuda::Context context = nullptr;  // as an application holds it
  CudaGpu gpu{loop};
  std::unique_ptr<Extra> extra_;
};

// A sealed memfd as a server's arena is, mapped read-only; random bytes.
struct Slab {
  explicit Slab(size_t length_bytes);
  ~Slab();
  size_t length;
  std::byte* writable = nullptr;
  std::byte* data = nullptr;  // the client's read-only view
};

void measure_calls(Bench& bench);         // what single driver calls cost
void measure_latency(Bench& bench);       // ways to learn that a copy has ended
void measure_registration(Bench& bench);  // of arenas and of the ring
void measure_border(Bench& bench);        // kernel against copy engine
void measure_bulk(Bench& bench);          // CudaGpu against plain cuMemcpyAsync
void check_facts(Bench& bench);           // what the code relies on

}  // namespace gd2fs::bench
