#include "fabric/lane_pumps.h"

#include <algorithm>
#include <system_error>

#include "base/cores.h"
#include "base/log.h"
#include "base/quiet_thread.h"
#include "wire/frame.h"

namespace gd2fs {

LanePumps::LanePumps(uint32_t pumps_max, std::function<void(const CheckFailure&)> on_broken)
    : pumps_max_(std::min(pumps_max, kPumpsMax)), on_broken_(std::move(on_broken)) {
  CHECK(pumps_max_ > 0);
  pumps_.reserve(pumps_max_);
}

LanePumps::~LanePumps() {
  stop();
  // What was put to rest meanwhile.
  for (auto& pump : pumps_) {
    while (pump->loop.run_queued() > 0) {
    }
  }
}

std::shared_ptr<LanePumps> LanePumps::of_this_machine(
    uint32_t pumps_min, std::function<void(const CheckFailure&)> on_broken) {
  const uint32_t cores = usable_cores();
  const uint32_t pumps = std::max(pumps_min, cores < kCoresMin ? 0 : cores);
  if (pumps == 0) return nullptr;
  return std::make_shared<LanePumps>(pumps, std::move(on_broken));
}

uint32_t LanePumps::lanes_of_this_machine() {
  return std::clamp(usable_cores() / 2, kLanesMin, kLanesMax);
}

LanePump* LanePumps::take() {
  LanePump* best = nullptr;
  for (auto& pump : pumps_) {
    if (best == nullptr || pump->lanes < best->lanes) best = pump.get();
  }
  if ((best == nullptr || best->lanes > 0) && pumps_.size() < pumps_max_) {
    auto pump = std::make_unique<LanePump>(clock_);
    try {
      start(*pump);
      epoll_fds_[pumps_.size()].store(pump->loop.epoll_fd() + 1, std::memory_order_relaxed);
      best = pumps_.emplace_back(std::move(pump)).get();
    } catch (const std::system_error& failure) {
      GD2FS_LOG_WARN("no thread more for lanes, those that are there do it: {}", failure.what());
    }
  }
  if (best != nullptr) ++best->lanes;
  return best;
}

void LanePumps::give_back(LanePump& pump) {
  --pump.lanes;
}

void LanePumps::start(LanePump& pump) {
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  pump.thread = start_quiet_thread("gd2fs-lane", [this, &pump] { run(pump); });
}

void LanePumps::run(LanePump& pump) const {
  try {
    pump.loop.run(kSpinNs);
  } catch (const CheckFailure& failure) {
    if (on_broken_) on_broken_(failure);
  } catch (const std::exception& failure) {  // out of memory, most likely
    if (on_broken_) on_broken_(CheckFailure{failure.what()});
  }
}

void LanePumps::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  for (auto& pump : pumps_) {
    pump->loop.stop();
    if (pump->thread.joinable()) pump->thread.join();
  }
}

}  // namespace gd2fs
