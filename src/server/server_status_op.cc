#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {
namespace {
constexpr size_t kSessionsListedMax = 256;
}

Task<void> server_status_op(Registration* registration, Asker asker) {
  ServerState& server = registration->state();
  const ScrubState& scrub = registration->scrub;
  auto values = export_counters(server.counters, server.store.stats(), server.lease.held());
  values.emplace_back("gd2fs_server_scrub_running", scrub.running ? 1 : 0);
  values.emplace_back("gd2fs_server_scrub_finished_timestamp_seconds",
                      static_cast<double>(scrub.finished_us) / 1e6);
  values.emplace_back("gd2fs_server_scrub_corrupt_blocks",
                      static_cast<double>(scrub.report.corrupt_blocks));
  msg::ServerStatusReplyT reply;
  for (const auto& [name, value] : values) {
    auto& counter = reply.counters.emplace_back(std::make_unique<msg::CounterT>());
    counter->name = name;
    counter->value = value;
  }
  registration->owner().list_sessions(kSessionsListedMax, &reply.sessions);
  registration->reply(asker.session_number, msg::Type::server_status, asker.request_id,
                      pack_body(reply));
  co_return;
}

}  // namespace gd2fs::server
