#include "cli/doctor/machine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "verbs/ipoib.h"
#include "verbs/verbs.h"

namespace gd2fs::cli::doctor {
namespace {

constexpr size_t kFileMaxBytes = 64 * 1024;

int io_uring_errno() {
  io_uring_params parameters{};
  const long fd = syscall(SYS_io_uring_setup, 1, &parameters);
  if (fd < 0) return errno;
  ::close(static_cast<int>(fd));
  return 0;
}

uint64_t memlock_bytes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur;
}

std::string text_of(const ibv_gid& address) {
  char text[INET6_ADDRSTRLEN] = {};
  in6_addr raw{};
  std::memcpy(&raw, address.raw, sizeof raw);
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&raw);
  const void* bytes = v4 ? static_cast<const void*>(&raw.s6_addr[12]) : &raw;
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
  return text;
}

// As it ends a GID in sysfs.
std::string guid_text(uint64_t guid) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&guid);
  std::string text;
  for (size_t i = 0; i < sizeof guid; ++i) {
    if (i > 0 && i % 2 == 0) text += ':';
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

std::vector<Machine::IpoibAddress> ipoib_addresses() {
  std::vector<Machine::IpoibAddress> all;
  for (const verbs::IpoibAddress& one : verbs::ipoib_addresses()) {
    const std::string text = text_of(one.address);
    if (text.starts_with("fe80:")) continue;
    all.push_back({text, one.interface, guid_text(one.port_guid)});
  }
  return all;
}

// 2 before 10: runs of digits by their length first.
bool counted_before(const std::string& a, const std::string& b) {
  const auto split = [](const std::string& text) {
    const size_t end = text.find_last_not_of("0123456789");
    return end == std::string::npos ? 0 : end + 1;
  };
  const size_t at = split(a);
  const size_t bt = split(b);
  const int order = a.compare(0, at, b, 0, bt);
  if (order != 0) return order < 0;
  if (a.size() != b.size()) return a.size() < b.size();
  return a < b;
}

}  // namespace

Machine Machine::this_one() {
  Machine machine;
  const auto library = verbs::Library::get();
  machine.verbs_library = library.has_value();
  if (!library) machine.verbs_library_why = library.error().text();
  machine.memlock_bytes = doctor::memlock_bytes();
  machine.ipoib_addresses = doctor::ipoib_addresses();
  machine.io_uring_errno = doctor::io_uring_errno();
  return machine;
}

std::string Machine::read_bytes(const std::string& path) const {
  std::ifstream file(root + path, std::ios::binary);
  std::string text(kFileMaxBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

std::string Machine::read(const std::string& path) const {
  std::string text = read_bytes(path);
  text.erase(text.find_last_not_of(" \t\n") + 1);
  return text;
}

std::vector<std::string> Machine::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root + path, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end(), counted_before);
  return names;
}

bool Machine::exists(const std::string& path) const {
  return ::access((root + path).c_str(), F_OK) == 0;
}

bool Machine::may_open(const std::string& path) const {
  return ::access((root + path).c_str(), R_OK | W_OK) == 0;
}

std::string Machine::resolve(const std::string& path) const {
  std::error_code error;
  std::string real = std::filesystem::canonical(root + path, error).string();
  if (error) return {};
  if (!root.empty() && real.starts_with(root)) real.erase(0, root.size());
  return real;
}

}  // namespace gd2fs::cli::doctor
