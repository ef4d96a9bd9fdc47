// A client whose lanes live on a lent loop, for loop_bench: one read at a time by the calling
// thread or by the I/O thread, or many stripes.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "bench/loop_peer.h"
#include "loop/loop_thread.h"

namespace gd2fs::bench {

class LoopClient {
 public:
  struct Settings {
    uint32_t lanes = 1;
    uint32_t window = 2;  // stripes asked for and not yet here, per lane
    uint64_t spin_ns = 0;
  };
  LoopClient(const Settings& settings, uint16_t port, Bytes memory)
      : settings_(settings), memory_(memory) {
    LoopThread::Options options;
    options.spin_ns = settings.spin_ns;
    auto thread = LoopThread::start(clock_, std::move(options));
    CHECK(thread.has_value());
    thread_ = std::move(*thread);
    run([&] {
      for (uint32_t i = 0; i < settings.lanes; ++i) {
        lanes_.push_back(
            std::make_unique<ClientLane>(thread_->loop(), connect_to(port), memory_,
                                         [this, i](const Ask& answer) { on_answer(i, answer); }));
      }
    });
  }
  ~LoopClient() {
    thread_->stop();
    lanes_.clear();
  }

  // The caller submits in place and drives until the answer is there.
  void read_driving(uint64_t offset) {
    WaitFlag flag(*thread_);
    flag_ = &flag;
    small_offset_ = offset;
    thread_->submit(ask_small_);
    CHECK(thread_->drive_until(flag, UINT64_MAX, settings_.spin_ns) == LoopThread::Woken::flag);
  }
  // The caller posts and sleeps: the I/O thread does all the work.
  void read_by_io_thread(uint64_t offset) {
    flag_ = nullptr;
    small_offset_ = offset;
    answered_.store(0, std::memory_order_relaxed);
    thread_->loop().post(ask_small_);
    while (answered_.load(std::memory_order_acquire) == 0) {
      futex_wait(answered_, 0, UINT64_MAX);
    }
  }
  void read_stripes() {
    WaitFlag flag(*thread_);
    flag_ = &flag;
    thread_->submit([this] {
      asked_bytes_ = answered_bytes_ = 0;
      lane_asks_.assign(lanes_.size(), 0);
      for (uint32_t lane = 0; lane < lanes_.size(); ++lane) ask_stripes(lane);
    });
    CHECK(thread_->drive_until(flag, UINT64_MAX, settings_.spin_ns) == LoopThread::Woken::flag);
  }
  template <class Job>
  void run(Job job) {
    WaitFlag flag(*thread_);
    thread_->submit([&] {
      job();
      flag.set();
    });
    CHECK(thread_->drive_until(flag, UINT64_MAX) == LoopThread::Woken::flag);
  }

 private:
  void ask_small() {
    const Ask ask{small_offset_, kSmallReadBytes, 0};
    lanes_[0]->ask({&ask, 1});
  }
  // Fills the lane's window once it is half empty, in one send: a send of 16 bytes costs as much as
  // one of many, since the kernel runs the other side's acknowledgements in it.
  void ask_stripes(uint32_t lane) {
    if (lane_asks_[lane] > settings_.window / 2) return;
    Ask asks[kWindowMax];
    uint32_t count = 0;
    for (; lane_asks_[lane] < settings_.window && asked_bytes_ < memory_.size(); ++count) {
      asks[count] = {asked_bytes_, kStripeBytes, 1};
      asked_bytes_ += kStripeBytes;
      ++lane_asks_[lane];
    }
    if (count > 0) lanes_[lane]->ask({asks, count});
  }
  void on_answer(uint32_t lane, const Ask& answer) {
    if (answer.tag == 1) {
      answered_bytes_ += answer.length_bytes;
      --lane_asks_[lane];
      ask_stripes(lane);
      if (answered_bytes_ < memory_.size()) return;
    }
    if (flag_ != nullptr) return flag_->set();
    answered_.store(1, std::memory_order_release);
    futex_wake_one(answered_);
  }

  Settings settings_;
  RealClock clock_;
  Bytes memory_;
  std::unique_ptr<LoopThread> thread_;
  std::vector<std::unique_ptr<ClientLane>> lanes_;
  struct AskSmall : Mail {
    explicit AskSmall(LoopClient* client) { bind<&LoopClient::ask_small>(client); }
  } ask_small_{this};
  uint64_t small_offset_ = 0;
  WaitFlag* flag_ = nullptr;
  std::atomic<uint32_t> answered_{0};
  uint64_t asked_bytes_ = 0;
  uint64_t answered_bytes_ = 0;
  std::vector<uint32_t> lane_asks_;
};

}  // namespace gd2fs::bench
