// Task<T>: a coroutine of the control path (controller, recovery, session set-up, CLI).
//
// Lazy: it runs when awaited or spawned on a loop, always on that loop's thread. A Task owns its
// frame; dropping an unfinished Task destroys the frame, so whoever drops it must know that none
// of its completions is pending. We throw nothing but CheckFailure (in libgd2fs): it leaves the
// Task and goes up to the loop's top, which poisons the loop; nobody resumes the awaiting Task.
//
// g++ 12 destroys braced temporaries beside a co_await twice (docs/decisions/015), so awaitables
// have constructors; write one co_await per statement, no braced arguments, no capturing lambda
// coroutines, no reference parameters that may die before the coroutine ends.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "loop/completion.h"

namespace gd2fs {

template <class T>
class Task;

namespace task_internal {

struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept {
    return ended.promise().continuation;
  }
  void await_resume() const noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() { throw; }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  // For GD2FS_CO_TRY and GD2FS_CO_ASSIGN.
  void return_value(TryReturn&& failure)
    requires std::convertible_to<TryReturn, T>
  {
    T result = std::move(failure);
    value.emplace(std::move(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};

}  // namespace task_internal

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = task_internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  class Awaiter {
   public:
    explicit Awaiter(Handle handle) : handle_(handle) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
      handle_.promise().continuation = caller;
      return handle_;
    }
    T await_resume() { return handle_.promise().take(); }

   private:
    Handle handle_;
  };
  Awaiter operator co_await() & { return Awaiter(handle_); }
  Awaiter operator co_await() && { return Awaiter(handle_); }

  // For Loop::spawn and tests: the frame, still owned by this Task.
  Handle handle() const { return handle_; }
  bool finished() const { return !handle_ || handle_.done(); }

 private:
  Handle handle_ = nullptr;
};

namespace task_internal {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}
}  // namespace task_internal

// A Completion that a coroutine can wait for:
//   Await read;                 // lives in the coroutine frame
//   disk.read(op, read.done()); // or any leaf that takes a Completion&
//   Status status = co_await read;   // read.value() after
class Await {
 public:
  Await() {
    done_.bind(this, [](void* self, Completion&) { static_cast<Await*>(self)->finish(); });
  }
  Await(const Await&) = delete;
  Await& operator=(const Await&) = delete;

  Completion& done() { return done_; }
  uint64_t value() const { return done_.value; }

  bool await_ready() const noexcept { return finished_; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { waiter_ = waiter; }
  Status await_resume() {
    finished_ = false;
    waiter_ = nullptr;
    return done_.status;
  }

 private:
  void finish() {
    finished_ = true;
    if (waiter_) waiter_.resume();
  }
  Completion done_;
  std::coroutine_handle<> waiter_;
  bool finished_ = false;
};

}  // namespace gd2fs

// GD2FS_TRY and GD2FS_ASSIGN for coroutines of Task<Status> and Task<Result<T>>; `expr` may hold
// one co_await: GD2FS_CO_ASSIGN(auto info, co_await names.lookup(path));
#define GD2FS_CO_TRY(expr)                                                               \
  do {                                                                                   \
    ::gd2fs::Status gd2fs_try_status = (expr);                                           \
    if (!gd2fs_try_status.ok()) co_return gd2fs_try_return(std::move(gd2fs_try_status)); \
  } while (0)
#define GD2FS_CO_ASSIGN(target, expr) \
  GD2FS_CO_ASSIGN_LINE(target, expr, GD2FS_CONCAT(gd2fs_result_, __LINE__))
#define GD2FS_CO_ASSIGN_LINE(target, expr, result)                                    \
  auto result = (expr);                                                               \
  if (!(result).has_value()) co_return gd2fs_try_return(std::move((result).error())); \
  target = std::move(*(result))
