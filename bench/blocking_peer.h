// The baseline: blocking sockets, one thread per lane on both sides, nothing of GD2FS.
#pragma once

#include "bench/stripe_wire.h"

namespace gd2fs::bench {

// Serves `memory` to every connection of `listener`, one thread each, for ever.
[[noreturn]] void serve_blocking(const Fd& listener, ConstBytes memory);

void send_all(int fd, const void* data, size_t length_bytes);
void receive_all(int fd, void* data, size_t length_bytes);
// Asks for [offset, offset + into.size()) and waits for it.
void read_blocking(int fd, uint64_t offset, Bytes into);
// Reads every lanes-th stripe of `into` over this lane, `window` asks ahead.
void read_stripes_blocking(int fd, Bytes into, uint32_t lane, uint32_t lanes, uint32_t window);

}  // namespace gd2fs::bench
