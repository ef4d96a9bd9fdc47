#include "cli/admin_session.h"

#include <optional>

#include "cli/data_dir.h"
#include "client/address.h"
#include "wire/token.h"

namespace gd2fs::cli {
namespace {

bool is_there(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

template <class T>
Task<void> keep(Task<T> task, std::optional<T>* result) {
  T value = co_await std::move(task);
  result->emplace(std::move(value));
}

}  // namespace

std::string secret_path(const Config& config) {
  if (!config.secret_file.empty()) return config.secret_file;
  if (!config.data.empty() && is_there(config.data + "/secret")) return config.data + "/secret";
  const std::string directory = user_config_directory();
  if (!directory.empty() && is_there(directory + "/secret")) return directory + "/secret";
  return {};
}

AdminSession::AdminSession()
    : loop_(clock_, Loop::Waits::epoll),
      resolver_("resolver"),
      fabric_(loop_, resolver_),
      incarnation_(Random(Random::seed_from_kernel()).next() | 1) {}

AdminSession::~AdminSession() {
  if (session_ != nullptr && !closed_) {
    session_->close(Status(StatusCode::canceled, "done"));
    while (!closed_) loop_.turn(UINT64_MAX);
  }
}

template <class T>
T AdminSession::finish(Task<T> task) {
  std::optional<T> result;
  loop_.spawn(keep(std::move(task), &result));
  while (!result) loop_.turn(UINT64_MAX);
  return std::move(*result);
}

Result<std::unique_ptr<Session>> AdminSession::open_session(const std::string& address,
                                                            const std::string& key) {
  ConnectOptions options;
  options.address = address;
  options.role = PeerRole::admin;
  options.key = key;
  options.insecure = key.empty();
  options.incarnation = incarnation_;
  options.events = this;
  return finish(fabric_.connect(std::move(options)));
}

Result<std::unique_ptr<AdminSession>> AdminSession::connect(const Config& config) {
  GD2FS_ASSIGN(const client::ControlAddress control,
               client::parse_control_address(config.client_cp));
  const std::string path = secret_path(config);
  std::string key;
  if (!path.empty()) {
    GD2FS_ASSIGN(key, read_token_file(path));
  }
  std::unique_ptr<AdminSession> admin(new AdminSession);
  Status failure;
  for (const std::string& address : control.controllers) {
    Result<std::unique_ptr<Session>> session = admin->open_session(address, key);
    if (session) {
      admin->session_ = std::move(*session);
      admin->calls_ = std::make_unique<Calls>(admin->loop_, *admin->session_);
      return admin;
    }
    failure = session.error().with(config.client_cp);
    if (failure.is(StatusCode::denied)) break;
  }
  if (failure.is(StatusCode::denied)) {
    return fail(StatusCode::denied,
                config.client_cp + ": administration needs the deployment's secret; " +
                    (path.empty() ? "none was found" : path + " is not the right one"));
  }
  return fail(failure);
}

Result<CallReply> AdminSession::call(msg::Type type, std::vector<std::byte> body,
                                     uint64_t timeout_ns) {
  return finish(calls_->call(type, std::move(body), timeout_ns));
}

msg::Tag AdminSession::next_tag() {
  ++sequence_;
  return {incarnation_, sequence_, sequence_};
}

void AdminSession::on_message(Session& session, const Message& message) {
  // A controller asks nothing of an administrator.
  if (message.request_id == 0) return;
  const std::vector<std::byte> body =
      pack_error(Status(StatusCode::unsupported, "an administrator answers no requests"));
  [[maybe_unused]] const Status replied = session.reply(
      static_cast<uint16_t>(msg::Type::error), message.request_id, body);  // or it has gone
}

void AdminSession::on_reply(Session&, const Message& reply) {
  if (calls_ != nullptr) calls_->on_reply(reply);
}

void AdminSession::on_closed(Session&, const Status& reason) {
  closed_ = true;
  if (calls_ != nullptr) calls_->on_closed(reason);
}

}  // namespace gd2fs::cli
