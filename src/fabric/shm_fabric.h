// ShmFabric: TCP, and shared memory between processes of one host. One per loop; what programs use.
//
// listen() opens the TCP address and, with options.same_host_directory, the unix socket beside it.
// connect() says hello over TCP; a server on this host then names its directory, and the session is
// made there. Where that fails the session is a TCP one, said once in the log; with
// SameHost::required it fails instead. Sessions must not outlive it; the loop outlives the worker.
#pragma once

#include "fabric/huge_page_taker.h"
#include "fabric/tcp_fabric.h"
#include "loop/slice_pool.h"

namespace gd2fs {

class ShmFabric final : public Fabric {
 public:
  // Helpers that copy, at most, when 0 are asked for: a process has other threads too.
  static constexpr uint32_t kCopyHelpersMax = 3;
  // Of a server, for what clients stage. GPUs fill the staging memory at 50 GB/s, of which one
  // thread takes 5 to 8. With two cores it helps only where nobody waits for a drive: the other
  // core is the client's.
  static constexpr uint32_t kStagedHelpersMax = 8;
  // With many cores these look for work for so long before they sleep: between two of the pieces
  // that a GPU fills, and from the server's question to the first of them.
  static constexpr uint64_t kStagedLookNs = 200 * kUs;
  static constexpr uint32_t kManyCores = 16;

  ShmFabric(Loop& loop, Worker& worker, const TcpOptions& options = {}, uint32_t copy_threads = 0);
  ~ShmFabric() override;

  Result<std::unique_ptr<Listener>> listen(const std::string& address, ListenOptions options,
                                           OnSession on_session) override;
  Task<Result<std::unique_ptr<Session>>> connect(ConnectOptions options) override;

  // --- for a fabric that stands on this one ---
  // The unix socket of options->same_host_directory; null, said once, and no directory there any
  // more if it cannot be had or was not asked for.
  std::unique_ptr<Listener> listen_at_door(ListenOptions* options, OnSession on_session);
  // To a server that has named its directory.
  Task<Result<std::unique_ptr<Session>>> connect_here(ConnectOptions options, std::string directory,
                                                      uint64_t deadline_ns);
  void say_why_not(const std::string& address, const Status& why);
  const std::string& boot_id() const { return boot_id_; }

 private:
  Loop& loop_;
  Worker& worker_;
  const TcpOptions options_;
  TcpFabric tcp_;
  SlicePool copies_;  // of what was granted to us, or is staged by us
  SlicePool staged_;  // of what was staged for us
  HugePageTaker staging_pages_;
  const std::string boot_id_;
  bool said_why_not_ = false;
};

// The two listeners of one address; the second may be null.
std::unique_ptr<Listener> both_listeners(std::unique_ptr<Listener> network,
                                         std::unique_ptr<Listener> door);

}  // namespace gd2fs
