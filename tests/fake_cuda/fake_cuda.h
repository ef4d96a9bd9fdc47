// fake_cuda: a stand-in for the CUDA driver library (libcuda.so.1), for machines without a GPU.
//
// It has the functions that src/gpu calls and those that tests need, and holds their callers to
// what the driver demands: a current context for what needs one, handles that are alive, host
// memory that is registered (once, not across two registrations, read-only where it is only read).
// Device memory is mapped without any access for the CPU, so touching it is a fault here as on a
// real machine; the fake reaches it through a second mapping. Copies, kernel launches and events
// are queued on streams and carried out later by a thread of the fake's own, in stream order.
//
// The functions below control it; find them with dlsym. FAKE_CUDA_DEVICES says how many devices
// there are (default 2).
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Every queued operation takes at least so long, from the moment its turn comes.
void fake_cuda_set_delay_ns(uint64_t delay_ns);
// While held, nothing that is queued is carried out. hold(0) lets it go on.
void fake_cuda_hold(int held);
// The next `count` copies or launches are refused by the call itself with this error.
void fake_cuda_refuse_copies(int count, int error);
// While it is not 0, no stream is created: the call answers this error.
void fake_cuda_refuse_streams(int error);
// cuEventRecord answers `error`; 0: not any more.
void fake_cuda_refuse_events(int error);
// Registrations of host memory so long are refused with this error, until it is 0.
void fake_cuda_refuse_registrations(uint64_t at_least_bytes, int error);
// The next copy or launch that is carried out ends its context with this error (it moves nothing).
void fake_cuda_break_next(int error);
// How what a NIC writes becomes visible: 0 by no order, so that it must be flushed; 100 by itself
// (as at the start).
void fake_cuda_set_nic_ordering(int ordering);
// How long a write into device memory may take; operations queued and not yet carried out.
uint64_t fake_cuda_queued(void);

// For a NIC: where the bytes [offset, offset + length) of an exported dmabuf lie; NULL if it is
// none, or they do not lie in one piece.
void* fake_cuda_dmabuf_bytes(int fd, uint64_t offset, uint64_t length);

typedef struct fake_cuda_counts {
  uint64_t contexts;       // alive
  uint64_t streams;        // alive
  uint64_t events;         // alive
  uint64_t modules;        // alive
  uint64_t allocations;    // of device memory, alive
  uint64_t registrations;  // of host memory, alive
  uint64_t registered_bytes;
  uint64_t copies;           // by the copy engine, since the start
  uint64_t launches;         // of the copy kernel
  uint64_t tiles;            // in them
  uint64_t pageable_copies;  // from or to memory that is not registered
  uint64_t synchronises;     // calls that wait for the device
  uint64_t lookups;          // of pointer attributes
  uint64_t nic_flushes;      // of what NICs have written
  uint64_t streams_asked;    // calls of cuStreamCreate
} fake_cuda_counts;
void fake_cuda_get_counts(fake_cuda_counts* counts);

#ifdef __cplusplus
}  // extern "C"
#endif
