// What g++ 12 destroys twice in a coroutine, and its harmless neighbours: tools/tidy.py holds its
// own eyesight to this list before it looks at the tree. docs/decisions/015 has the rule. Each case
// was run with g++ 12.2 at -O0 and -O2, with an object that knows its own address.
#include <coroutine>
#include <optional>
#include <utility>

namespace {

struct Text {  // not trivially destroyed
  Text() {}
  Text(const Text&) {}
  Text(const char*) {}
  ~Text() {}
};
struct Options {
  Text name;
  int size = 0;
};
struct Plain {  // trivially destroyed
  int a = 0;
  int b = 0;
};

struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void unhandled_exception() {}
    void return_value(int) {}
  };
  bool await_ready() const { return true; }
  void await_suspend(std::coroutine_handle<>) const {}
  int await_resume() const { return 1; }
};

Task number() {
  co_return 1;
}
Task text(Text) {
  co_return 1;
}
Task options(Options) {
  co_return 1;
}
Task options_seen(const Options&) {
  co_return 1;
}
Task plain(Plain) {
  co_return 1;
}
Task defaulted(Options = {}) {  // twice
  co_return 1;
}
template <class Job>
Task job(Job) {
  co_return 1;
}
Options made() {
  return {};
}
int size_of(const Options& options) {
  return options.size;
}

Task cases() {
  Text named;
  Options settings;
  int sum = co_await number();
  sum += co_await text(named);
  sum += co_await text(std::move(named));
  sum += co_await text(Text());
  sum += co_await text("a conversion");
  sum += co_await options(settings);
  sum += co_await options(made());
  sum += co_await options(Options());
  sum += co_await plain({1, 2});
  sum += co_await job([&named] { (void)named; });
  sum += size_of({named, 1});
  settings = {named, 3};
  const Options kept{named, co_await number()};     // twice
  sum += co_await options({});                      // twice
  sum += co_await options({named, 2});              // twice
  sum += co_await options(Options{.name = named});  // twice
  sum += co_await options_seen({});                 // twice
  sum += co_await job([named] { (void)named; });    // twice
  sum += co_await number() + size_of({named, 1});   // twice
  sum += co_await text(sum == 0 ? named : Text());  // twice
  settings = Options{named, co_await number()};     // twice
  sum += co_await defaulted();
  co_return sum + kept.size;
}

}  // namespace

int main() {
  cases();
}
