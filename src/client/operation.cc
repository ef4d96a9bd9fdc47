#include "client/operation.h"

#include "client/client.h"

namespace gd2fs::client {

void Operation::give_up(const Status& why, Origin origin) {
  fail(why, origin);
}

void Operation::fail(const Status& why, Origin origin) {
  CHECK(!why.ok());
  if (!failure_.ok() || finished_) return;
  failure_ = why;
  failure_origin_ = origin;
  stop();
  settle();
}

void Operation::settle() {
  if (finished_ || !quiet()) return;
  finished_ = true;
  request_.status = failure_;
  request_.origin = failure_origin_;
  request_.value = 0;
  client_.retire(*this);
}

bool Operation::ending() {
  if (failure_.ok()) return finished_;
  settle();
  return true;
}

void Operation::finish(uint64_t value) {
  CHECK(failure_.ok() && !finished_ && quiet());
  finished_ = true;
  request_.status = Status();
  request_.origin = Origin::none;
  request_.value = value;
  client_.retire(*this);
}

}  // namespace gd2fs::client
