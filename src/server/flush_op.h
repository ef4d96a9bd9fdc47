// FlushOp: serves one flush request: answers when everything committed before it is durable.
// Pooled.
#pragma once

#include "loop/completion.h"
#include "server/request.h"

namespace gd2fs::server {

class FlushOp final : public Request {
 public:
  FlushOp() { flushed_.bind<&FlushOp::on_flushed>(this); }
  void start(Connection& connection, uint64_t request_id);
  void cancel(const Status&) override {}  // ends by itself, soon

 private:
  void on_flushed(Completion& done);
  Completion flushed_;
};

}  // namespace gd2fs::server
