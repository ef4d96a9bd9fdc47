// The bench's view of the C ABI: one ctx, one registered buffer, operations that are waited for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <xfer/gd2fs.h>

#include "base/bytes.h"
#include "base/status.h"
#include "gpu/device_memory.h"

namespace gd2fs {

// Pre-faulted memory, 4 KiB aligned, in huge pages where the kernel gives them.
class BenchBuffer {
 public:
  explicit BenchBuffer(uint64_t length_bytes);
  ~BenchBuffer();
  BenchBuffer(const BenchBuffer&) = delete;
  BenchBuffer& operator=(const BenchBuffer&) = delete;
  Bytes bytes() { return {data_, length_bytes_}; }
  Bytes first(uint64_t length_bytes) { return {data_, length_bytes}; }

 private:
  std::byte* data_ = nullptr;
  uint64_t length_bytes_ = 0;
};

class BenchClient {
 public:
  static Result<BenchClient> connect(const std::string& address, const std::string& cluster,
                                     uint32_t lanes);
  BenchClient(BenchClient&& other) noexcept;
  BenchClient& operator=(BenchClient&&) = delete;
  ~BenchClient();

  // From now on the bytes lie in a GPU's memory: a buffer stands for device memory of its length,
  // which is given its bytes before a run and gives them back after it, outside of the time taken.
  void use_device(int device) { device_ = device; }
  Status use(Bytes buffer);  // registers it; all transfers lie inside
  struct Transfer {
    bool write = false;
    std::string path;
    uint64_t offset = 0;
    Bytes memory;
  };
  // One after another with `depth` in flight; microseconds of each.
  Result<std::vector<double>> run(const std::vector<Transfer>& transfers, uint32_t depth);
  Result<double> run_one(const Transfer& transfer);  // seconds
  Status create(const std::string& path, uint64_t size_bytes);
  Status unlink(const std::string& path);
  Status fsync(const std::string& path);
  Status mkdir(const std::string& path);

 private:
  BenchClient() = default;
  Status submit(const Transfer& transfer, void* id);
  Status fill_device(const std::vector<Transfer>& transfers);
  Status read_device(const std::vector<Transfer>& transfers);
  Status finish_name_op(int accepted, const std::string& what);
  xfer_gd2fs_ctx* ctx_ = nullptr;
  xfer_gd2fs_iomem* iomem_ = nullptr;
  int device_ = -1;
  std::unique_ptr<DeviceMemory> device_memory_;
  Bytes buffer_;  // what the device's memory stands for
};

}  // namespace gd2fs
