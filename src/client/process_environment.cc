// The real environment variables and token files of this process.
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

#include <sys/stat.h>

#include "client/options.h"

namespace gd2fs::client {
namespace {

constexpr size_t kTokenMaxBytes = 4096;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody can do better
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Result<std::string> read_open_token(int fd, const std::string& path) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return fail(Status::from_errno(errno, path));
  if (!S_ISREG(info.st_mode)) return fail(StatusCode::invalid, path + " is not a file");
  if ((info.st_mode & 077) != 0) {
    return fail(StatusCode::denied, path + " may be read by others; chmod 600 it");
  }
  std::string text(kTokenMaxBytes + 1, '\0');
  const ssize_t got = read(fd, text.data(), text.size());
  if (got < 0) return fail(Status::from_errno(errno, path));
  text.resize(static_cast<size_t>(got));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.pop_back();
  }
  if (text.empty() || text.size() > kTokenMaxBytes) {
    return fail(StatusCode::invalid, path + " holds no token");
  }
  return text;
}

Result<std::string> token_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(Status::from_errno(errno, path));
  auto token = read_open_token(fd, path);
  close(fd);
  return token;
}

}  // namespace

ClientEnvironment process_environment() {
  return {variable, token_file};
}

}  // namespace gd2fs::client
