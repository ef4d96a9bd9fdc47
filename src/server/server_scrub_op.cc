#include "base/log.h"
#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {
namespace {

constexpr size_t kFindingsMax = 1000;  // named in one answer; all are counted

Task<void> run_scrub(Registration* registration, uint64_t rate_bytes_per_s) {
  ServerState& server = registration->state();
  ScrubState& scrub = registration->scrub;
  ScrubReport report = co_await server.store.scrub(rate_bytes_per_s);
  for (const std::string& finding : report.findings) GD2FS_LOG_ERROR("scrub: {}", finding);
  GD2FS_LOG_INFO("scrub: {} extents, {} bytes, {} corrupt blocks", report.extents, report.bytes,
                 report.corrupt_blocks);
  scrub.report = std::move(report);
  scrub.finished_us = server.loop.clock().wall_us();
  scrub.running = false;
}

}  // namespace

Task<void> server_scrub_op(Registration* registration, Asker asker, uint64_t rate_bytes_per_s,
                           bool status_only) {
  ScrubState& scrub = registration->scrub;
  if (!scrub.running && !status_only) {
    scrub.running = true;
    registration->spawn_background(run_scrub(registration, rate_bytes_per_s));
  }
  msg::ScrubReplyT reply;
  reply.running = scrub.running;
  reply.extents = scrub.report.extents;
  reply.bytes = scrub.report.bytes;
  reply.corrupt_blocks = scrub.report.corrupt_blocks;
  reply.finished_us = scrub.finished_us;
  for (const std::string& finding : scrub.report.findings) {
    if (reply.findings.size() == kFindingsMax) break;
    reply.findings.push_back(finding);
  }
  registration->reply(asker.session_number, msg::Type::server_scrub, asker.request_id,
                      pack_body(reply));
  co_return;
}

}  // namespace gd2fs::server
