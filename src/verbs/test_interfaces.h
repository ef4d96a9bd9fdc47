// For tests: the network devices of this machine, and one of IPoIB for each of the first fake NICs:
// "ib0" has the address 127.0.0.1 and the hardware address of fake0's port, and so on. Found by
// whatever asks for them by getifaddrs(), since a program's own functions come before libc's. To be
// included by one source of a program.
#pragma once

#include <array>
#include <cstring>
#include <dlfcn.h>
#include <ifaddrs.h>

#include <arpa/inet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>

namespace gd2fs::verbs {

class TestInterfaces {
 public:
  static constexpr size_t kCount = 4;
  explicit TestInterfaces(ifaddrs* real) : real_(real) {
    for (size_t i = 0; i < kCount; ++i) {
      One& one = all_[i];
      one.name[2] = static_cast<char>('0' + i);
      one.label[2] = one.name[2];
      one.ip.sin_family = AF_INET;
      one.ip.sin_addr.s_addr = htonl(static_cast<uint32_t>(0x7f000001 + i));
      one.link.sll_family = AF_PACKET;
      one.link.sll_hatype = ARPHRD_INFINIBAND;
      one.link.sll_halen = 20;
      auto* hardware = reinterpret_cast<uint8_t*>(&one.link) + offsetof(sockaddr_ll, sll_addr);
      hardware[12] = 0x02;
      hardware[19] = static_cast<uint8_t>(i + 1);
      one.addresses[0].ifa_name = one.label;
      one.addresses[0].ifa_addr = reinterpret_cast<sockaddr*>(&one.ip);
      one.addresses[0].ifa_next = &one.addresses[1];
      one.addresses[1].ifa_name = one.name;
      one.addresses[1].ifa_addr = reinterpret_cast<sockaddr*>(&one.link);
      one.addresses[1].ifa_next = i + 1 < kCount ? &all_[i + 1].addresses[0] : real;
    }
  }
  ifaddrs* first() { return &all_[0].addresses[0]; }
  ifaddrs* real() const { return real_; }

 private:
  struct One {
    ifaddrs addresses[2]{};  // the first of all is where TestInterfaces is
    char name[8] = "ib?";
    char label[8] = "ib?:1";
    sockaddr_in ip{};
    sockaddr_ll link{};
    uint8_t rest_of_link[12]{};
  };
  std::array<One, kCount> all_;
  ifaddrs* real_;
};

}  // namespace gd2fs::verbs

// NOLINTBEGIN(misc-definitions-in-headers)
extern "C" int getifaddrs(ifaddrs** out) noexcept {
  static auto* const real = reinterpret_cast<int (*)(ifaddrs**)>(dlsym(RTLD_NEXT, "getifaddrs"));
  ifaddrs* all = nullptr;
  if (real(&all) != 0) return -1;
  *out = (new gd2fs::verbs::TestInterfaces(all))->first();
  return 0;
}
extern "C" void freeifaddrs(ifaddrs* all) noexcept {
  static auto* const real = reinterpret_cast<void (*)(ifaddrs*)>(dlsym(RTLD_NEXT, "freeifaddrs"));
  auto* made = reinterpret_cast<gd2fs::verbs::TestInterfaces*>(all);
  real(made->real());
  delete made;
}
// NOLINTEND(misc-definitions-in-headers)
