// ShmListener: takes clients of this host at a unix socket, and gives each the memory of its own
// ShmServerSession. Greeting, tokens and limits are TcpListener's. One loop.
#pragma once

#include "fabric/huge_page_taker.h"
#include "fabric/same_host.h"
#include "fabric/tcp_listener.h"
#include "loop/slice_pool.h"

namespace gd2fs {

class ShmListener final : public TcpListener {
 public:
  // `copies` takes what clients stage, from memory for which `pages` takes huge pages; both outlive
  // the sessions.
  ShmListener(Loop& loop, const TcpOptions& tcp, SlicePool& copies, HugePageTaker& pages,
              TcpSocket socket, HostDoor door, ListenOptions options, OnSession on_session);
  ~ShmListener() override { remove_host_door(door_); }

 private:
  Result<std::string> set_up(const TcpSocket& socket) const override;
  std::vector<std::string> keys_for(const HelloFacts& hello) const override;
  Task<Result<std::unique_ptr<TcpSession>>> make_session(TcpGreeting* greeting, Peer peer,
                                                         uint64_t number,
                                                         const ServerHandshake* handshake) override;

  SlicePool& copies_;
  HugePageTaker& pages_;
  HostDoor door_;
};

}  // namespace gd2fs
