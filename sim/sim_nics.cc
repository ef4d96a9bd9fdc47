#include "sim/sim_nics.h"

#include <cerrno>
#include <cstdlib>
#include <dlfcn.h>
#include <type_traits>

#include "base/check.h"
#include "tests/fake_verbs/fake_verbs.h"

namespace gd2fs {

// The library's, which is named before anybody loads another.
struct SimNics::Controls {
  static const Controls& instance() {
    static const Controls controls;
    return controls;
  }
  Controls() {
    setenv("GD2FS_VERBS_LIBRARY", GD2FS_FAKE_VERBS, 1);  // NOLINT(concurrency-mt-unsafe)
    void* library = dlopen(GD2FS_FAKE_VERBS, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != nullptr);
    const auto find = [&](const char* name, auto* out) {
      *out = reinterpret_cast<std::remove_pointer_t<decltype(out)>>(dlsym(library, name));
      CHECK(*out != nullptr);
    };
    find("fake_verbs_hold", &hold);
    find("fake_verbs_cut", &cut);
    find("fake_verbs_lose", &lose);
    find("fake_verbs_break", &break_pairs);
    find("fake_verbs_refuse_registrations", &refuse_registrations);
    find("fake_verbs_forge_keys", &forge_keys);
    find("fake_verbs_open_all_memory", &open_all_memory);
    find("fake_verbs_set_events", &set_events);
    find("fake_verbs_manual", &manual);
    find("fake_verbs_step", &step);
    find("fake_verbs_ready", &ready);
    find("fake_verbs_get_counts", &get_counts);
    find("fake_verbs_reset", &reset);
  }
  decltype(&fake_verbs_hold) hold = nullptr;
  decltype(&fake_verbs_cut) cut = nullptr;
  decltype(&fake_verbs_lose) lose = nullptr;
  decltype(&fake_verbs_break) break_pairs = nullptr;
  decltype(&fake_verbs_refuse_registrations) refuse_registrations = nullptr;
  decltype(&fake_verbs_forge_keys) forge_keys = nullptr;
  decltype(&fake_verbs_open_all_memory) open_all_memory = nullptr;
  decltype(&fake_verbs_set_events) set_events = nullptr;
  decltype(&fake_verbs_manual) manual = nullptr;
  decltype(&fake_verbs_step) step = nullptr;
  decltype(&fake_verbs_ready) ready = nullptr;
  decltype(&fake_verbs_get_counts) get_counts = nullptr;
  decltype(&fake_verbs_reset) reset = nullptr;
};

namespace {
bool in_use = false;
}  // namespace

SimNics::SimNics(SimWorld& world)
    : controls_(Controls::instance()),
      random_(world.random().fork()),
      loop_(world.clock(), Loop::Waits::never),
      member_(world, loop_) {
  CHECK(!std::exchange(in_use, true));
  step_.bind<&SimNics::on_step>(this);
  loop_.add(*this);
  controls_.reset();
  controls_.manual(1);
  controls_.set_events(0);
  moved_before_ = ever_moved();
  refused_keys_before_ = ever_refused_keys();
}

SimNics::~SimNics() {
  loop_.remove(*this);
  controls_.reset();
  in_use = false;
}

// Every post comes of a call that some loop has made, and is seen in the round after it.
size_t SimNics::poll() {
  if (step_.running() || step_.fired.pending() || controls_.ready() == 0) return 0;
  const bool slow = random_.chance(1, 100);
  loop_.start(step_, random_.below(slow ? kSlowStepMaxNs : kStepMaxNs));
  return 0;
}

void SimNics::on_step(Completion&) {
  controls_.step(random_.next());
}

void SimNics::hold(int device, bool held) {
  controls_.hold(device, held ? 1 : 0);
}

void SimNics::cut(int one, int other, bool cut) {
  controls_.cut(one, other, cut ? 1 : 0);
}

void SimNics::lose(uint32_t count) {
  controls_.lose(static_cast<int>(count));
}

void SimNics::break_pairs(int device) {
  controls_.break_pairs(device);
}

void SimNics::refuse_registrations(uint32_t count) {
  controls_.refuse_registrations(static_cast<int>(count), ENOMEM);
}

void SimNics::forge_keys(uint32_t count, uint64_t choice) {
  controls_.forge_keys(static_cast<int>(count), choice);
}

void SimNics::open_all_memory() {
  controls_.open_all_memory(1);
}

void SimNics::heal_all() {
  forge_keys(0, 0);
  lose(0);
  refuse_registrations(0);
  hold(-1, false);
  for (int one = 0; one < kDevices; ++one) {
    for (int other = 0; other < one; ++other) cut(one, other, false);
  }
}

SimNicBytes SimNics::ever_moved() const {
  SimNicBytes sum;
  for (int device = 0; device < kDevices; ++device) {
    fake_verbs_counts counts{};
    controls_.get_counts(device, &counts);
    sum.written += counts.write_bytes;
    sum.read += counts.read_bytes;
  }
  return sum;
}

uint64_t SimNics::ever_refused_keys() const {
  uint64_t sum = 0;
  for (int device = 0; device < kDevices; ++device) {
    fake_verbs_counts counts{};
    controls_.get_counts(device, &counts);
    sum += counts.refused_keys;
  }
  return sum;
}

SimNicBytes SimNics::moved() const {
  const SimNicBytes now = ever_moved();
  return {now.written - moved_before_.written, now.read - moved_before_.read};
}

}  // namespace gd2fs
