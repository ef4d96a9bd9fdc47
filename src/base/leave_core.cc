#include "base/leave_core.h"

#include <sched.h>

namespace gd2fs {

bool leave_core(int core) {
  cpu_set_t allowed;
  if (core < 0 || core != sched_getcpu()) return false;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<unsigned>(core), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return false;
  sched_setaffinity(0, sizeof allowed, &allowed);
  return true;
}

}  // namespace gd2fs
