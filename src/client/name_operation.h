// NameOperation: stat, create, unlink, rename, mkdir, rmdir, truncate, setattr, advise to drop: one
// question to the controller, retried under one sequence until it is answered.
#pragma once

#include "client/operation.h"
#include "client/peer.h"
#include "client/resolver.h"

namespace gd2fs::client {

class NameOperation final : public Operation {
 public:
  NameOperation(Client& client, Request& request);
  ~NameOperation() override;
  void start() override;
  uint64_t progress() const override { return 0; }
  Status trouble() const override;
  Origin waits_for() const override { return Origin::controller; }

 protected:
  void stop() override;
  bool quiet() const override { return !asking_; }

 private:
  struct Question final : Exchange {
    explicit Question(NameOperation& owner) : operation(owner) {}
    Result<ConstBytes> compose(Link&, flatbuffers::FlatBufferBuilder& builder) override {
      return operation.compose(builder);
    }
    NameOperation& operation;
  };
  Result<ConstBytes> compose(flatbuffers::FlatBufferBuilder& builder);
  void on_answer(Completion&);
  void on_facts(Completion&);
  Status take_info(const msg::FileInfo* info);
  Status take_reply();

  Question question_;
  Resolver::Wish wish_;  // of a stat, which shares questions with reads and writes
  bool asking_ = false;
  uint64_t sequence_ = 0;
  uint64_t asked_ = 0;  // the last question when this one began
};

}  // namespace gd2fs::client
