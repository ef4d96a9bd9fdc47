// TcpListener: takes connections, lets those in who prove themselves, and hands their sessions out.
// Each connection is greeted by a coroutine of its own; the oldest greeting makes room for a new
// one when there are too many, since an honest one takes milliseconds. A client on this host that
// would like shared memory is sent on to the unix socket (shm_listener.h), if there is one. One
// loop.
#pragma once

#include <list>
#include <memory>

#include "fabric/log_limit.h"
#include "fabric/tcp_greeting.h"
#include "fabric/tcp_session.h"
#include "loop/task_group.h"

namespace gd2fs {

class TcpListener : public Listener {
 public:
  TcpListener(Loop& loop, const TcpOptions& tcp, TcpSocket socket, std::string address,
              ListenOptions options, OnSession on_session);
  ~TcpListener() override;
  Status start();

  std::string address() const override { return address_; }
  size_t greetings() const { return guests_.size(); }

 protected:
  // What another kind of stream does in another way.
  virtual Result<std::string> set_up(const TcpSocket& socket) const;  // the peer's address
  virtual std::vector<std::string> keys_for(const HelloFacts& hello) const;
  // With its first lane, and the guest welcomed.
  virtual Task<Result<std::unique_ptr<TcpSession>>> make_session(TcpGreeting* greeting, Peer peer,
                                                                 uint64_t number,
                                                                 const ServerHandshake* handshake);
  Status say_welcome(TcpGreeting& greeting, uint64_t number,
                     std::span<const int> descriptors = {}) const;

  Loop& loop_;
  const TcpOptions tcp_;
  ListenOptions options_;

 private:
  struct Guest {  // a connection that has not proved itself
    Guest(TcpListener& owner, TcpSocket socket, std::string from);
    TcpListener& listener;
    std::string address;
    TcpGreeting greeting;
    Timer deadline;
    std::list<Guest>::iterator self;
    void on_deadline(Completion&);
  };

  void on_events(uint32_t events);
  void on_resume(Completion&);
  void welcome_guest(TcpSocket socket);
  static Task<void> greet(Guest* guest);
  static Task<Status> talk(Guest* guest);
  Task<Status> open_session(Guest* guest, const ServerHandshake* handshake);
  Status join_session(Guest& guest, const HelloFacts& hello);
  Status send_to_door(Guest& guest) const;
  void log_refusal(const Guest& guest, const Status& reason);

  TcpSocket socket_;
  std::string address_;
  OnSession on_session_;
  Watch watch_;
  Timer resume_;  // after descriptors ran out
  LogLimit log_limit_;
  std::shared_ptr<TcpSessions> sessions_ = std::make_shared<TcpSessions>();
  std::list<Guest> guests_;  // oldest first
  TaskGroup tasks_;
};

}  // namespace gd2fs
