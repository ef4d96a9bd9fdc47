#include "cli/bench/bench_client.h"

#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "base/check.h"
#include "cli/bench/samples.h"

namespace gd2fs {
namespace {

Status status_of(const xfer_gd2fs_completion& done, const std::string& what) {
  if (done.status == 0) return {};
  return Status::from_errno(static_cast<int>(XFER_GD2FS_STATUS_CODE(done.status)), what);
}

}  // namespace

BenchBuffer::BenchBuffer(uint64_t length_bytes) : length_bytes_(align_up(length_bytes, 2 * kMiB)) {
  void* memory =
      mmap(nullptr, length_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  madvise(memory, length_bytes_, MADV_HUGEPAGE);
  std::memset(memory, 0xA5, length_bytes_);
  data_ = static_cast<std::byte*>(memory);
}

BenchBuffer::~BenchBuffer() {
  munmap(data_, length_bytes_);
}

Result<BenchClient> BenchClient::connect(const std::string& address, const std::string& cluster,
                                         uint32_t lanes) {
  xfer_gd2fs_options options = {};
  options.cp_address = address.c_str();
  options.dp_address = "tcp://127.0.0.1";
  options.cluster_id = cluster.c_str();
  options.conn_stream_count = lanes;
  BenchClient client;
  client.ctx_ = xfer_gd2fs_connect(&options);
  if (client.ctx_ == nullptr) return fail(StatusCode::unavailable, xfer_gd2fs_last_error());
  return client;
}

BenchClient::BenchClient(BenchClient&& other) noexcept
    : ctx_(std::exchange(other.ctx_, nullptr)),
      iomem_(std::exchange(other.iomem_, nullptr)),
      device_(other.device_),
      device_memory_(std::move(other.device_memory_)),
      buffer_(other.buffer_) {}

BenchClient::~BenchClient() {
  if (ctx_ != nullptr) xfer_gd2fs_close(ctx_);  // then nothing touches the device's memory
}

Status BenchClient::use(Bytes buffer) {
  if (iomem_ != nullptr) xfer_gd2fs_dereg_iomem(ctx_, iomem_);
  buffer_ = buffer;
  std::byte* data = buffer.data();
  if (device_ >= 0) {
    GD2FS_ASSIGN(DeviceMemory memory, DeviceMemory::allocate(device_, buffer.size()));
    device_memory_ = std::make_unique<DeviceMemory>(std::move(memory));
    data = device_memory_->data();
  }
  iomem_ = xfer_gd2fs_reg_iomem(ctx_, data, buffer.size(), nullptr);
  if (iomem_ == nullptr) return {StatusCode::invalid, xfer_gd2fs_last_error()};
  return {};
}

Status BenchClient::fill_device(const std::vector<Transfer>& transfers) {
  if (device_memory_ == nullptr) return {};
  for (const Transfer& transfer : transfers) {
    const auto offset = static_cast<uint64_t>(transfer.memory.data() - buffer_.data());
    GD2FS_TRY(device_memory_->upload(offset, transfer.memory));
  }
  return {};
}

Status BenchClient::read_device(const std::vector<Transfer>& transfers) {
  if (device_memory_ == nullptr) return {};
  for (const Transfer& transfer : transfers) {
    if (transfer.write) continue;
    const auto offset = static_cast<uint64_t>(transfer.memory.data() - buffer_.data());
    GD2FS_TRY(device_memory_->download(offset, transfer.memory));
  }
  return {};
}

Status BenchClient::submit(const Transfer& transfer, void* id) {
  std::byte* data = transfer.memory.data();
  if (device_memory_ != nullptr) data = device_memory_->data() + (data - buffer_.data());
  const xfer_gd2fs_sge sge = {data, transfer.memory.size(), iomem_};
  const auto call = transfer.write ? xfer_gd2fs_pwritev : xfer_gd2fs_preadv;
  const ssize_t accepted = call(ctx_, id, transfer.path.c_str(), transfer.offset, &sge, 1, 0);
  if (accepted < 0) return Status::from_errno(static_cast<int>(-accepted), transfer.path);
  return {};
}

Result<std::vector<double>> BenchClient::run(const std::vector<Transfer>& transfers,
                                             uint32_t depth) {
  GD2FS_TRY(fill_device(transfers));
  std::vector<double> began(transfers.size());
  std::vector<double> times;
  times.reserve(transfers.size());
  size_t sent = 0;
  size_t in_flight = 0;
  Status first_error;
  xfer_gd2fs_completion done[64];
  while (in_flight > 0 || (sent < transfers.size() && first_error.ok())) {
    while (sent < transfers.size() && in_flight < depth && first_error.ok()) {
      began[sent] = seconds_now();
      // The index travels as the id; +1 so that no id is NULL.
      // NOLINTNEXTLINE(performance-no-int-to-ptr)
      first_error = submit(transfers[sent], reinterpret_cast<void*>(sent + 1));
      if (!first_error.ok()) break;
      ++sent;
      ++in_flight;
    }
    if (in_flight == 0) break;
    const int reaped = xfer_gd2fs_wait(ctx_, done, 64, -1);
    if (reaped < 0) return fail(Status::from_errno(-reaped, "wait"));
    const double now = seconds_now();
    for (int i = 0; i < reaped; ++i) {
      const size_t index = reinterpret_cast<uintptr_t>(done[i].id) - 1;
      times.push_back((now - began[index]) * 1e6);
      --in_flight;
      const Transfer& transfer = transfers[index];
      if (Status status = status_of(done[i], transfer.path); !status.ok() && first_error.ok()) {
        first_error = status;
      } else if (status.ok() && done[i].value != transfer.memory.size() && first_error.ok()) {
        first_error = Status(StatusCode::corrupt, transfer.path + ": short transfer");
      }
    }
  }
  if (!first_error.ok()) return fail(first_error);
  GD2FS_TRY(read_device(transfers));
  return times;
}

Result<double> BenchClient::run_one(const Transfer& transfer) {
  GD2FS_ASSIGN(const std::vector<double> times, run({transfer}, 1));
  return times.front() * 1e-6;
}

Status BenchClient::finish_name_op(int accepted, const std::string& what) {
  if (accepted < 0) return Status::from_errno(-accepted, what);
  xfer_gd2fs_completion done = {};
  const int reaped = xfer_gd2fs_wait(ctx_, &done, 1, -1);
  if (reaped < 0) return Status::from_errno(-reaped, "wait");
  return status_of(done, what);
}

Status BenchClient::create(const std::string& path, uint64_t size_bytes) {
  return finish_name_op(xfer_gd2fs_create(ctx_, this, path.c_str(), 0, size_bytes), path);
}

Status BenchClient::unlink(const std::string& path) {
  return finish_name_op(xfer_gd2fs_unlink(ctx_, this, path.c_str()), path);
}

Status BenchClient::fsync(const std::string& path) {
  return finish_name_op(xfer_gd2fs_fsync(ctx_, this, path.c_str()), path);
}

Status BenchClient::mkdir(const std::string& path) {
  return finish_name_op(xfer_gd2fs_mkdir(ctx_, this, path.c_str()), path);
}

}  // namespace gd2fs
