// Completion: the end of one asynchronous step, owned by whoever waits for it.
//
// The caller embeds a Completion in its operation struct, binds it once to a method, and hands it
// to a leaf (disk, fabric, timer). The leaf finishes it with Loop::complete(), which only queues
// it: the method runs later from the loop, never inside the submit that failed at once. A pending
// completion must outlive its leaf; pending() tells.
//
//   struct ReadOp {
//     Completion disk_read;
//     ReadOp() { disk_read.bind<&ReadOp::on_disk_read>(this); }
//     void on_disk_read(Completion& done);
//   };
//
// Thread rule: belongs to one loop.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/list.h"
#include "base/status.h"

namespace gd2fs {

class Completion : public ListNode<> {
 public:
  Completion() = default;
  template <auto Method, class T>
  void bind(T* owner) {
    owner_ = owner;
    run_ = [](void* o, Completion& done) { (static_cast<T*>(o)->*Method)(done); };
  }
  void bind(void* owner, void (*run)(void*, Completion&)) {
    owner_ = owner;
    run_ = run;
  }
  bool bound() const { return run_ != nullptr; }

  // A leaf calls start() when it takes the completion; Loop::complete() ends it.
  void start() {
    CHECK(!pending_);
    pending_ = true;
    status = Status();
    value = 0;
  }
  bool pending() const { return pending_; }

  Status status;       // of the finished step
  uint64_t value = 0;  // bytes moved, or what the leaf documents

 private:
  friend class Loop;
  void* owner_ = nullptr;
  void (*run_)(void*, Completion&) = nullptr;
  bool pending_ = false;
};

// Counts pieces; the first error sticks. The owner adds pieces, each finished piece calls done();
// `then` is completed on the loop when the last one is. Hold one piece while adding.
class Join {
 public:
  void reset(Completion& then) {
    then_ = &then;
    pieces_ = 0;
    first_error_ = Status();
    value_ = 0;
  }
  void add(uint32_t pieces = 1) { pieces_ += pieces; }
  void done(class Loop& loop, const Status& status, uint64_t value = 0);
  uint32_t pieces() const { return pieces_; }

 private:
  Completion* then_ = nullptr;
  uint32_t pieces_ = 0;
  uint64_t value_ = 0;
  Status first_error_;
};

}  // namespace gd2fs
