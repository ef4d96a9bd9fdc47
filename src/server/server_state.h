// ServerState: what all connections of one data server share: its parts by reference, what the
// controller has told it, and the pools and queues that bound its work. One loop.
#pragma once

#include <unordered_map>

#include <flatbuffers/flatbuffers.h>

#include "base/pool.h"
#include "base/random.h"
#include "loop/loop.h"
#include "server/authority.h"
#include "server/counters.h"
#include "server/flush_op.h"
#include "server/lease.h"
#include "server/options.h"
#include "server/prefetch_op.h"
#include "server/read_op.h"
#include "server/step_queue.h"
#include "server/transfer_step.h"
#include "server/write_op.h"
#include "store/store.h"
#include "wire/body_form.h"

namespace gd2fs::server {

class Connection;

// A piece of a write that is being executed, by its client's incarnation and sequence.
struct TagInFlight {
  uint64_t incarnation;
  uint64_t sequence;
  friend bool operator==(const TagInFlight&, const TagInFlight&) = default;
};
struct TagInFlightHash {
  size_t operator()(const TagInFlight& tag) const { return mix64(tag.incarnation ^ tag.sequence); }
};

struct ServerState {
  ServerState(Loop& server_loop, Store& server_store, const ServerOptions& server_options)
      : loop(server_loop),
        store(server_store),
        options(server_options),
        lease(server_loop.clock()),
        read_ops("read_ops_max", options.read_ops_max),
        write_ops("write_ops_max", options.write_ops_max),
        flush_ops("flush_ops_max", options.flush_ops_max),
        prefetch_ops("prefetch_ops_max", options.prefetch_ops_max),
        read_steps("steps_max", options.small_steps_max + options.big_steps_max),
        write_steps("steps_max", options.small_steps_max + options.big_steps_max),
        parking(server_loop, options.busy_retry_ns, options.busy_patience_ns),
        small_reads(small_limits(options)),
        big_reads({options.big_steps_max, options.read_bytes_max, options.session_read_bytes_max}),
        small_writes(small_limits(options)),
        big_writes(
            {options.big_steps_max, options.write_bytes_max, options.session_write_bytes_max}) {}
  ServerState(const ServerState&) = delete;
  ServerState& operator=(const ServerState&) = delete;

  // stale: the capability has expired, or the request is of a newer generation than it.
  Status check_handle(const Handle& handle, uint64_t generation) const {
    if (handle.expiry_us <= loop.clock().wall_us()) {
      return {StatusCode::stale, "the capability has expired"};
    }
    if (generation > handle.generation) {
      return {StatusCode::stale, "the capability is of an older generation"};
    }
    return {};
  }

  // Empty, for one reply at a time.
  flatbuffers::FlatBufferBuilder& reply_builder() {
    builder.Clear();
    return builder;
  }

  Loop& loop;
  Store& store;
  const ServerOptions options;
  BodyForm<msg::Read> read_form = gd2fs::read_form();
  BodyForm<msg::ReadReply> read_reply_form = gd2fs::read_reply_form();
  Authority authority;
  Lease lease;
  ServerCounters counters;

  Pool<ReadOp> read_ops;
  Pool<WriteOp> write_ops;
  Pool<FlushOp> flush_ops;
  Pool<PrefetchOp> prefetch_ops;
  Pool<ReadStep> read_steps;
  Pool<WriteStep> write_steps;
  Parking parking;
  StepQueue small_reads;
  StepQueue big_reads;
  StepQueue small_writes;
  StepQueue big_writes;
  // At most as many as there are write steps.
  std::unordered_map<TagInFlight, WriteStep*, TagInFlightHash> tags_in_flight;

 private:
  static StepQueue::Limits small_limits(const ServerOptions& options) {
    const uint64_t bytes_max = uint64_t{options.small_steps_max} * kSmallStepBytes;
    return {options.small_steps_max, bytes_max, bytes_max / 4};
  }
  flatbuffers::FlatBufferBuilder builder{1024};
};

}  // namespace gd2fs::server
