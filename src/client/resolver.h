// Resolver: asks the controller what a path is; many requests for one path share one question.
//
// A question that was asked before a request began may answer what was true before it: fine for a
// layout (the servers check it), not for "no such file" or "it ends here". So every request notes
// asked() when it begins, and a failed or unwanted-old answer from before is asked again for it.
// Belongs to one loop.
#pragma once

#include <string>
#include <unordered_map>

#include "client/layout.h"
#include "client/peer.h"

namespace gd2fs::client {

class Resolver {
 public:
  // Caller-owned; `done` completes once, then layout or outcome is set.
  struct Wish : ListNode<> {
    std::string path;
    bool write = false;  // wants the right to write, and creates the file if it is missing
    bool fresh = false;  // even a good answer must be from after `after`
    uint64_t after = 0;
    Completion done;
    LayoutRef layout;
    Status outcome;
  };

  Resolver(Loop& loop, Peer& controller, LayoutCache& cache, uint64_t incarnation);
  ~Resolver();

  uint64_t asked() const { return asked_; }
  void start(Wish& wish);
  // Completes with canceled, unless it has an answer already.
  void cancel(Wish& wish);

 private:
  class Question;
  void answer(Question& question);

  Loop& loop_;
  Peer& controller_;
  LayoutCache& cache_;
  uint64_t incarnation_;
  uint64_t asked_ = 0;
  std::unordered_map<std::string, std::unique_ptr<Question>> questions_;  // by kind and path
  std::vector<std::unique_ptr<Question>> retired_;
};

}  // namespace gd2fs::client
