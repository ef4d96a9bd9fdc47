// ReaddirOperation: a directory's entries after a name, page by page until enough are there.
#pragma once

#include "client/operation.h"
#include "client/peer.h"

namespace gd2fs::client {

class ReaddirOperation final : public Operation {
 public:
  static constexpr uint32_t kPageEntriesMax = 1000;

  ReaddirOperation(Client& client, Request& request);
  void start() override;
  uint64_t progress() const override { return request_.entries.size(); }
  Status trouble() const override;
  Origin waits_for() const override { return Origin::controller; }

 protected:
  void stop() override { question_.cancel(); }
  bool quiet() const override { return !asking_; }

 private:
  void ask();
  void on_page(Completion&);

  MessageExchange question_;
  bool asking_ = false;
};

}  // namespace gd2fs::client
