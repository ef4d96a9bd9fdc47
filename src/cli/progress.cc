#include "cli/progress.h"

#include <cmath>
#include <cstdio>

#include "cli/units.h"

namespace gd2fs::cli {

Progress::Progress(Clock& clock, bool on_terminal, std::string verb, uint64_t files, uint64_t bytes)
    : clock_(clock),
      on_terminal_(on_terminal),
      verb_(std::move(verb)),
      files_(files),
      bytes_(bytes),
      began_ns_(clock.now_ns()) {}

double Progress::seconds() const {
  return static_cast<double>(clock_.now_ns() - began_ns_) * 1e-9;
}

std::string Progress::line() const {
  const uint64_t done = done_bytes();
  const double elapsed = seconds();
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  std::string text = verb_ + "  " + std::to_string(done_files()) + "/" + std::to_string(files_) +
                     (files_ == 1 ? " file  " : " files  ") + readable_size(done);
  if (bytes_ > 0) {
    text += " of " + readable_size(bytes_) + "  " + std::to_string(done * 100 / bytes_) + "%";
  }
  text += "  " + readable_rate(rate);
  if (bytes_ > done && rate > 0) {
    const double left_s = std::round(static_cast<double>(bytes_ - done) / rate);
    text += "  " + readable_seconds(static_cast<uint64_t>(left_s)) + " left";
  }
  return text;
}

void Progress::show() {
  if (!on_terminal_) return;
  const uint64_t now = clock_.now_ns();
  if (shown_ns_ != 0 && now - shown_ns_ < kEveryNs) return;
  shown_ns_ = now;
  // Carriage return, the line, and "erase to the end of the line".
  std::fprintf(stderr, "\r%s\x1b[K", line().c_str());
}

void Progress::finish() {
  if (on_terminal_ && shown_ns_ != 0) std::fputs("\r\x1b[K", stderr);
}

}  // namespace gd2fs::cli
