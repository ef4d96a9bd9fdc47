// Client: one simulated client process: the real client of src/client on a loop of its own, and
// calls that run the world until they have ended, for tests that do one thing at a time. A workload
// submits requests to client() itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "sim/cluster/process.h"

namespace gd2fs::sim {

// A request with the memory it uses, and whether it has ended.
struct Call {
  client::Request request;
  std::vector<std::byte> memory;
  bool ended = false;
  Call() { request.done.bind<&Call::on_done>(this); }
  void on_done(Completion&) { ended = true; }
};

class Client : public Process {
 public:
  static constexpr int kTurnsToEndMax = 1000;

  Client(SimWorld& world, SimNetwork& network, const std::string& node,
         client::ClientOptions options, SimNics* nics = nullptr, int device = 0);

  const std::string& node() const { return fabric.node(); }
  client::Client& client() { return *client_; }
  // Learns the cluster's map; once, before the first request.
  Status connect();

  // SIGKILL: no request that is open ends, but none touches its memory any more.
  void kill();

  // --- one thing at a time: they run the world until the request has ended ---
  Status create(const std::string& path, uint64_t size_bytes = 0);
  Status write(const std::string& path, uint64_t offset, ConstBytes bytes);
  Result<std::vector<std::byte>> read(const std::string& path, uint64_t offset,
                                      uint64_t length_bytes);
  Result<client::FileFacts> stat(const std::string& path);
  Status unlink(const std::string& path);
  Status rename(const std::string& from, const std::string& to);
  Status truncate(const std::string& path, uint64_t size_bytes);
  Status mkdir(const std::string& path);
  Status rmdir(const std::string& path);
  Result<std::vector<std::string>> list(const std::string& path);

  // Prepares a read or a write of memory.size() bytes, then submits.
  void use_memory(Call& call);
  void submit(Call& call) { client_->submit(call.request); }
  Status run(Call& call);

 private:
  SimWorld& world_;
  SimNetwork& network_;
  std::unique_ptr<client::Client> client_;
};

}  // namespace gd2fs::sim
