#include "verbs/try_read.h"

#include <chrono>
#include <thread>

#include "verbs/queue_pair.h"

namespace gd2fs::verbs {
namespace {

// Two ends of one NIC, and host memory to read to and from.
struct Mirror {
  uint64_t words[2] = {};
  std::unique_ptr<MemoryRegion> host;
  std::unique_ptr<CompletionChannel> channel;
  std::unique_ptr<CompletionQueue> completions;
  std::unique_ptr<QueuePair> asks;
  std::unique_ptr<QueuePair> answers;

  Status open(const std::shared_ptr<const Nic>& nic) {
    GD2FS_ASSIGN(host, nic->register_memory(words, sizeof words, Use::data_for_peers));
    GD2FS_ASSIGN(channel, CompletionChannel::make(nic));
    GD2FS_ASSIGN(completions, CompletionQueue::make(nic, 8, *channel));
    GD2FS_ASSIGN(asks, QueuePair::make(nic, *completions, {2, 1}, 1));
    GD2FS_ASSIGN(answers, QueuePair::make(nic, *completions, {1, 1}, 2));
    GD2FS_TRY(answers->connect(asks->address()));
    return asks->connect(answers->address());
  }

  // IBV_WC_GENERAL_ERR: it was not even posted, or nothing came back in time.
  ibv_wc_status read(const void* address, uint32_t key) {
    ibv_sge local{reinterpret_cast<uintptr_t>(words), sizeof words[0], host->local_key()};
    ibv_send_wr request{};
    request.sg_list = &local;
    request.num_sge = 1;
    request.opcode = IBV_WR_RDMA_READ;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(address);
    request.wr.rdma.rkey = key;
    ibv_send_wr* bad = nullptr;
    if (ibv_post_send(asks->get(), &request, &bad) != 0) return IBV_WC_GENERAL_ERR;
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::milliseconds(kTryMaxMs);
    for (ibv_wc entry{}; Clock::now() < end;) {
      if (ibv_poll_cq(completions->get(), 1, &entry) == 1) return entry.status;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return IBV_WC_GENERAL_ERR;
  }
};

}  // namespace

Reach try_read(const std::shared_ptr<const Nic>& nic, const MemoryRegion& region,
               const void* address) {
  Mirror mirror;
  if (!mirror.open(nic).ok()) return Reach::unsure;
  if (mirror.read(&mirror.words[1], mirror.host->remote_key()) != IBV_WC_SUCCESS) {
    return Reach::unsure;
  }
  if (mirror.read(address, region.remote_key()) == IBV_WC_SUCCESS) return Reach::reached;
  // The port may have gone down in between.
  return nic->find_again().has_value() ? Reach::refused : Reach::unsure;
}

}  // namespace gd2fs::verbs
