// Batches whose GPU memory NICs reach by themselves: no slot of the ring, no copy by anybody.
#include <algorithm>

#include "client/client.h"
#include "client/data_operation.h"

namespace gd2fs::client {

// Where the ring is forbidden, memory that a NIC does not reach fails there, and says so.
bool Batch::goes_by_nic(const Peer& peer) {
  if (gpu_->through_ring || !peer.by_nics()) return false;
  return operation.rings().straight().required() || operation.rings().nics_reach(gpu_->targets);
}

uint32_t Batch::distance(const Link& link) const {
  return by_nic() ? link.distance_to(gpu_->targets).value_or(kOutOfReach) : 0;
}

// Another rail may reach it. A connection that is none between NICs says by
// its failure that the bytes have to take another way.
bool Batch::must_reach(const Link& link) const {
  return by_nic() && link.by_nic() && operation.rings().straight().required();
}

Batch::ByNic Batch::end_by_nic() {
  if (outcome.ok() && memory.direction == Window::Direction::sink) {
    const auto* answer = open_body<msg::ReadReply>(reply);
    const bool holes =
        answer != nullptr && answer->zeros() != nullptr && answer->zeros()->size() > 0;
    if (holes) return ByNic::through_ring;
    outcome = operation.rings().see_nic_writes(gpu_->targets);
  }
  if (outcome.ok()) return ByNic::done;
  unsure = unsure || perhaps_executed;
  const bool required = operation.rings().straight().required();
  // A rail was lost, since nobody has answered: another takes it.
  if (perhaps_executed && reply.empty()) {
    operation.rings().doubt_nics(gpu_->targets);
    return ++gpu_->nic_losses < kNicLossesMax || required ? ByNic::again : ByNic::through_ring;
  }
  const bool cannot = outcome.is(StatusCode::unavailable) || outcome.is(StatusCode::unsupported);
  return cannot && !required ? ByNic::through_ring : ByNic::done;
}

}  // namespace gd2fs::client
