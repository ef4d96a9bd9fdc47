// `gd2fs status [--watch]`: servers, clusters and what they are doing.
#include <unistd.h>

#include "cli/admin_session.h"
#include "cli/command.h"
#include "cli/copy.h"
#include "cli/json.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

struct StatusOptions {
  bool watch = false;
  uint32_t every_s = 2;
};

using Reply = msg::DeploymentStatusReplyT;

double counter(const msg::ServerStatusT& server, std::string_view name) {
  for (const auto& found : server.counters) {
    if (found->name == name) return found->value;
  }
  return 0;
}

uint64_t whole(double value) {
  return value > 0 && value < 1.8e19 ? static_cast<uint64_t>(value) : 0;
}

std::string addresses_of(const msg::ServerStatusT& server) {
  std::string text;
  if (server.info == nullptr) return text;
  for (const std::string& address : server.info->addresses) {
    text += (text.empty() ? "" : " ") + address;
  }
  return text;
}

void print_sessions(const Reply& reply) {
  Table sessions({{"", "SERVER"}, {"", "CLIENT"}, {"", "CLUSTER"}, {"", "PATH"}});
  size_t count = 0;
  for (const auto& server : reply.servers) {
    for (const auto& session : server->sessions) {
      ++count;
      sessions.add({Cell::count(server->info ? server->info->server_id : 0),
                    Cell::text(session->address), Cell::text(session->cluster),
                    Cell::text(session->path)});
    }
  }
  if (count == 0) return;
  std::printf("\n");
  sessions.print(OutputFormat::table);
}

void print_tables(const Reply& reply) {
  std::printf("gd2fs %s, deployment %016llx, up since %s\n\n", printable(reply.version).c_str(),
              static_cast<unsigned long long>(reply.deployment_id),
              readable_time(reply.started_us).c_str());
  Table servers({{"", "SERVER"},
                 {"", "STATE"},
                 {"", "STORED"},
                 {"", "FREE"},
                 {"", "SLAB"},
                 {"", "DRIVES"},
                 {"", "SET ASIDE"},
                 {"", "MISSING"},
                 {"", "CLIENTS"},
                 {"", "BY SHM"},
                 {"", "BY RDMA"},
                 {"", "ADDRESS"}});
  for (const auto& server : reply.servers) {
    const auto value = [&](std::string_view name) { return whole(counter(*server, name)); };
    servers.add(
        {Cell::count(server->info ? server->info->server_id : 0),
         Cell::text(server->info && server->info->alive ? "serving" : "down"),
         Cell::size(value("gd2fs_store_used_bytes")), Cell::size(value("gd2fs_store_free_bytes")),
         Cell::size(value("gd2fs_slab_used_bytes")), Cell::count(value("gd2fs_store_drives")),
         Cell::count(value("gd2fs_store_drives_set_aside")),
         Cell::count(value("gd2fs_store_drives_missing")),
         Cell::count(value("gd2fs_server_sessions")),
         Cell::count(value("gd2fs_server_sessions_shm")),
         Cell::count(value("gd2fs_server_sessions_rdma")), Cell::text(addresses_of(*server))});
  }
  servers.print(OutputFormat::table);
  std::printf("\n");
  Table clusters({{"", "CLUSTER"}, {"", "FILES"}, {"", "USED"}, {"", "QUOTA"}});
  for (const auto& cluster : reply.clusters) {
    const uint64_t quota = cluster->policy ? cluster->policy->quota_bytes : 0;
    clusters.add({Cell::text(cluster->name), Cell::count(cluster->files),
                  Cell::size(cluster->used_bytes),
                  quota == 0 ? Cell::text("none") : Cell::size(quota)});
  }
  clusters.print(OutputFormat::table);
  print_sessions(reply);
}

