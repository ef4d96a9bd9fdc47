// AdminSession: one administrator's session with a controller, with calls that wait.
//
// The calling thread turns a loop of its own while it waits. The deployment's secret comes from
// --secret-file, else DATA/secret if a data directory is given, else ~/.config/gd2fs/secret, which
// `gd2fs up` leaves there. Without one only a deployment that runs --insecure lets us in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "cli/config.h"
#include "fabric/calls.h"
#include "fabric/tcp_fabric.h"
#include "loop/loop.h"
#include "wire/message.h"

namespace gd2fs::cli {

class AdminSession final : public SessionEvents {
 public:
  static constexpr uint64_t kCallTimeoutNs = 30 * kSecond;

  // Tries each controller in turn.
  static Result<std::unique_ptr<AdminSession>> connect(const Config& config);
  ~AdminSession() override;
  AdminSession(const AdminSession&) = delete;
  AdminSession& operator=(const AdminSession&) = delete;

  Result<CallReply> call(msg::Type type, std::vector<std::byte> body,
                         uint64_t timeout_ns = kCallTimeoutNs);
  // call() and the reply's table, unpacked; what is no such table is corrupt.
  template <class Table, class Request>
  Result<typename Table::NativeTableType> ask(msg::Type type, const Request& request,
                                              uint64_t timeout_ns = kCallTimeoutNs) {
    GD2FS_ASSIGN(const CallReply reply, call(type, pack_body(request), timeout_ns));
    const Table* table = reply.open<Table>();
    if (table == nullptr) return fail(StatusCode::corrupt, "the controller's answer is malformed");
    typename Table::NativeTableType unpacked;
    table->UnPackTo(&unpacked);
    return unpacked;
  }
  // A fresh tag for a mutation: this session's only one at a time.
  msg::Tag next_tag();

  void on_message(Session& session, const Message& message) override;
  void on_reply(Session& session, const Message& reply) override;
  void on_closed(Session& session, const Status& reason) override;

 private:
  AdminSession();
  Result<std::unique_ptr<Session>> open_session(const std::string& address, const std::string& key);
  // Turns the loop until the task has ended.
  template <class T>
  T finish(Task<T> task);

  RealClock clock_;
  Loop loop_;
  ThreadWorker resolver_;
  TcpFabric fabric_;
  uint64_t incarnation_;
  uint64_t sequence_ = 0;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Calls> calls_;
  bool closed_ = false;
};

// The file with the deployment's secret that these settings name; "" if there is none.
std::string secret_path(const Config& config);

}  // namespace gd2fs::cli
