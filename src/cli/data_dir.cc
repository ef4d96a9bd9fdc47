#include "cli/data_dir.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <sys/file.h>
#include <sys/stat.h>

namespace gd2fs::cli {
namespace {

constexpr std::string_view kTitle = "gd2fs data directory\n";
constexpr size_t kSmallFileMaxBytes = 4096;

bool take(std::string_view* text, std::string_view word) {
  if (!text->starts_with(word)) return false;
  text->remove_prefix(word.size());
  return true;
}

template <class Number>
bool take_number(std::string_view* text, Number* value, int base) {
  const auto [rest, error] =
      std::from_chars(text->data(), text->data() + text->size(), *value, base);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(rest - text->data()));
  return take(text, "\n");
}

Result<std::string> read_small_file(const std::string& path) {
  GD2FS_ASSIGN(const Descriptor file, Descriptor::open(path, O_RDONLY));
  std::array<char, kSmallFileMaxBytes> text;
  const ssize_t got = ::read(file.fd(), text.data(), text.size());
  if (got < 0) return fail(Status::from_errno(errno, path));
  return std::string(text.data(), static_cast<size_t>(got));
}

Status sync_directory(const std::string& path) {
  GD2FS_ASSIGN(const Descriptor directory, Descriptor::open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.fd()) != 0) return Status::from_errno(errno, path);
  return {};
}

Status write_durably(const Descriptor& file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t put = ::write(file.fd(), text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, path);
    text.remove_prefix(static_cast<size_t>(put));
  }
  if (::fsync(file.fd()) != 0) return Status::from_errno(errno, path);
  return {};
}

// The lock file holds the owner's process id, for the message to the second one.
Status take_lock(const Descriptor& file, const std::string& directory) {
  if (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Status::from_errno(errno, directory + "/lock");
    std::array<char, 32> owner = {};
    const ssize_t got = ::pread(file.fd(), owner.data(), owner.size() - 1, 0);
    const std::string who = got > 1 ? " (process " + std::string(owner.data(), got - 1) + ")" : "";
    return {StatusCode::busy, directory + " is in use by another gd2fs" + who, EBUSY};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.fd(), 0) != 0 ||
      ::pwrite(file.fd(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return Status::from_errno(errno, directory + "/lock");
  }
  return {};
}

Status check_owner_only(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return Status::from_errno(errno, path);
  if (!S_ISDIR(info.st_mode)) return {StatusCode::invalid, path + " is not a directory", ENOTDIR};
  if ((info.st_mode & 022U) != 0) {
    return {StatusCode::denied, path + " may be written by others: chmod go-w it"};
  }
  return {};
}

}  // namespace

std::string write_deployment(uint64_t deployment_id) {
  char text[96];
  std::snprintf(text, sizeof text, "version %u\ndeployment %016llx\n", kDataDirVersion,
                static_cast<unsigned long long>(deployment_id));
  return std::string(kTitle) + text;
}

Result<uint64_t> read_deployment(std::string_view text) {
  uint32_t version = 0;
  uint64_t deployment_id = 0;
  if (!take(&text, kTitle) || !take(&text, "version ") || !take_number(&text, &version, 10)) {
    return fail(StatusCode::corrupt, "is damaged: it does not begin as it should");
  }
  if (version > kDataDirVersion) {
    return fail(StatusCode::unsupported, "was written by a newer gd2fs (format " +
                                             std::to_string(version) + "; this one knows " +
                                             std::to_string(kDataDirVersion) + ")");
  }
  if (version == 0 || !take(&text, "deployment ") || !take_number(&text, &deployment_id, 16) ||
      deployment_id == 0 || !text.empty()) {
    return fail(StatusCode::corrupt, "is damaged: it holds no deployment id");
  }
  return deployment_id;
}

Status make_private_directory(const std::string& path) {
  if (path.size() > 1 && path.ends_with('/')) {
    return make_private_directory(path.substr(0, path.size() - 1));
  }
  const std::string above = std::filesystem::path(path).parent_path().string();
  int error = ::mkdir(path.c_str(), 0700) == 0 ? 0 : errno;
  if (error == ENOENT) {
    if (above.empty() || above == path) return Status::from_errno(ENOENT, path);
    GD2FS_TRY(make_private_directory(above));
    error = ::mkdir(path.c_str(), 0700) == 0 ? 0 : errno;
  }
  if (error == EEXIST) return {};
  if (error != 0) return Status::from_errno(error, path);
  // All that will be durable in it is so only under a name that is.
  return sync_directory(above.empty() ? "." : above);
}

Status write_private_file(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) return Status::from_errno(errno, fresh);
  GD2FS_ASSIGN(const Descriptor file,
               Descriptor::open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  GD2FS_TRY(write_durably(file, text, fresh));
  if (::rename(fresh.c_str(), path.c_str()) != 0) return Status::from_errno(errno, path);
  return sync_directory(std::filesystem::path(path).parent_path().string());
}

Result<DataDir> DataDir::open(const std::string& path, uint64_t new_deployment_id) {
  if (path.empty()) return fail(StatusCode::invalid, "no data directory: give --data DIR");
  GD2FS_TRY(make_private_directory(path));
  GD2FS_TRY(check_owner_only(path));
  GD2FS_ASSIGN(Descriptor lock, Descriptor::open(path + "/lock", O_RDWR | O_CREAT, 0600));
  GD2FS_TRY(take_lock(lock, path));
  DataDir directory(path, std::move(lock));
  GD2FS_TRY(directory.load_or_make(new_deployment_id));
  GD2FS_TRY(make_private_directory(path + "/tokens"));
  return directory;
}

Status DataDir::load_or_make(uint64_t new_deployment_id) {
  const std::string file = path_ + "/deployment";
  const Result<std::string> text = read_small_file(file);
  if (text) {
    const Result<uint64_t> id = read_deployment(*text);
    if (!id) return {id.error().code(), file + " " + std::string(id.error().text())};
    deployment_id_ = *id;
    return {};
  }
  if (!text.error().is(StatusCode::not_found)) return text.error();
  std::error_code ignored;
  if (std::filesystem::exists(meta_path(), ignored) ||
      std::filesystem::exists(drive_path(), ignored)) {
    return {StatusCode::corrupt,
            file + " is missing, but there are data: restore it, or take another directory"};
  }
  deployment_id_ = new_deployment_id;
  is_new_ = true;
  return write_private_file(file, write_deployment(deployment_id_));
}

std::string user_config_directory() {
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe): at start
  return home == nullptr || *home == '\0' ? std::string() : std::string(home) + "/.config/gd2fs";
}

}  // namespace gd2fs::cli
