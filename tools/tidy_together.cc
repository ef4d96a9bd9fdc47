// What tools/tidy.py must still find when it reads a source together with others. Never compiled.
#include <memory>
#include <string>
#include <vector>

int moved_from(std::string text) {
  const std::string taken = std::move(text);
  return static_cast<int>(text.size() + taken.size());  // bugprone-use-after-move
}

int divided(int by) {
  if (by == 0) return 1 / by;  // clang-analyzer-core.DivideZero
  return 1;
}

size_t copied(const std::vector<std::string>& names) {
  size_t sum = 0;
  for (const auto name : names) sum += name.size();  // performance-for-range-copy
  return sum;
}

struct Base {
  virtual ~Base() = default;
  virtual void run() = 0;
};
struct Derived : Base {
  virtual void run() {}  // modernize-use-override
};
