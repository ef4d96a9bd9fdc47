#include "fabric/rdma_queue.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <sys/mman.h>

namespace gd2fs {
namespace {

constexpr size_t kBuffersBytes =
    size_t{RdmaQueue::kReceiveDepth + RdmaQueue::kBuffers} * RdmaQueue::kBufferBytes;

// A device that does not take a step of ours says `invalid`, of a pair that broke meanwhile too. To
// who connects that is trouble that may pass, and not what a peer has to say about it.
Status as_trouble(const Status& status) {
  if (!status.is(StatusCode::invalid)) return status;
  return {StatusCode::unavailable, status.text(), status.errno_value()};
}

}  // namespace

Result<std::unique_ptr<RdmaQueue>> RdmaQueue::make(const std::shared_ptr<const verbs::Nic>& nic,
                                                   verbs::CompletionQueue* completions,
                                                   uint32_t first_packet) {
  std::unique_ptr<RdmaQueue> queue(new RdmaQueue);
  queue->nic_ = nic;
  void* memory =
      mmap(nullptr, kBuffersBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(Status::from_errno(errno, "message buffers"));
  queue->buffers_ = static_cast<std::byte*>(memory);
  // A child of a fork must not take pages away from the NIC.
  madvise(memory, kBuffersBytes, MADV_DONTFORK);
  GD2FS_ASSIGN(queue->region_, nic->register_memory(memory, kBuffersBytes, verbs::Use::message));
  queue->message_key_ = queue->region_->local_key();
  auto pair = verbs::QueuePair::make(nic, *completions, {kSendDepth, kReceiveDepth}, first_packet);
  if (!pair.has_value()) return fail(as_trouble(pair.error()));
  queue->pair_ = std::move(*pair);
  return queue;
}

RdmaQueue::~RdmaQueue() {
  detach();
  pair_.reset();
  region_.reset();
  if (buffers_ != nullptr) munmap(buffers_, kBuffersBytes);
}

Status RdmaQueue::join(RdmaPort& port, const RdmaPeer& peer) {
  CHECK(port_ == nullptr);
  GD2FS_TRY(port.attach(*this));
  port_ = &port;
  peer_buffers_ = credits_ = peer.buffers;
  peer_solicits_ = peer.solicits;
  for (uint32_t buffer = 0; buffer < kReceiveDepth; ++buffer) GD2FS_TRY(post_receive(buffer));
  return as_trouble(pair_->connect(peer.address));
}

void RdmaQueue::attached(uint16_t slot, uint16_t generation) {
  slot_ = slot;
  id_base_ = uint64_t{generation} << 48 | uint64_t{slot} << 32;
}

void RdmaQueue::detach() {
  if (port_ != nullptr) std::exchange(port_, nullptr)->detach(*this);
}

void RdmaQueue::break_off(Status why) {
  if (!ok() || port_ == nullptr) return;
  broken_ = std::move(why);
  port_->make_ready(*this);
}

// --- sending ---

// Only what our work requests use is filled in: the rest of all of them is zero from the start.
ibv_send_wr& RdmaQueue::add(const Work& work, ibv_wr_opcode opcode) {
  CHECK(added_ - done_ < kSendDepth);
  const uint32_t index = added_++;
  const uint32_t at = index % kRing;
  work_[at] = work;
  ibv_send_wr& request = requests_[at];
  request.wr_id = id_of(index);
  request.next = nullptr;
  request.sg_list = &parts_[at];
  request.num_sge = work.length_bytes > 0 ? 1 : 0;
  request.opcode = opcode;
  request.send_flags = 0;
  if (index != posted_) requests_[(index - 1) % kRing].next = &request;
  return request;
}

void RdmaQueue::add_message(uint32_t buffer, uint32_t length_bytes) {
  Work work;
  work.length_bytes = length_bytes;
  work.buffer = length_bytes > 0;
  work.credit = !work.buffer;
  wants_signal_ |= work.credit;
  ibv_send_wr& request = add(work, IBV_WR_SEND_WITH_IMM);
  request.imm_data = htonl(std::exchange(to_return_, 0));
  if (work.buffer) request.send_flags = IBV_SEND_SOLICITED;
  *request.sg_list = {
      reinterpret_cast<uintptr_t>(buffers_) + uint64_t{kReceiveDepth + buffer} * kBufferBytes,
      length_bytes, message_key_};
}

void RdmaQueue::knock() {
  CHECK(added_ == 0);
  ++credit_work_;
  add_message(0, 0);
  post();
}

size_t RdmaQueue::send(std::span<iovec> parts) {
  if (!has_room()) {
    if (ok() && credits_ == 0 && port_ != nullptr) ++port_->counters().credit_waits;
    return 0;
  }
  std::byte* const buffer = buffers_ + size_t{kReceiveDepth + next_buffer_} * kBufferBytes;
  size_t length = 0;
  for (const iovec& part : parts) {
    const size_t count = std::min<size_t>(part.iov_len, kBufferBytes - length);
    std::memcpy(buffer + length, part.iov_base, count);
    length += count;
    if (length == kBufferBytes) break;
  }
  if (length == 0) return 0;
  --buffers_free_;
  --credits_;
  add_message(next_buffer_, static_cast<uint32_t>(length));
  next_buffer_ = (next_buffer_ + 1) % kBuffers;
  return length;
}

void RdmaQueue::add_move(const Range& range, ibv_wr_opcode opcode, const Work& work) {
  CHECK(can_move());
  ++data_work_;
  wants_signal_ = true;
  ibv_send_wr& request = add(work, opcode);
  request.wr.rdma.remote_addr = range.remote;
  request.wr.rdma.rkey = range.remote_key;
  *request.sg_list = {reinterpret_cast<uintptr_t>(range.local), range.length_bytes,
                      range.local_key};
}

void RdmaQueue::write(const Range& range, Push& push, uint32_t pushes) {
  Work work;
  work.push = &push;
  work.pushes = pushes;
  work.length_bytes = range.length_bytes;
  add_move(range, IBV_WR_RDMA_WRITE, work);
}

void RdmaQueue::read(const Range& range, Pull& pull) {
  Work work;
  work.pull = &pull;
  work.length_bytes = range.length_bytes;
  add_move(range, IBV_WR_RDMA_READ, work);
}

void RdmaQueue::post() {
  if (!ok() || port_ == nullptr) return;
  if (to_return_ >= kBuffers / 2 && credit_work_ < kCreditBuffers) {
    ++credit_work_;
    add_message(0, 0);
  }
  if (posted_ == added_) return;
  for (uint32_t n = kSignalEvery; n < added_ - posted_; n += kSignalEvery) {
    requests_[(posted_ + n) % kRing].send_flags |= IBV_SEND_SIGNALED;
  }
  if (wants_signal_ || added_ - signaled_ >= kQuietMax) {
    requests_[(added_ - 1) % kRing].send_flags |= IBV_SEND_SIGNALED;
    signaled_ = added_;
    wants_signal_ = false;
  }
  ibv_send_wr* bad = nullptr;
  const int error = ibv_post_send(pair_->get(), &requests_[posted_ % kRing], &bad);
  posted_ = added_;
  if (error != 0) break_off(verbs::failure(error, nic_->name() + ": ibv_post_send"));
}

// --- completions ---

void RdmaQueue::on_completion(const ibv_wc& completion) {
  if (!ok()) return;
  if (completion.status != IBV_WC_SUCCESS) {
    return break_off(Status(StatusCode::unavailable,
                            nic_->name() + ": " + nic_->library().wc_status_text(completion.status),
                            EIO));
  }
  if (completion.opcode == IBV_WC_RECV) return take_received(completion);
  retire(static_cast<uint32_t>(completion.wr_id));
}

// That work request and all before it are done.
void RdmaQueue::retire(uint32_t index) {
  if (index - done_ >= posted_ - done_) return break_off(Status(StatusCode::io, "completion id"));
  const bool quiet = answered() && has_room() && can_move();
  while (done_ != index + 1) {
    const Work work = work_[done_++ % kRing];
    if (work.buffer) ++buffers_free_;
    if (work.credit) --credit_work_;
    if (work.push == nullptr && work.pull == nullptr) continue;
    --data_work_;
    owner_->on_work_done(work);
  }
  if (!quiet) port_->make_ready(*this);
}

void RdmaQueue::take_received(const ibv_wc& completion) {
  const auto buffer = static_cast<uint32_t>(completion.wr_id);
  const bool had_room = has_room();
  if ((completion.wc_flags & IBV_WC_WITH_IMM) != 0) {
    const uint32_t returned = ntohl(completion.imm_data);
    if (returned > peer_buffers_ - credits_) {
      return break_off(Status(StatusCode::invalid, "the peer returns more buffers than there are"));
    }
    credits_ += returned;
  }
  if (completion.byte_len == 0) {
    const Status posted = post_receive(buffer);
    if (!posted.ok()) return break_off(posted);
    if (!had_room) port_->make_ready(*this);
    return;
  }
  received_.push_back({buffer, completion.byte_len, 0});
  port_->make_ready(*this);
}

size_t RdmaQueue::receive(std::span<iovec> parts) {
  size_t total = 0;
  size_t done = 0;  // of parts.front()
  while (!parts.empty() && !received_.empty()) {
    Received& front = received_.front();
    const size_t count =
        std::min<size_t>(parts.front().iov_len - done, front.length_bytes - front.taken_bytes);
    std::memcpy(static_cast<std::byte*>(parts.front().iov_base) + done,
                buffers_ + size_t{front.buffer} * kBufferBytes + front.taken_bytes, count);
    total += count;
    done += count;
    front.taken_bytes += static_cast<uint32_t>(count);
    if (done == parts.front().iov_len) {
      parts = parts.subspan(1);
      done = 0;
    }
    if (front.taken_bytes < front.length_bytes) continue;
    const Status posted = post_receive(front.buffer);
    received_.pop_front();
    ++to_return_;
    if (!posted.ok()) break_off(posted);
  }
  return total;
}

Status RdmaQueue::post_receive(uint32_t buffer) {
  ibv_sge part{reinterpret_cast<uintptr_t>(buffers_) + uint64_t{buffer} * kBufferBytes,
               kBufferBytes, message_key_};
  ibv_recv_wr request{};
  request.wr_id = id_of(buffer);
  request.sg_list = &part;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  const int error = ibv_post_recv(pair_->get(), &request, &bad);
  if (error == 0) return {};
  return verbs::failure(error, nic_->name() + ": ibv_post_recv");
}

}  // namespace gd2fs
