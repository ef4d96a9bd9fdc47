// SameHost: how a client finds out that a server runs on its own host, and where to speak to it.
//
// A host name, an address or a PID says nothing (containers, namespaces, clones). The server puts a
// unix socket and a file with a random secret into a directory. A client that runs under the same
// boot id and can read the secret shares the kernel and the file system with the server; on the
// socket it proves both, the secret and its token, with one key made of the two. The secret is not
// what protects the bytes, the token is: so whoever can see the directory may read it.
#pragma once

#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "base/status.h"

namespace gd2fs {

// Of this boot of this kernel; "" if the system does not say.
std::string boot_id();

// Of the names of directories that servers make by themselves.
inline constexpr std::string_view kHostDoorPrefix = "gd2fs-";

struct HostDoor {
  std::string directory;
  std::string socket_path;
  std::string secret;
  Descriptor lock;  // server: of the secret's file, while it lives
};
// Server: makes the directory and a new secret in it. denied: others could put their own there.
// Takes away what servers that were killed left beside it, if their directories have the prefix.
Result<HostDoor> make_host_door(const std::string& directory);
// Server, at its end: takes away what make_host_door() and the socket left.
void remove_host_door(const HostDoor& door);
// Client: what lies there. unavailable with the reason.
Result<HostDoor> find_host_door(const std::string& directory);

// What both sides use in place of the token's key on the unix socket.
std::string same_host_key(std::string_view secret, std::string_view token_key);

}  // namespace gd2fs
