#include <algorithm>

#include "controller/controller.h"

namespace gd2fs::controller {
namespace {

constexpr uint64_t kLookAgainNs = 200 * kMs;

// Sums what the servers say. An unreachable one fails the whole: what it holds was not checked.
Status add_up(const std::vector<Controller::ServerAnswer>& answers, msg::ScrubReplyT* sum) {
  *sum = msg::ScrubReplyT();
  if (answers.empty()) return {StatusCode::unavailable, "no data server is connected"};
  for (const auto& answer : answers) {
    if (!answer.reply.has_value()) return answer.reply.error();
    const auto* body = answer.reply->open<msg::ScrubReply>();
    if (body == nullptr) return {StatusCode::invalid, "malformed answer of a server"};
    sum->running = sum->running || body->running();
    sum->extents += body->extents();
    sum->bytes += body->bytes();
    sum->corrupt_blocks += body->corrupt_blocks();
    sum->finished_us = std::max(sum->finished_us, body->finished_us());
    if (body->findings() == nullptr) continue;
    for (const auto* finding : *body->findings()) {
      sum->findings.push_back("server " + std::to_string(answer.server_id) + ": " + finding->str());
    }
  }
  return {};
}

}  // namespace

Task<Answer> scrub_op(Asker asker, msg::ScrubT request) {
  Controller& controller = *asker.controller;
  msg::ScrubReplyT reply;
  auto answers = co_await controller.ask_servers(msg::Type::server_scrub, pack_body(request));
  GD2FS_CO_TRY(add_up(answers, &reply));
  while (request.wait && reply.running && asker.connection->open()) {
    co_await Delay(controller.loop(), kLookAgainNs);
    request.status_only = true;
    answers = co_await controller.ask_servers(msg::Type::server_scrub, pack_body(request));
    GD2FS_CO_TRY(add_up(answers, &reply));
  }
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
