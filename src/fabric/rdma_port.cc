#include "fabric/rdma_port.h"

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fabric/rdma_queue.h"

namespace gd2fs {
namespace {

// What kernels report for both files of a device that is no more.
constexpr uint32_t kRemoved = EPOLLERR | EPOLLHUP;

}  // namespace

RdmaCounters& RdmaCounters::operator+=(const RdmaCounters& other) {
  written_bytes += other.written_bytes;
  read_bytes += other.read_bytes;
  copied_windows += other.copied_windows;
  copied_bytes += other.copied_bytes;
  credit_waits += other.credit_waits;
  recalls += other.recalls;
  broken += other.broken;
  return *this;
}

RdmaPort::RdmaPort(Loop& loop, std::shared_ptr<const verbs::Nic> nic)
    : loop_(loop), nic_(std::move(nic)) {
  watch_.bind<&RdmaPort::on_event>(this);
  device_watch_.bind<&RdmaPort::on_device_event>(this);
  held_.bind<&RdmaPort::on_held>(this);
}

Result<std::shared_ptr<RdmaPort>> RdmaPort::open(Loop& loop,
                                                 std::shared_ptr<const verbs::Nic> nic) {
  std::shared_ptr<RdmaPort> port(new RdmaPort(loop, std::move(nic)));
  GD2FS_ASSIGN(port->channel_, verbs::CompletionChannel::make(port->nic_));
  return port;
}

RdmaPort::~RdmaPort() {
  loop_.remove(*this);
  loop_.unwatch(watch_);
  loop_.unwatch(device_watch_);
}

Status RdmaPort::start() {
  loop_.add(*this);
  if (loop_.epoll_fd() < 0) return {};  // of a simulation: it looks at pollers in every turn
  GD2FS_TRY(loop_.watch(watch_, channel_->fd(), EPOLLIN));
  GD2FS_TRY(loop_.watch(device_watch_, nic_->events_fd(), EPOLLIN));
  return {};
}

// Owns itself until the worker has brought the answer.
struct RdmaPort::Question {
  Job job;
  std::shared_ptr<RdmaPort> port;
  std::shared_ptr<uint32_t> busy;
  bool up = false;
  uint32_t told = 0;
  void on_done(Completion&) {
    // What the device has said meanwhile is newer.
    if (port->told_ == told && port->up_ != up) {
      GD2FS_LOG_WARN("{} is {}", port->nic_->name(), up ? "up again" : "down");
      port->up_ = up;
    }
    port->asking_ = false;
    --*busy;
    delete this;
  }
};

void RdmaPort::ask_whether_up(Worker& worker, const std::shared_ptr<uint32_t>& busy) {
  if (gone() || std::exchange(asking_, true)) return;
  ++*busy;
  auto* question = new Question;
  question->port = shared_from_this();
  question->busy = busy;
  question->up = up_;  // if the worker has no room
  question->told = told_;
  question->job.run = [question]() -> Status {
    question->up = question->port->nic_->find_again().has_value();
    return {};
  };
  question->job.done.bind<&Question::on_done>(question);
  worker.submit(loop_, question->job);
}

RdmaEntries::~RdmaEntries() {
  if (port_ != nullptr) port_->give_back(queue_, count_);
}

RdmaEntries RdmaPort::take_entries(int entries) {
  for (Completions& each : completions_) {
    if (each.entries_left < entries) continue;
    each.entries_left -= entries;
    return {shared_from_this(), each.queue.get(), entries};
  }
  return {};
}

void RdmaPort::give_back(const verbs::CompletionQueue* queue, int entries) {
  for (Completions& each : completions_) {
    if (each.queue.get() == queue) each.entries_left += entries;
  }
}

Result<std::unique_ptr<verbs::CompletionQueue>> RdmaPort::make_completions(
    const std::shared_ptr<RdmaPort>& port) {
  const int size = std::min(kQueueEntries, port->nic_->limits().max_cqe);
  return verbs::CompletionQueue::make(port->nic_, size, *port->channel_);
}

void RdmaPort::add_completions(std::unique_ptr<verbs::CompletionQueue> queue) {
  const int size = std::min(kQueueEntries, nic_->limits().max_cqe);
  // Some room is for what destroyed queue pairs leave behind until it is polled.
  completions_.push_back({std::move(queue), size - size / 4});
}

Status RdmaPort::attach(RdmaQueue& queue) {
  if (gone()) return {StatusCode::unavailable, nic_->name() + ": the device is gone"};
  if (free_slots_.empty()) {
    if (slots_.size() >= kQueuesMax) {
      return {StatusCode::busy, nic_->name() + ": queue_pairs_max reached"};
    }
    free_slots_.push_back(static_cast<uint16_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint16_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot].queue = &queue;
  queue.attached(slot, slots_[slot].generation);
  return {};
}

void RdmaPort::detach(RdmaQueue& queue) {
  static_cast<ListNode<>&>(queue).unlink();
  Slot& slot = slots_[queue.slot()];
  slot.queue = nullptr;
  ++slot.generation;
  free_slots_.push_back(queue.slot());
}

void RdmaPort::make_ready(RdmaQueue& queue) {
  if (!static_cast<ListNode<>&>(queue).linked()) ready_.push_back(queue);
}

size_t RdmaPort::poll() {
  size_t did = 0;
  for (Completions& each : completions_) did += take(each.queue->get());
  if (ready_.empty()) return did;
  // Those that become ready again, or only now, have their turn in the next look.
  for (size_t left = ready_.count(); left > 0 && !ready_.empty(); --left) {
    ++did;
    ready_.pop_front()->on_ready();  // may end the queue
  }
  return did;
}

size_t RdmaPort::take(ibv_cq* queue) {
  if (gone()) return 0;
  ibv_wc entries[kEntriesAtOnce];
  const int count = ibv_poll_cq(queue, kEntriesAtOnce, entries);
  if (count < 0) {
    // The device is gone; its queue pairs are found broken by pings.
    GD2FS_LOG_ERROR("{}: ibv_poll_cq failed", nic_->name());
    return 0;
  }
  for (int i = 0; i < count; ++i) deliver(entries[i]);
  return static_cast<size_t>(count);
}

void RdmaPort::deliver(const ibv_wc& completion) {
  const auto slot = static_cast<uint16_t>(completion.wr_id >> 32);
  const auto generation = static_cast<uint16_t>(completion.wr_id >> 48);
  if (slot >= slots_.size() || slots_[slot].generation != generation) return;
  RdmaQueue* queue = slots_[slot].queue;
  if (queue != nullptr) queue->on_completion(completion);
}

RdmaPort::Wanted RdmaPort::wanted() const {
  Wanted all;
  all.each_completion = slots_.size() > kAskedMax;
  if (all.each_completion) return all;
  for (const Slot& slot : slots_) {
    if (slot.queue == nullptr) continue;
    all.each_completion |= slot.queue->needs_each_completion();
    all.memory |= slot.queue->holds_memory();
  }
  return all;
}

bool RdmaPort::arm() {
  bool quiet = ready_.empty();
  const Wanted wants = wanted();
  const bool messages_alone = !wants.each_completion;
  for (Completions& each : completions_) {
    // What came before the question is found by looking once more.
    if (!gone() && ibv_req_notify_cq(each.queue->get(), messages_alone ? 1 : 0) != 0) return false;
    quiet = quiet && take(each.queue->get()) == 0;
  }
  if (quiet && messages_alone && wants.memory && !held_.running()) loop_.start(held_, kHeldMaxNs);
  return quiet && ready_.empty();
}

void RdmaPort::break_all(const Status& why) {
  poll();  // what has completed before is told first
  for (const Slot& slot : slots_) {
    if (slot.queue != nullptr) slot.queue->cut(why);
  }
}

// The queue pairs end with their sessions, and the port with the last of them.
void RdmaPort::leave(const Status& why) {
  if (gone()) return;
  GD2FS_LOG_ERROR("{}", why.to_string());
  poll();
  nic_->set_gone();
  up_ = false;
  ++told_;
  loop_.unwatch(watch_);
  loop_.unwatch(device_watch_);
  break_all(why);
}

void RdmaPort::on_device_event(uint32_t events) {
  using Event = verbs::Nic::Event;
  const ibv_qp* pair = nullptr;
  for (Event event; (event = nic_->take_event(&pair)) != Event::none;) {
    if (event == Event::port_up || event == Event::port_down) {
      up_ = event == Event::port_up;
      ++told_;
      GD2FS_LOG_WARN("{}: the device says that the port is {}", nic_->name(), up_ ? "up" : "down");
      if (!up_) break_all(Status(StatusCode::unavailable, nic_->name() + ": the port went down"));
    } else if (event == Event::device_failed) {
      return leave(Status(StatusCode::unavailable, nic_->name() + ": the device has failed", EIO));
    } else if (event == Event::pair_failed) {
      poll();
      for (const Slot& slot : slots_) {
        if (slot.queue == nullptr || !slot.queue->is(pair)) continue;
        slot.queue->cut(
            Status(StatusCode::unavailable, nic_->name() + ": the queue pair has failed", EIO));
      }
    }
  }
  if ((events & kRemoved) != 0) {
    leave(Status(StatusCode::unavailable, nic_->name() + ": the device was removed", ENODEV));
  }
}

// What has completed is found by the loop's look at its pollers, which follows. An armed queue
// gives one event; should there be more, the fd stays readable.
void RdmaPort::on_event(uint32_t events) {
  size_t left = completions_.size();
  while (left > 0 && channel_->take_event()) --left;
  if ((events & kRemoved) != 0) {
    leave(Status(StatusCode::unavailable, nic_->name() + ": the device was removed", ENODEV));
  }
}

}  // namespace gd2fs
