// The client's end of RDMA: windows shown to the server, and taken back.
#include "base/log.h"
#include "fabric/rdma_session.h"
#include "fabric/stripes.h"

namespace gd2fs {

RdmaClientSession::RdmaClientSession(Loop& loop, const TcpOptions& options, Peer peer,
                                     uint64_t number, std::string session_key, RdmaShared shared,
                                     std::unique_ptr<RdmaQueue> queue)
    : RdmaSession(loop, options, std::move(peer), number, std::move(session_key), std::move(shared),
                  std::move(queue)) {
  recall_late_.bind<&RdmaClientSession::on_recall_late>(this);
}

RdmaClientSession::~RdmaClientSession() {
  destroy_queue();
  on_queue_gone();
}

// Lists where the window lies. False: some of it has no keys, or it is too long a list.
bool RdmaClientSession::list(const Window& window) {
  constexpr size_t kListKept = 64;  // of what one huge window needed
  if (show_list_.capacity() > kListKept) show_list_ = std::vector<RemoteSegment>();
  show_list_.clear();
  for (const MemorySegment& segment : window.segments) {
    for (uint64_t done = 0; done < segment.length_bytes;) {
      const std::byte* const at = segment.data + done;
      const RdmaMemory::Part part = find_memory(at, segment.length_bytes - done, segment.region);
      if (part.length_bytes == 0 || show_list_.size() == kListMax) return false;
      show_list_.push_back(
          {reinterpret_cast<uintptr_t>(at), part.length_bytes, part.remote_key, 0});
      done += part.length_bytes;
    }
  }
  return true;
}

std::optional<uint32_t> RdmaClientSession::distance_to(const MemorySegment& memory) {
  if (!memory_covers(memory.data, memory.length_bytes, memory.region)) return std::nullopt;
  const RdmaMemory::Part part = find_memory(memory.data, memory.length_bytes, memory.region);
  return static_cast<uint32_t>(part.distance);
}

// A request and the list in one frame.
void RdmaClientSession::send_with_window(uint16_t type, Window& window, ConstBytes body) {
  const ConstBytes segments =
      as_bytes(show_list_.data(), show_list_.size() * sizeof(RemoteSegment));
  FrameHeader header;
  header.kind = FrameKind::window;
  if (window.direction == Window::Direction::source) header.type |= kWindowSource;
  if (window.device) header.type |= kWindowDevice;
  header.request_id = window.request_id;
  header.offset = segments.size();
  header.length = type;
  queue_frame(header, body, {}, segments);
  window.shown = true;
}

Status RdmaClientSession::send(uint16_t type, uint64_t request_id, ConstBytes body,
                               Window* window) {
  GD2FS_TRY(may_send(body.size()));
  const bool bulk = window != nullptr && request_id != 0 && window->total_bytes > 0 &&
                    (window->device || window->direction == Window::Direction::sink ||
                     window->total_bytes > kEagerMaxBytes);
  if (bulk && body.size() <= kListedBodyMaxBytes && list(*window)) {
    send_with_window(type, *window, body);
    return {};
  }
  if (bulk && window->device) {
    return {StatusCode::unsupported, "GPU memory that is not registered with " + nic().name()};
  } else if (bulk) {
    ++counters().copied_windows;
    if (!std::exchange(said_copied_, true)) {
      GD2FS_LOG_WARN("{}: memory that is not registered with {} is copied on its way",
                     peer().address, nic().name());
    }
  }
  return TcpSession::send(type, request_id, body, window);
}

Status RdmaClientSession::take_special(InFrame& frame) {
  if (frame.header.kind != FrameKind::recalled) {
    return {StatusCode::invalid, "a frame that only a client sends over RDMA, or nobody"};
  }
  for (auto recall = recalls_.begin(); recall != recalls_.end(); ++recall) {
    if (recall->request_id != frame.header.request_id) continue;
    loop_.complete(*recall->done, Status());
    recalls_.erase(recall);
    return {};
  }
  return {StatusCode::invalid, "the peer gave back what nobody asked for"};
}

// The reply came behind the last byte that the server moved.
Status RdmaClientSession::take_reply(InFrame& frame) {
  const FrameHeader& header = frame.header;
  if (Window* const window = window_of(header.request_id)) {
    if (header.length > window->total_bytes - std::min(window->moved_bytes, window->total_bytes) &&
        window->direction == Window::Direction::sink) {
      return {StatusCode::invalid, "the reply does not match the bytes pushed for it"};
    }
    window->moved_bytes = std::min(window->moved_bytes + header.length, window->total_bytes);
    window->shown = false;
  }
  return TcpSession::take_reply(frame);
}

// --- the memory comes back ---

void RdmaClientSession::withdraw(Window& window, Completion& done) {
  done.start();
  const bool shown = std::exchange(window.shown, false);
  forget_window(window);
  if (!shown || queue_gone()) return loop_.complete(done, Status());
  recalls_.push_back({window.request_id, loop_.now_ns() + kRecallMaxNs, &done});
  if (closing_) return;  // it ends with the queue pair
  ++counters().recalls;
  send_bare(FrameKind::recall, window.request_id);
  if (!recall_late_.running()) loop_.start(recall_late_, kRecallMaxNs);
}

void RdmaClientSession::on_recall_late(Completion&) {
  if (closing_ || recalls_.empty()) return;
  const uint64_t end_ns = recalls_.front().end_ns;
  if (end_ns > loop_.now_ns()) return loop_.start_at(recall_late_, end_ns);
  fail(Status(StatusCode::timed_out, "the server does not give memory back; it is cut off"));
}

void RdmaClientSession::on_queue_gone() {
  loop_.cancel(recall_late_);
  for (const Recall& recall : recalls_) loop_.complete(*recall.done, Status());
  recalls_.clear();
}

}  // namespace gd2fs
