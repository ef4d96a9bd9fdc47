// fake_verbs: a stand-in for libibverbs.so.1, for machines without an RDMA NIC.
//
// It has the functions that src/verbs calls, and devices whose ports reach each other inside one
// process: fake0 with the address 127.0.0.1 (and ::1), fake1 with 127.0.0.2, and so on. What is
// posted is carried out later by a thread of the fake's own, in the order of its queue pair, with
// the rules of a reliable connection: keys are checked on both sides (domain, range, access, still
// registered), a message needs a posted buffer, an error ends the pair and flushes what is queued,
// completions only for what is signalled or has failed, an event for what its completion queue was
// asked to tell of (a failure is always solicited), a slot of a queue is free again when a
// completion behind it was polled.
//
// The functions below control it; find them with dlsym. FAKE_VERBS_DEVICES says how many devices
// there are (default 4), FAKE_VERBS_SYSFS in which folder theirs are
// (FAKE_VERBS_SYSFS/fake0/device).
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What is posted is carried out so long after, at the earliest.
void fake_verbs_set_delay_ns(uint64_t delay_ns);
// While held, nothing that is posted on this device is carried out (-1: on all).
void fake_verbs_hold(int device, int held);
// After this many more data transfers (WRITEs and READs) the device of the last is held.
void fake_verbs_hold_after(int transfers);
// The next `count` work requests are lost on their way, with all their repetitions: they fail as
// after too many retries.
void fake_verbs_lose(int count);
// Breaks every queue pair of a device, as a fault of it would.
void fake_verbs_break(int device);
// A port that is down reaches nothing; what is posted fails after the retries. The device says so
// by an event, unless they are off.
void fake_verbs_set_port(int device, int active);
void fake_verbs_set_events(int on);
// The device tells that it has failed, and reaches nothing from then on.
void fake_verbs_fail_device(int device);
// As if it were pulled out, or its driver unloaded: it is not listed, its files of events are at
// their end, and what was opened before fails, also when it is back.
void fake_verbs_remove_device(int device);
void fake_verbs_insert_device(int device);
// Its port is one of InfiniBand: no IP address among its GIDs but one of a GUID, 2 in the first
// byte and the number of the device and 1 in the last (02:..:01 for fake0); a LID, a subnet,
// partitions, in the first of which it is no full member. It reaches only ports of its kind, by
// LID, and by GID where the subnet is another.
void fake_verbs_set_infiniband(int device, int on);
// What a subnet manager says; lid 0: there is none.
void fake_verbs_set_subnet(int device, uint16_t lid, uint64_t prefix);
// The device takes registrations of GPU memory, but every transfer from or to it fails.
void fake_verbs_keep_from_gpus(int device, int kept);
// Each WRITE or READ of this device takes so long, during which it does nothing else.
void fake_verbs_slow(int device, uint64_t transfer_ns);
// Between these two devices nothing passes, though both ports are up: a cable that is not there.
void fake_verbs_cut(int one, int other, int cut);
// The next `count` registrations of memory fail with this errno.
void fake_verbs_refuse_registrations(int count, int error);
// Registrations are cut off there, as real ones are.
void fake_verbs_set_max_mr_size(uint64_t length_bytes);
// For tests that must show that they would see it: a queue pair that was stopped or destroyed, or
// memory that was deregistered, no longer keeps out what was posted to it before.
void fake_verbs_let_late_bytes_through(int through);
// ... or every remote key opens all of the process's memory, at whatever address.
void fake_verbs_open_all_memory(int open);
// ... or a registration that is to be refused is made, and opens nothing.
void fake_verbs_lie_about_refusals(int lie);
// ... or messages arrive without their immediate data, by which peers return credit.
void fake_verbs_lose_credit(int lost);
// The next `count` WRITEs and READs that could be carried out name the key, and address, of memory
// that is not theirs, as if that were what was posted: an unknown key, an address behind the end of
// what their key is for, or memory registered in another domain, whichever `choice` says.
void fake_verbs_forge_keys(int count, uint64_t choice);
// For simulations: nothing is carried out but by step(), which carries out one work request of the
// queue pair number `choice` of those that have any, whatever its time, and answers how many queue
// pairs have work left.
void fake_verbs_manual(int manual);
uint64_t fake_verbs_step(uint64_t choice);
// How many queue pairs step() could choose from.
uint64_t fake_verbs_ready(void);
// All of the above as at the start. Where nobody has a queue pair, a completion queue or a region,
// those that were destroyed leave memory.
void fake_verbs_reset(void);

typedef struct fake_verbs_counts {
  uint64_t sends;   // messages carried out, from this device
  uint64_t writes;  // RDMA WRITEs, from this device
  uint64_t reads;   // RDMA READs, from this device
  uint64_t send_bytes;
  uint64_t write_bytes;
  uint64_t read_bytes;
  uint64_t send_completions;     // entries for what was posted to send queues
  uint64_t receive_completions;  // entries for messages received
  uint64_t doorbells;            // calls of post_send
  uint64_t no_buffer;            // messages that found none and were tried again
  uint64_t refused_keys;         // transfers that a key did not open memory for
  uint64_t forged_keys;          // transfers that forge_keys() has changed
  uint64_t overruns;             // completions lost because a queue was full
  uint64_t queue_pairs;          // alive
  uint64_t regions;              // alive
  uint64_t late_bytes;           // moved only because late bytes are let through
  uint64_t events;               // completion queues that told of what they were asked for
  uint64_t gpu_bytes;            // moved into or out of GPU memory that this device registered
} fake_verbs_counts;
void fake_verbs_get_counts(int device, fake_verbs_counts* counts);
// What somebody knows who has listened: the remote key of the memory at that address, by this
// device; 0: it is not registered with it.
uint32_t fake_verbs_key_at(int device, const void* address);
// Posted and not yet carried out, of all devices.
uint64_t fake_verbs_queued(void);

#ifdef __cplusplus
}  // extern "C"
#endif
