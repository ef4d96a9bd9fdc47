// FsyncOperation: asks every primary that may hold chunks of the file to make them durable.
#pragma once

#include <memory>
#include <vector>

#include "client/operation.h"
#include "client/peer.h"
#include "client/resolver.h"

namespace gd2fs::client {

class FsyncOperation final : public Operation {
 public:
  FsyncOperation(Client& client, Request& request);
  void start() override;
  uint64_t progress() const override { return answered_; }
  Status trouble() const override;
  Origin waits_for() const override {
    return flushes_.empty() ? Origin::controller : Origin::server;
  }

 protected:
  void stop() override;
  bool quiet() const override { return !resolving_ && in_flight_ == 0; }

 private:
  struct Flush final : Exchange {
    explicit Flush(FsyncOperation& owner) : operation(owner) {
      type = msg::Type::flush;
      done.bind<&Flush::on_done>(this);
    }
    Result<ConstBytes> compose(Link& link, flatbuffers::FlatBufferBuilder& builder) override;
    void on_done(Completion&) { operation.on_flushed(*this); }
    FsyncOperation& operation;
  };
  void resolve(uint64_t after);
  void on_resolved(Completion&);
  void on_flushed(Flush& flush);

  Resolver::Wish wish_;
  bool resolving_ = false;
  LayoutRef layout_;
  std::vector<std::unique_ptr<Flush>> flushes_;
  size_t in_flight_ = 0;
  uint64_t answered_ = 0;
  bool stale_ = false;
};

}  // namespace gd2fs::client