void write_counters(JsonWriter& json, const std::vector<std::unique_ptr<msg::CounterT>>& counters) {
  json.key("counters");
  json.begin_object();
  for (const auto& found : counters) {
    json.key(found->name);
    json.real(found->value);
  }
  json.end_object();
}

void write_sessions(JsonWriter& json,
                    const std::vector<std::unique_ptr<msg::SessionInfoT>>& sessions) {
  json.key("sessions");
  json.begin_list();
  for (const auto& session : sessions) {
    json.begin_object();
    json.key("address");
    json.string(session->address);
    json.key("cluster");
    json.string(session->cluster);
    json.key("path");
    json.string(session->path);
    json.end_object();
  }
  json.end_list();
}

void print_json(const Reply& reply) {
  JsonWriter json;
  json.begin_object();
  json.key("version");
  json.string(reply.version);
  json.key("deployment_id");
  json.string(std::to_string(reply.deployment_id));  // 64 bits do not fit a JSON number
  json.key("started_us");
  json.number(reply.started_us);
  json.key("map_version");
  json.number(reply.map_version);
  json.key("servers");
  json.begin_list();
  for (const auto& server : reply.servers) {
    json.begin_object();
    json.key("server_id");
    json.number(server->info ? server->info->server_id : 0);
    json.key("serving");
    json.boolean(server->info && server->info->alive);
    json.key("addresses");
    json.string(addresses_of(*server));
    write_counters(json, server->counters);
    write_sessions(json, server->sessions);
    json.end_object();
  }
  json.end_list();
  json.key("clusters");
  json.begin_list();
  for (const auto& cluster : reply.clusters) {
    json.begin_object();
    json.key("name");
    json.string(cluster->name);
    json.key("files");
    json.number(cluster->files);
    json.key("used_bytes");
    json.number(cluster->used_bytes);
    json.key("quota_bytes");
    json.number(cluster->policy ? cluster->policy->quota_bytes : 0);
    json.end_object();
  }
  json.end_list();
  write_counters(json, reply.counters);
  json.end_object();
  std::printf("%s\n", json.text().c_str());
}

// kExitUnavailable unless every server serves.
int show(const Invocation& invocation, const Reply& reply) {
  if (invocation.output == OutputFormat::json) {
    print_json(reply);
  } else {
    print_tables(reply);
  }
  std::fflush(stdout);
  const bool serving =
      !reply.servers.empty() &&
      std::all_of(reply.servers.begin(), reply.servers.end(),
                  [](const auto& each) { return each->info && each->info->alive; });
  return serving ? kExitOk : kExitUnavailable;
}

int run_status(const Invocation& invocation, const StatusOptions& options) {
  const auto admin = AdminSession::connect(invocation.config);
  if (!admin) return report_failure(admin.error());
  if (options.watch) catch_interrupts();
  while (true) {
    const auto reply = (*admin)->ask<msg::DeploymentStatusReply>(msg::Type::deployment_status,
                                                                 msg::DeploymentStatusT{});
    if (!reply) return report_failure(reply.error());
    const bool on_terminal = isatty(STDOUT_FILENO) == 1;
    if (options.watch && on_terminal) std::fputs("\x1b[H\x1b[J", stdout);  // home, clear
    const int code = show(invocation, *reply);
    if (!options.watch) return code;
    for (uint32_t waited = 0; waited < options.every_s * 10 && !interrupted(); ++waited) {
      usleep(100'000);
    }
    if (interrupted()) return kExitOk;
    if (!on_terminal) std::printf("\n");
  }
}

}  // namespace

void add_status(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* verb =
      app.add_subcommand("status", "Show servers and clusters; exit code 7 unless all serve");
  verb->add_flag("-w,--watch", options->watch, "Again and again, until interrupted");
  verb->add_option("--every", options->every_s, "Seconds between two looks")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  verb->callback([&chosen, options] {
    chosen.run = [options](const Invocation& invocation) {
      return run_status(invocation, *options);
    };
  });
}

}  // namespace gd2fs::cli
