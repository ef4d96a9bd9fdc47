#include "verbs/pci_place.h"

#include <filesystem>
#include <fstream>
#include <string_view>

namespace gd2fs::verbs {
namespace {

// The first device below the root complex: "0000:00:01.0".
std::string_view root_port(std::string_view path) {
  const size_t begin = path.find('/');
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = path.substr(begin + 1);
  return rest.substr(0, rest.find('/'));
}

std::string_view root_complex(std::string_view path) {
  return path.substr(0, path.find('/'));
}

}  // namespace

PciPlace place_of(const std::string& folder) {
  PciPlace place;
  std::error_code error;
  const std::string real = std::filesystem::canonical(folder, error).string();
  const size_t begin = error ? std::string::npos : real.find("/pci");
  if (begin == std::string::npos) return place;
  place.path = real.substr(begin + 1);
  std::ifstream node(real + "/numa_node");
  if (!(node >> place.node)) place.node = -1;
  return place;
}

PciDistance distance_between(const PciPlace& one, const PciPlace& other) {
  if (one.path.empty() || other.path.empty()) return PciDistance::far;
  const std::string_view port = root_port(one.path);
  const bool one_port = root_complex(one.path) == root_complex(other.path) && !port.empty() &&
                        port == root_port(other.path);
  if (one_port) return PciDistance::bridge;
  return one.node >= 0 && one.node == other.node ? PciDistance::node : PciDistance::far;
}

}  // namespace gd2fs::verbs
