#include "server/step_queue.h"

#include "base/check.h"

namespace gd2fs::server {

void StepQueue::want(StepAccount& account, StepTaker& taker) {
  account.waiting.push_back(taker);
  if (!account.linked()) turns_.push_back(account);
  grant();
}

void StepQueue::finish(StepAccount& account, uint64_t step_bytes) {
  CHECK(steps_ > 0 && bytes_ >= step_bytes && account.bytes_in_flight >= step_bytes);
  --steps_;
  bytes_ -= step_bytes;
  account.bytes_in_flight -= step_bytes;
  if (!account.linked() && !account.waiting.empty()) turns_.push_back(account);
  grant();
}

void StepQueue::grant() {
  if (granting_) return;  // from a take_step(); the loop below goes on
  granting_ = true;
  while (StepAccount* account = turns_.front()) {
    StepTaker* taker = account->waiting.front();
    const bool account_full =
        taker != nullptr && account->bytes_in_flight > 0 &&
        account->bytes_in_flight + taker->step_bytes > limits_.account_bytes_max;
    if (taker == nullptr || account_full) {
      account->unlink();  // want() or finish() brings it back
      continue;
    }
    if (steps_ >= limits_.steps_max) break;
    if (bytes_ > 0 && bytes_ + taker->step_bytes > limits_.bytes_max) break;
    taker->unlink();
    ++steps_;
    bytes_ += taker->step_bytes;
    account->bytes_in_flight += taker->step_bytes;
    turns_.push_back(*account);  // to the end of the line
    taker->take_step();
  }
  granting_ = false;
}

}  // namespace gd2fs::server
