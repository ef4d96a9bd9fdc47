// `gd2fs scrub`: reads every block of every drive and checks it.
#include "cli/admin_session.h"
#include "cli/command.h"
#include "cli/json.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

constexpr uint64_t kScrubTimeoutNs = 7 * 24 * 3600 * kSecond;

struct ScrubOptions {
  bool background = false;
  std::string rate = "0";
};

void print_reply(const Invocation& invocation, const msg::ScrubReplyT& reply) {
  if (invocation.output == OutputFormat::json) {
    JsonWriter json;
    json.begin_object();
    json.key("running");
    json.boolean(reply.running);
    json.key("extents");
    json.number(reply.extents);
    json.key("size_bytes");
    json.number(reply.bytes);
    json.key("corrupt_blocks");
    json.number(reply.corrupt_blocks);
    json.key("findings");
    json.begin_list();
    for (const std::string& finding : reply.findings) json.string(finding);
    json.end_list();
    json.end_object();
    std::printf("%s\n", json.text().c_str());
    return;
  }
  for (const std::string& finding : reply.findings) {
    std::printf("%s\n", printable(finding).c_str());
  }
  if (reply.running) {
    std::printf("running; `gd2fs status` counts what it finds\n");
  } else {
    std::printf("checked %llu extents, %s: %llu damaged blocks\n",
                static_cast<unsigned long long>(reply.extents), readable_size(reply.bytes).c_str(),
                static_cast<unsigned long long>(reply.corrupt_blocks));
  }
}

int run_scrub(const Invocation& invocation, const ScrubOptions& options) {
  const Result<uint64_t> rate = parse_size(options.rate);
  if (!rate) return report_failure(rate.error().with("--rate"));
  const auto admin = AdminSession::connect(invocation.config);
  if (!admin) return report_failure(admin.error());
  msg::ScrubT request;
  request.rate_bytes_per_s = *rate;
  request.wait = !options.background;
  const auto reply = (*admin)->ask<msg::ScrubReply>(msg::Type::scrub, request, kScrubTimeoutNs);
  if (!reply) return report_failure(reply.error());
  print_reply(invocation, *reply);
  return reply->corrupt_blocks == 0 && reply->findings.empty() ? kExitOk : kExitDamaged;
}

}  // namespace

void add_scrub(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<ScrubOptions>();
  CLI::App* verb = app.add_subcommand(
      "scrub", "Check every block on every drive; exit code 1 if any is damaged");
  verb->add_flag("--background", options->background, "Start it and come back at once");
  verb->add_option("--rate", options->rate, "Bytes per second at most; 0 is no limit")
      ->type_name("SIZE");
  verb->callback([&chosen, options] {
    chosen.run = [options](const Invocation& invocation) {
      return run_scrub(invocation, *options);
    };
  });
}

}  // namespace gd2fs::cli
