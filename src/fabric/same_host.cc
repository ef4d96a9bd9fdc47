#include "fabric/same_host.h"

#include <ctime>
#include <filesystem>

#include <sys/file.h>
#include <sys/stat.h>

#include "base/descriptor.h"
#include "base/random.h"
#include "wire/auth.h"
#include "wire/token.h"

namespace gd2fs {
namespace {

constexpr size_t kSecretBytes = 32;
constexpr size_t kSmallFileMaxBytes = 128;
constexpr std::string_view kLabel = "gd2fs-same-host";

// The beginning of a small file. The path may come from a peer: nothing that could make us wait.
Result<std::string> read_small_file(const std::string& path) {
  GD2FS_ASSIGN(const Descriptor file,
               Descriptor::open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY));
  struct stat info{};
  if (fstat(file.fd(), &info) != 0) return fail(Status::from_errno(errno, path));
  if (!S_ISREG(info.st_mode)) return fail(StatusCode::invalid, path + ": not a file");
  std::string text(kSmallFileMaxBytes, '\0');
  const ssize_t got = ::read(file.fd(), text.data(), text.size());
  if (got < 0) return fail(Status::from_errno(errno, path));
  text.resize(static_cast<size_t>(got));
  return text;
}

// Locked while the server lives. (Other processes may read it.)
Result<Descriptor> write_secret(const std::string& path, std::string_view secret) {
  ::unlink(path.c_str());
  GD2FS_ASSIGN(Descriptor file,
               Descriptor::open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  if (flock(file.fd(), LOCK_EX | LOCK_NB) != 0 ||
      ::write(file.fd(), secret.data(), secret.size()) != static_cast<ssize_t>(secret.size())) {
    return fail(Status::from_errno(errno == 0 ? EIO : errno, path));
  }
  return file;
}

// Its server was killed: nobody holds the secret's lock, and it is too old to be just being made.
bool is_dead_door(const std::string& directory) {
  constexpr time_t kAgeMinS = 60;
  struct stat info{};
  if (lstat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
    return false;
  }
  const auto secret =
      Descriptor::open(directory + "/secret", O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
  return secret.has_value() && fstat(secret->fd(), &info) == 0 && S_ISREG(info.st_mode) &&
         time(nullptr) - info.st_mtime >= kAgeMinS && flock(secret->fd(), LOCK_EX | LOCK_NB) == 0;
}

// What cannot be looked at or removed stays: it is only litter.
void remove_dead_doors_beside(const std::string& directory) {
  const std::filesystem::path own(directory);
  if (!own.filename().native().starts_with(kHostDoorPrefix)) return;
  std::error_code error;
  for (std::filesystem::directory_iterator each(own.parent_path(), error), end;
       !error && each != end; each.increment(error)) {
    HostDoor door;
    door.directory = each->path().native();
    door.socket_path = door.directory + "/socket";
    const bool ours = each->path().filename().native().starts_with(kHostDoorPrefix);
    if (ours && each->path() != own && is_dead_door(door.directory)) remove_host_door(door);
  }
}

}  // namespace

std::string boot_id() {
  auto text = read_small_file("/proc/sys/kernel/random/boot_id");
  if (!text.has_value()) return {};
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text->size() <= kBootIdMaxBytes ? *text : std::string();
}

Result<HostDoor> make_host_door(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail(Status::from_errno(errno, directory));
  }
  struct stat info{};
  if (lstat(directory.c_str(), &info) != 0) return fail(Status::from_errno(errno, directory));
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 0022) != 0) {
    return fail(StatusCode::denied, directory + ": others could put a socket of their own there");
  }
  HostDoor door;
  door.directory = directory;
  door.socket_path = directory + "/socket";
  std::byte secret[kSecretBytes];
  secure_random(secret);
  door.secret.assign(reinterpret_cast<const char*>(secret), sizeof secret);
  GD2FS_ASSIGN(door.lock, write_secret(directory + "/secret", door.secret));
  remove_dead_doors_beside(directory);
  return door;
}

void remove_host_door(const HostDoor& door) {
  ::unlink(door.socket_path.c_str());
  ::unlink((door.directory + "/secret").c_str());
  ::rmdir(door.directory.c_str());
}

Result<HostDoor> find_host_door(const std::string& directory) {
  HostDoor door;
  door.directory = directory;
  door.socket_path = directory + "/socket";
  auto secret = read_small_file(directory + "/secret");
  if (!secret.has_value()) {
    return fail(StatusCode::unavailable,
                "the server's directory cannot be read here: " + secret.error().to_string());
  }
  if (secret->size() != kSecretBytes) {
    return fail(StatusCode::unavailable, directory + "/secret is not a secret");
  }
  door.secret = std::move(*secret);
  return door;
}

std::string same_host_key(std::string_view secret, std::string_view token_key) {
  const MacBytes mac = handshake_mac(secret, kLabel, as_bytes(token_key.data(), token_key.size()));
  return {reinterpret_cast<const char*>(mac.data()), mac.size()};
}

}  // namespace gd2fs
