#include "store/ahead.h"

#include <algorithm>

namespace gd2fs {

// Deletes itself.
struct Ahead::Order final : OwnedOperation {
  Order(Ahead& ahead, const StoreRead& stream, const ChunkKey& key) : ahead(ahead) {
    read.key = key;
    read.chunk_log2 = stream.chunk_log2;
    read.length_bytes = 1u << stream.chunk_log2;
    read.generation = stream.generation;
    read.sequential = true;
    read.fill_only = true;
    read.done.bind<&Order::on_filled>(this);
  }
  // However it went: a read of these bytes finds out for itself.
  void on_filled(Completion&) {
    Ahead& owner = ahead;
    --owner.orders_;
    delete this;
    owner.core_.end_operation();
  }
  Ahead& ahead;
  StoreRead read;
};

void Ahead::want(const StoreRead& stream) {
  const ChunkKey& key = stream.key;
  const uint64_t chunks = std::max<uint64_t>(stream.ahead_bytes >> stream.chunk_log2, 1);
  for (uint64_t i = 1; i <= chunks && key.chunk + i <= UINT32_MAX; ++i) {
    if (orders_ == kOrdersMax || core_.closing) return;
    const ChunkKey next{key.inode, static_cast<uint32_t>(key.chunk + i)};
    ChunkIndex::View view;
    if (!core_.index.find(next, &view)) return;
    if (core_.slab.map().find(next) != nullptr || core_.active.fills(next) != nullptr) continue;
    StoreReadState* const op = reads_.get();
    if (op == nullptr) return;
    auto* const order = new Order(*this, stream, next);
    ++orders_;
    core_.begin_operation(*order);
    order->read.done.start();
    op->start(core_, reads_, order->read);
  }
}

}  // namespace gd2fs
