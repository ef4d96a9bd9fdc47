// For tests: a client that asks for much and reads little, and has told of few buffers: its server
// runs out of credit, and has to wait until some comes back.
#pragma once

#include <gtest/gtest.h>

#include "fabric/conformance_pair.h"
#include "fabric/raw_rdma_end.h"

namespace gd2fs {

class RdmaSlowReader {
 public:
  static constexpr uint16_t kType = static_cast<uint16_t>(msg::Type::read);
  static constexpr size_t kUnansweredMax = 256;

  RdmaSlowReader(Loop& loop, Worker& worker) : end(loop, worker) { end.reads_at_once = false; }

  RawRdmaEnd end;

  // Before end.join().
  void begin(Random& random) {
    asked_ = 0;
    answering_ = random.fork();
    end.buffers = static_cast<uint32_t>(1 + random.below(RdmaQueue::kBuffers));
  }
  void ask(Random& random) {
    for (uint64_t n = random.below(2 * RdmaQueue::kBuffers); n > 0; --n) {
      if (missing() >= kUnansweredMax || !end.ask(asked_ + 1, kType, {})) return;
      ++asked_;
    }
  }
  // The server's side: some answers take several messages.
  void serve(Session& session, const Message& message) {
    const std::vector<std::byte> body(answering_.below(2 * RdmaQueue::kBufferBytes));
    EXPECT_TRUE(session.reply(message.type, message.request_id, body).ok());
  }
  void read() {
    end.read();
    end.return_credit();
  }
  // Requests without an answer.
  size_t missing() const { return asked_ - end.replies(); }

 private:
  size_t asked_ = 0;
  // Of its own: how many are answered before a session ends is not the seed's choice.
  Random answering_{0};
};

}  // namespace gd2fs
