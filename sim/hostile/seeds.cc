#include "sim/hostile/seeds.h"

#include <algorithm>

#include "base/check.h"
#include "sim/hostile/hostile.h"

namespace gd2fs::sim {
namespace {

using Deed = HostileDeployment::Deed;

uint8_t kind_of(msg::Type type, Voice voice) {
  const auto kinds = request_kinds();
  const auto found = std::ranges::find_if(
      kinds, [&](const RequestKind& kind) { return kind.type == type && kind.voice == voice; });
  CHECK(found != kinds.end());
  return static_cast<uint8_t>(found - kinds.begin());
}

std::string step(uint8_t kind, std::string_view fields = {}, uint8_t mode = 0) {
  std::string out;
  out += static_cast<char>(kind);
  out += static_cast<char>(mode);
  out += static_cast<char>(fields.size());
  return out.append(fields);
}
std::string step(msg::Type type, Voice voice, std::string_view fields = {}, uint8_t mode = 0) {
  return step(kind_of(type, voice), fields, mode);
}
std::string step(Deed deed, std::string_view fields = {}) {
  return step(HostileDeployment::step_of(deed), fields);
}

// The byte for which Script::text() answers this.
char text(std::string_view wanted) {
  const auto found = std::ranges::find(Script::kTexts, wanted);
  CHECK(found != Script::kTexts.end());
  return static_cast<char>(1 + (found - Script::kTexts.begin()));
}

// A file, and a handle on it.
std::string open_file() {
  return step(msg::Type::lookup, Voice::client) + step(msg::Type::bind_handle, Voice::reader);
}

std::string client_script() {
  using enum msg::Type;
  constexpr Voice kClient = Voice::client;
  std::string script = step(lookup, kClient) + step(create, kClient, {"\x05", 1});
  script += step(mkdir, kClient) + step(cluster_map, kClient) + step(reserve, kClient);
  script += step(bind_handle, Voice::reader) + step(write, Voice::reader);
  script += step(set_size, kClient) + step(read, Voice::reader) + step(flush, Voice::reader);
  script += step(evict, kClient) + step(read, Voice::reader) + step(cancel, Voice::reader);
  script += step(readdir, kClient) + step(usage, kClient) + step(truncate, kClient);
  script += step(msg::Type::unlink, kClient) + step(msg::Type::rename, kClient);
  script += step(msg::Type::unlink, kClient, std::string{text("/d/f")});
  return script + step(msg::Type::rmdir, kClient);
}

std::string admin_script() {
  using enum msg::Type;
  constexpr Voice kAdmin = Voice::admin;
  std::string script = step(cluster_map, kAdmin) + step(cluster_create, kAdmin);
  script += step(cluster_list, kAdmin) + step(cluster_policy, kAdmin);
  script += step(token_rotate, kAdmin) + step(cluster_remove, kAdmin);
  script += step(deployment_status, kAdmin) + step(scrub, kAdmin) + step(evict, kAdmin);
  return script + step(meta_dump, kAdmin) + step(meta_load, kAdmin);
}

// A data server that says it is the one there is, and is asked what that one would be.
std::string data_server_script() {
  using enum msg::Type;
  std::string script = step(register_server, Voice::data_server);
  script += step(heartbeat, Voice::data_server) + step(Deed::wait);
  script += step(register_server, Voice::data_server) + step(deployment_status, Voice::admin);
  return script + step(scrub, Voice::admin);
}

std::string controller_script() {
  using enum msg::Type;
  constexpr Voice kController = Voice::controller;
  std::string script = step(Deed::rogue);
  for (const msg::Type type : {cluster_keys, server_status, server_scrub, server_evict, fence}) {
    script += step(type, kController);
  }
  constexpr const char* kTwoSeconds = "\x7f";  // until the next heartbeat
  return script + step(Deed::wait, kTwoSeconds) + step(Deed::rogue);
}

}  // namespace

std::string honest_script() {
  return client_script() + admin_script() + data_server_script() + controller_script();
}

std::vector<std::string> seed_scripts() {
  std::vector<std::string> scripts = {honest_script(), client_script(), admin_script(),
                                      data_server_script(), controller_script()};
  for (const RequestKind& kind : request_kinds()) {
    const uint8_t number = kind_of(kind.type, kind.voice);
    scripts.push_back(open_file() + step(number));
    scripts.push_back(open_file() + step(number, std::string(12, '\x7f')));
    scripts.push_back(step(number, std::string(8, '\xff'), HostileDeployment::kRaw));
    scripts.push_back(step(number, "", HostileDeployment::kRepeating));
    scripts.push_back(open_file() + step(number, "", HostileDeployment::kAsReply));
  }
  // Repeating answers to the controller's and the data server's questions.
  for (const char how : {'\1', '\2', '\3', '\4', '\5', '\6'}) {
    scripts.push_back(step(msg::Type::register_server, Voice::data_server) +
                      step(msg::Type::deployment_status, Voice::admin, std::string(4, how)) +
                      step(msg::Type::scrub, Voice::admin, std::string(4, how)));
    scripts.push_back(step(Deed::rogue, std::string{'\0', '\0', how, how, how}));
  }
  scripts.push_back(step(Deed::stranger) + step(Deed::stranger, "\1\1") +
                    step(Deed::stranger, std::string("\4\2\1\1\1\1", 6)));
  scripts.push_back(open_file() +
                    step(msg::Type::write, Voice::reader, "", HostileDeployment::kGoOn) +
                    step(Deed::hang_up, "\3") + step(msg::Type::read, Voice::reader));
  scripts.push_back(
      open_file() + step(msg::Type::read, Voice::reader, "", HostileDeployment::kGoOn) +
      step(Deed::reset) +
      step(Deed::wait, std::string{'\xff', '\x60', '\0', '\0', '\0', '\0', '\0', '\0', '\0'}));
  return scripts;
}

}  // namespace gd2fs::sim
