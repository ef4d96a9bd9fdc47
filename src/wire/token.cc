#include "wire/token.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include <openssl/rand.h>
#include <sys/stat.h>

#include "base/check.h"

namespace gd2fs {
namespace {

constexpr size_t kTokenFileMaxBytes = 256;
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::string_view kSpace = " \t\r\n";

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void secure_random(Bytes out) {
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) ==
        1);
}

std::string token_from_key(std::string_view key) {
  std::string token;
  token.reserve(key.size() * 2);
  for (const char c : key) {
    const auto byte = static_cast<uint8_t>(c);
    token += kDigits[byte >> 4];
    token += kDigits[byte & 15];
  }
  return token;
}

std::string generate_token() {
  std::string key(kTokenKeyBytes, '\0');
  secure_random(as_writable_bytes(key.data(), key.size()));
  return token_from_key(key);
}

Result<std::string> key_from_token(std::string_view token) {
  const size_t begin = token.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return fail(StatusCode::invalid, "the token is empty");
  token = token.substr(begin, token.find_last_not_of(kSpace) - begin + 1);
  if (token.size() != 2 * kTokenKeyBytes) {
    return fail(StatusCode::invalid, "a token has 64 hexadecimal digits");
  }
  std::string key;
  for (size_t i = 0; i < token.size(); i += 2) {
    const int high = digit_value(token[i]);
    const int low = digit_value(token[i + 1]);
    if (high < 0 || low < 0) {
      return fail(StatusCode::invalid, "a token has 64 hexadecimal digits");
    }
    key += static_cast<char>(high * 16 + low);
  }
  return key;
}

Result<std::string> read_token_file(const std::string& path) {
  const std::string what = "token file " + path;
  // O_NONBLOCK: a pipe put there must not hang us.
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0) return fail(Status::from_errno(errno, what));
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return fail(Status::from_errno(errno, what));
  if (!S_ISREG(info.st_mode)) return fail(StatusCode::denied, what + ": not a plain file");
  if ((info.st_mode & 077) != 0) {
    return fail(StatusCode::denied, what + ": others may read or write it; run: chmod 600 " + path);
  }
  char text[kTokenFileMaxBytes];
  ssize_t got = 0;
  do {
    got = read(fd.get(), text, sizeof text);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail(Status::from_errno(errno, what));
  auto key = key_from_token({text, static_cast<size_t>(got)});
  if (!key.has_value()) return fail(key.error().with(what));
  return key;
}

Status write_token_file(const std::string& path, std::string_view token) {
  const std::string what = "token file " + path;
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) return Status::from_errno(errno, what);
  // The umask may have taken bits away, never added any.
  const std::string line = std::string(token) + "\n";
  const ssize_t wrote = write(fd.get(), line.data(), line.size());
  if (wrote == static_cast<ssize_t>(line.size()) && fsync(fd.get()) == 0) return {};
  const Status status = Status::from_errno(wrote < 0 || errno != 0 ? errno : EIO, what);
  unlink(path.c_str());  // a torn one would be refused for ever
  return status;
}

}  // namespace gd2fs
