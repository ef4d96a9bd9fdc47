#include "fabric/sender_core.h"

#include <sched.h>

#include <sys/socket.h>

namespace gd2fs {

// Loopback's packets are taken in on the core that sent them.
bool SenderCore::shared_with_sender(int fd) {
  int core = -1;
  socklen_t length = sizeof core;
  if (getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &core, &length) != 0) return false;
  return core >= 0 && core == sched_getcpu();
}

void SenderCore::move_away() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(sched_getcpu(), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace gd2fs
