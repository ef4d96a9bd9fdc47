// Client: the whole client of one cluster on one loop, without threads: connections, layout cache,
// and the operations in flight. libgd2fs puts a LoopThread and the C interface around it (ctx.h);
// the simulator drives it directly.
//
//   Client client(loop, fabric, random, options);
//   client.connect(connected);            // learns the cluster's servers
//   client.submit(request);               // request.done completes
//   client.cancel(request, why, origin);  // request.done completes soon
//
// The loop, the fabric and the requests outlive it; destroy it when active() is 0.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "client/cluster_map.h"
#include "client/layout.h"
#include "client/operation.h"
#include "client/options.h"
#include "client/peer.h"
#include "client/resolver.h"
#include "client/sizes.h"
#include "client/staging.h"
#include "gpu/no_gpu.h"
#include "wire/body_form.h"

namespace gd2fs::client {

class Client final : public Peer::Watcher {
 public:
  static constexpr uint64_t kMapPauseNs = 100 * kMs;

  // `gpu` outlives it too.
  Client(Loop& loop, Fabric& fabric, Random random, ClientOptions options,
         Gpu& gpu = NoGpu::instance());
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Completes when the cluster map is known, or with why not: denied, unavailable, timed_out.
  void connect(Completion& connected, uint64_t timeout_ns);
  void submit(Request& request);
  void cancel(Request& request, const Status& why, Origin origin);
  template <class Which>
  void cancel_if(Which which, const Status& why, Origin origin) {
    std::vector<Request*> chosen;
    for (Operation* op = active_.front(); op != nullptr; op = active_.next(*op)) {
      if (which(op->request())) chosen.push_back(&op->request());
    }
    for (Request* request : chosen) cancel(*request, why, origin);
  }
  size_t active() const { return active_count_; }

  // --- for operations ---
  Loop& loop() { return loop_; }
  Peer& controller() { return *controller_; }
  // nullptr while the map does not name one; a new map has been asked for then.
  Peer* primary_of(uint32_t group);
  const ClusterMap* map() const { return map_ ? &*map_ : nullptr; }
  // Notes a version that a controller mentioned.
  void saw_map_version(uint64_t version);
  void refresh_map();
  LayoutCache& layouts() { return layouts_; }
  Resolver& resolver() { return *resolver_; }
  Sizes& sizes() { return *sizes_; }
  GpuRings& rings() { return rings_; }
  MovedBytes& moved() { return moved_; }
  BlockPool& blocks() { return blocks_; }  // for operations and their batches
  BodyForm<msg::Read>& read_form() { return read_form_; }
  const BodyForm<msg::ReadReply>& read_reply_form() const { return read_reply_form_; }
  uint64_t incarnation() const { return incarnation_; }
  void retire(Operation& operation);

  void on_peer_trouble(Peer& peer) override;

 private:
  Operation* make(Request& request);
  std::vector<LinkOptions> links(const std::string& name, const std::vector<std::string>& addresses,
                                 bool data);
  void on_map(Completion&);
  void on_map_pause(Completion&) { refresh_map(); }
  void use_map(ClusterMap map);
  void end_connect(const Status& status);
  void on_connect_deadline(Completion&);
  void on_tick(Completion&);
  void on_sweep(Completion&);
  uint64_t patience_ns() const;

  BlockPool blocks_;
  Loop& loop_;
  Fabric& fabric_;
  Random random_;
  ClientOptions options_;
  uint64_t incarnation_;
  MovedBytes moved_;
  GpuRings rings_;

  LayoutCache layouts_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Sizes> sizes_;
  MessageExchange map_question_;
  Timer map_pause_;
  std::optional<ClusterMap> map_;

  Completion* connected_ = nullptr;
  Timer connect_deadline_;
  List<Operation> active_;
  size_t active_count_ = 0;
  BodyForm<msg::Read> read_form_ = gd2fs::read_form();
  const BodyForm<msg::ReadReply> read_reply_form_ = gd2fs::read_reply_form();
  std::vector<std::unique_ptr<Operation>> ended_;
  Completion sweep_;
  Timer tick_;

  // Destroyed first: nothing of a session may touch the rest.
  std::vector<NicCredit> nic_credits_;  // one for each of options_.locals
  std::map<uint32_t, std::unique_ptr<Peer>> servers_;
  std::unique_ptr<Peer> controller_;
};

}  // namespace gd2fs::client
