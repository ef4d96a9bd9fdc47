// rdma_cost: reads of a server's slab over RDMA, for counting instructions (bench/rdma_cost.py runs
// it under callgrind, and says what is counted).
//
//   GD2FS_VERBS_LIBRARY=build/lib/fake_verbs/libibverbs.so.1 rdma_cost BYTES DEPTH COUNT
//
// A controller, a server and a client as programs have them, in one process, over the fake NICs.
// COUNT reads of BYTES each, DEPTH at once, all hits.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <sys/stat.h>

#include "cli/controller_process.h"
#include "cli/daemon.h"
#include "cli/server_process.h"
#include "client/ctx.h"
#include "fabric/test_directory.h"
#include "wire/token.h"

namespace gd2fs {
namespace {

constexpr uint64_t kFileBytes = 16 * kMiB;
constexpr uint64_t kSlabBytes = 128 * kMiB;

template <class T>
T taken(Result<T> result) {
  if (result.has_value()) return std::move(*result);
  std::fprintf(stderr, "rdma_cost: %s\n", result.error().to_string().c_str());
  std::exit(1);  // NOLINT(concurrency-mt-unsafe): this program ends here
}

class Deployment {
 public:
  Deployment() {
    cli::Config config;
    config.data = directory_.path() + "/data";
    config.listen = "127.0.0.1:0";
    config.slab_bytes = kSlabBytes;
    config.server_shm = false;
    config.store_data_file_bytes = 256 * kMiB;
    data_.emplace(taken(cli::DataDir::open(config.data, 77)));
    const std::string secret = taken(cli::deployment_key(config, *data_));
    controller_ = taken(cli::ControllerProcess::start(clock_, config, *data_, secret, Random(1)));
    const Cluster cluster = taken(controller_->create_cluster("c"));
    cli::ServerPlace place;
    place.deployment_id = data_->deployment_id();
    place.secret = secret;
    place.controllers = {controller_->address()};
    place.listen = {"rdma://127.0.0.2:0"};
    place.drives = {data_->drive_path()};
    server_ = taken(cli::ServerProcess::start(clock_, config, place, Random(2)));
    client::ClientOptions options;
    options.controllers = {controller_->address()};
    options.locals.emplace_back();
    options.locals.back().transport = client::Transport::rdma;
    options.cluster = "c";
    options.key = taken(key_from_token(cluster.token));
    options.timeout_ns = 600 * kSecond;
    options.require = client::Require::rdma;
    options.log_level = LogLevel::warn;
    ctx_ = taken(client::Ctx::open(std::move(options)));
    iomem_ = taken(ctx_->add_iomem(memory_.data(), memory_.size()));
  }
  ~Deployment() {
    ctx_->cancel_all();
    ctx_->stop();
    ctx_.reset();
    (void)server_->stop();
    (void)controller_->stop();
  }
  Deployment(const Deployment&) = delete;
  Deployment& operator=(const Deployment&) = delete;

  void submit(uint16_t opcode, uint64_t offset, uint64_t length_bytes) {
    const xfer_gd2fs_sge sge{
        memory_.data() + offset, length_bytes,
        reinterpret_cast<xfer_gd2fs_iomem*>(iomem_)};  // NOLINT(performance-no-int-to-ptr)
    xfer_gd2fs_op op{};
    op.opcode = opcode;
    op.filepath = "/f";
    op.off = offset;
    op.sges = &sge;
    op.nsge = 1;
    taken(ctx_->submit(0, op));
  }
  void wait_one() {
    xfer_gd2fs_completion done{};
    const size_t reaped = taken(ctx_->wait(0, {&done, 1}, -1));
    if (reaped == 1 && done.status == 0) return;
    std::fprintf(stderr, "rdma_cost: a request failed, status %x\n", done.status);
    std::exit(1);  // NOLINT(concurrency-mt-unsafe): this program ends here
  }
  // The file is written until every arena has been in use and is registered, and stays in the slab.
  void warm_up() {
    for (uint64_t written = 0; written < 3 * kSlabBytes; written += kFileBytes) {
      submit(XFER_GD2FS_OP_WRITE, 0, kFileBytes);
      wait_one();
    }
  }
  // Where rdma_cost.py begins to count.
  [[gnu::noinline]] void read(uint64_t length_bytes, uint32_t depth, uint32_t count) {
    uint32_t reaped = 0;
    for (uint32_t i = 0; i < count; ++i) {
      if (i - reaped == depth) {
        wait_one();
        ++reaped;
      }
      submit(XFER_GD2FS_OP_READ, i * length_bytes % kFileBytes, length_bytes);
    }
    while (reaped++ < count) wait_one();
  }
  double metric(std::string_view wanted) {
    for (const auto& [name, value] : server_->metrics()) {
      if (name == wanted) return value;
    }
    return -1;
  }

 private:
  TestDirectory directory_;
  RealClock clock_;
  std::optional<cli::DataDir> data_;
  std::unique_ptr<cli::ControllerProcess> controller_;
  std::unique_ptr<cli::ServerProcess> server_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(kFileBytes);
  std::unique_ptr<client::Ctx> ctx_;
  client::IomemHandle iomem_ = 0;
};

int run(uint64_t length_bytes, uint32_t depth, uint32_t count) {
  set_log_level(LogLevel::warn);
  Deployment deployment;
  deployment.warm_up();
  deployment.read(length_bytes, depth, 2 * depth + 16);
  const double before = deployment.metric("gd2fs_rdma_written_bytes_total");
  deployment.read(length_bytes, depth, count);
  const double written = deployment.metric("gd2fs_rdma_written_bytes_total") - before;
  std::printf("%.0f bytes by RDMA WRITE\n", written);
  return written == static_cast<double>(length_bytes) * count ? 0 : 1;
}

}  // namespace
}  // namespace gd2fs

int main(int argc, char** argv) {
  const uint64_t length_bytes = argc > 3 ? std::strtoull(argv[1], nullptr, 10) : 0;
  const auto depth = static_cast<uint32_t>(argc > 3 ? std::strtoul(argv[2], nullptr, 10) : 0);
  const auto count = static_cast<uint32_t>(argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 0);
  if (length_bytes == 0 || length_bytes > gd2fs::kFileBytes ||
      gd2fs::kFileBytes % length_bytes != 0 || depth == 0 || count == 0) {
    std::fprintf(stderr, "usage: rdma_cost BYTES DEPTH COUNT (BYTES: a part of 16 MiB)\n");
    return 2;
  }
  return gd2fs::run(length_bytes, depth, count);
}
