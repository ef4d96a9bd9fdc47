// read_again: runs a reading coroutine in a transaction of its own, again while other transactions
// get in between.
//   co_return co_await read_again(store, [&](MetaTransaction& tx) { return look(tx, path); });
// The lambda only calls the coroutine; it is none itself. Thread rule: the store's loop.
#pragma once

#include <utility>

#include "loop/task.h"
#include "meta/meta_store.h"

namespace gd2fs {

inline constexpr int kReadAttemptsMax = 1000;

template <class Read>
auto read_again(MetaStore& store, Read read) -> decltype(read(std::declval<MetaTransaction&>())) {
  for (int i = 0; i < kReadAttemptsMax; ++i) {
    auto tx = store.begin();
    auto result = co_await read(*tx);
    if (!tx->conflicted()) co_return std::move(result);
  }
  co_return gd2fs_try_return(Status(StatusCode::busy, "metadata changes too fast to read it"));
}

}  // namespace gd2fs
