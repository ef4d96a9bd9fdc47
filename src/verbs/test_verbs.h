// TestVerbs: the controls of the fake NICs (tests/fake_verbs) for tests, which name its library
// before anybody loads another.
#pragma once

#include <cstdlib>
#include <dlfcn.h>
#include <type_traits>

#include <gtest/gtest.h>

#include "tests/fake_verbs/fake_verbs.h"
#include "verbs/verbs.h"

namespace gd2fs::verbs {

class TestVerbs {
 public:
  static TestVerbs& instance() {
    static TestVerbs verbs;
    return verbs;
  }
  fake_verbs_counts counts(int device) const {
    fake_verbs_counts counts{};
    get_counts(device, &counts);
    return counts;
  }

  void (*set_delay_ns)(uint64_t delay_ns) = nullptr;
  void (*hold)(int device, int held) = nullptr;
  void (*hold_after)(int transfers) = nullptr;
  void (*lose)(int count) = nullptr;
  void (*break_pairs)(int device) = nullptr;
  void (*set_port)(int device, int active) = nullptr;
  void (*set_events)(int on) = nullptr;
  void (*fail_device)(int device) = nullptr;
  void (*remove_device)(int device) = nullptr;
  void (*insert_device)(int device) = nullptr;
  void (*set_infiniband)(int device, int on) = nullptr;
  void (*set_subnet)(int device, uint16_t lid, uint64_t prefix) = nullptr;
  void (*keep_from_gpus)(int device, int kept) = nullptr;
  void (*cut)(int one, int other, int cut) = nullptr;
  void (*slow)(int device, uint64_t transfer_ns) = nullptr;
  void (*refuse_registrations)(int count, int error) = nullptr;
  void (*set_max_mr_size)(uint64_t length_bytes) = nullptr;
  void (*let_late_bytes_through)(int through) = nullptr;
  void (*open_all_memory)(int open) = nullptr;
  void (*lie_about_refusals)(int lie) = nullptr;
  void (*lose_credit)(int lost) = nullptr;
  void (*manual)(int manual) = nullptr;
  uint64_t (*step)(uint64_t choice) = nullptr;
  void (*reset)() = nullptr;
  void (*get_counts)(int device, fake_verbs_counts* counts) = nullptr;
  uint64_t (*queued)() = nullptr;
  uint32_t (*key_at)(int device, const void* address) = nullptr;

 private:
  TestVerbs() {
    setenv("GD2FS_VERBS_LIBRARY", GD2FS_FAKE_VERBS, 1);  // NOLINT(concurrency-mt-unsafe)
    void* library = dlopen(GD2FS_FAKE_VERBS, RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(library, nullptr);
    const auto find = [&](const char* name, auto* out) {
      *out = reinterpret_cast<std::remove_pointer_t<decltype(out)>>(dlsym(library, name));
      EXPECT_NE(*out, nullptr) << name;
    };
    find("fake_verbs_set_delay_ns", &set_delay_ns);
    find("fake_verbs_hold", &hold);
    find("fake_verbs_hold_after", &hold_after);
    find("fake_verbs_lose", &lose);
    find("fake_verbs_break", &break_pairs);
    find("fake_verbs_set_port", &set_port);
    find("fake_verbs_set_events", &set_events);
    find("fake_verbs_fail_device", &fail_device);
    find("fake_verbs_remove_device", &remove_device);
    find("fake_verbs_insert_device", &insert_device);
    find("fake_verbs_set_infiniband", &set_infiniband);
    find("fake_verbs_set_subnet", &set_subnet);
    find("fake_verbs_keep_from_gpus", &keep_from_gpus);
    find("fake_verbs_cut", &cut);
    find("fake_verbs_slow", &slow);
    find("fake_verbs_refuse_registrations", &refuse_registrations);
    find("fake_verbs_set_max_mr_size", &set_max_mr_size);
    find("fake_verbs_let_late_bytes_through", &let_late_bytes_through);
    find("fake_verbs_open_all_memory", &open_all_memory);
    find("fake_verbs_lie_about_refusals", &lie_about_refusals);
    find("fake_verbs_lose_credit", &lose_credit);
    find("fake_verbs_manual", &manual);
    find("fake_verbs_step", &step);
    find("fake_verbs_reset", &reset);
    find("fake_verbs_get_counts", &get_counts);
    find("fake_verbs_queued", &queued);
    find("fake_verbs_key_at", &key_at);
  }
};

}  // namespace gd2fs::verbs
