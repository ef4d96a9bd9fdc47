// Getting a thread off the core of the one that gives it work.
//
// Who wakes a thread may have it put on its own core: the kernel supposes that a waker is about to
// sleep (always so for a socket's receiver, which over loopback is woken from inside its sender's
// sendmsg), and on a busy machine with few cores it does not look for an idle one (SIS_UTIL of the
// scheduler). The two then take turns on one core while another idles. One move is enough for a
// while: a sleeper is woken on the core that it left, if that is idle.
#pragma once

namespace gd2fs {

// True: this thread was on `core`, may use others, and is on one of them now. Its affinity is as
// before; it is set twice within, so that what another thread sets for this one in between is lost.
bool leave_core(int core);

}  // namespace gd2fs
