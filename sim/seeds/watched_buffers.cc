#include "sim/seeds/watched_buffers.h"

#include <algorithm>

namespace gd2fs::sim {

FabricMemory WatchedBuffers::Buffer::memory() {
  FabricMemory out;
  out.address = bytes.data();
  out.length_bytes = bytes.size();
  out.for_peers = true;
  return out;
}

WatchedBuffers::Buffer& WatchedBuffers::take(uint64_t length_bytes) {
  CHECK(length_bytes > 0);
  std::vector<Buffer*> free;
  for (Buffer& each : buffers_) {
    if (each.used_bytes == 0 && each.bytes.size() >= length_bytes) free.push_back(&each);
  }
  Buffer* buffer = nullptr;
  if (!free.empty() && random_.chance(3, 4)) {
    buffer = free[random_.below(free.size())];
    look_at(*buffer);
  } else {
    buffer = &buffers_.emplace_back();
    buffer->bytes.resize(length_bytes + random_.below(8 * kKiB));
    buffer->canary = static_cast<std::byte>(random_.next());
    std::ranges::fill(buffer->bytes, buffer->canary);
    buffer->known = random_.chance(7, 8);
    if (buffer->known) {
      // A NIC that refuses it has its bytes copied.
      refused_ += !fabric_.add_memory(buffer->memory()).ok();
    }
  }
  buffer->used_bytes = length_bytes;
  return *buffer;
}

void WatchedBuffers::give_back(Buffer& buffer) {
  look_at(buffer);
  buffer.used_bytes = 0;
  buffer.canary = static_cast<std::byte>(random_.next());
  std::ranges::fill(buffer.bytes, buffer.canary);
}

void WatchedBuffers::look_at(const Buffer& buffer) {
  const auto changed = [&](std::byte byte) { return byte != buffer.canary; };
  const auto begin = buffer.bytes.begin() + static_cast<ptrdiff_t>(buffer.used_bytes);
  const auto count = std::count_if(begin, buffer.bytes.end(), changed);
  if (count == 0 || !finding_.empty()) return;
  finding_ = std::to_string(count) + " bytes came into memory that no request was using";
}

void WatchedBuffers::look() {
  for (const Buffer& buffer : buffers_) look_at(buffer);
}

void WatchedBuffers::end() {
  look();
  for (Buffer& buffer : buffers_) {
    if (buffer.known) fabric_.remove_memory(buffer.memory());
  }
  buffers_.clear();
}

}  // namespace gd2fs::sim
