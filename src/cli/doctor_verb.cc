// `gd2fs doctor`: what this machine has for GD2FS and what it lacks, each with its remedy.
#include <algorithm>
#include <cstdio>

#include "cli/command.h"
#include "cli/doctor/checks.h"
#include "cli/json.h"
#include "cli/reachability.h"
#include "client/address.h"

namespace gd2fs::cli {
namespace {

using doctor::Finding;
using doctor::Findings;
using doctor::Level;

struct DoctorOptions {
  std::vector<std::string> needs;  // "rdma", "gpu_direct"
  bool offline = false;
  bool json = false;
};

void print_json(const Findings& findings, size_t missing) {
  JsonWriter json;
  json.begin_object();
  json.key("missing");
  json.number(missing);
  json.key("findings");
  json.begin_list();
  for (const Finding& each : findings) {
    json.begin_object();
    json.key("area");
    json.string(each.area);
    json.key("subject");
    json.string(each.subject);
    json.key("level");
    json.string(level_name(each.level));
    json.key("found");
    json.string(each.found);
    json.key("remedy");
    json.string(each.remedy);
    json.end_object();
  }
  json.end_list();
  json.end_object();
  std::printf("%s\n", json.text().c_str());
}

void print_text(const Findings& findings, size_t missing) {
  std::string area;
  for (const Finding& each : findings) {
    if (each.area != area) std::printf("%s%s\n", area.empty() ? "" : "\n", each.area.c_str());
    area = each.area;
    const char* mark = each.level == Level::ok     ? "  ok    "
                       : each.level == Level::note ? "  note  "
                                                   : "  LACKS ";
    std::printf("%s  %s: %s\n", mark, printable(each.subject).c_str(),
                printable(each.found).c_str());
    if (!each.remedy.empty()) std::printf("            try: %s\n", printable(each.remedy).c_str());
  }
  std::printf("\n%s\n", missing == 0 ? "nothing that is needed is missing"
                                     : (std::to_string(missing) + " needed, and missing").c_str());
}

doctor::Needs needs_of(const DoctorOptions& options) {
  const auto named = [&](const char* what) {
    return std::find(options.needs.begin(), options.needs.end(), what) != options.needs.end();
  };
  return {.rdma = named("rdma"), .gpu_direct = named("gpu_direct")};
}

// The local addresses that the settings want as rails: those after rdma:// in client.dp.
std::vector<std::string> wanted_rails(const Config& config) {
  std::vector<std::string> wanted;
  const auto addresses = client::parse_data_address(config.client_dp);
  if (!addresses) return wanted;  // said by check_reachability()
  for (const client::LocalAddress& each : *addresses) {
    if (each.transport == client::Transport::rdma && !each.host.empty()) {
      wanted.push_back(each.host);
    }
  }
  return wanted;
}

int run_doctor(const Invocation& invocation, const DoctorOptions& options) {
  const doctor::Machine machine = doctor::Machine::this_one();
  const doctor::Needs needs = needs_of(options);
  Findings findings;
  check_rdma(machine, needs, wanted_rails(invocation.config), &findings);
  check_gpu_direct(machine, needs, &findings);
  check_memory(machine, needs, &findings);
  check_io_uring(machine, &findings);
  if (!options.offline) {
    check_reachability(invocation.config, needs, invocation.origins.contains("client.cp"),
                       &findings);
  }
  const auto missing =
      static_cast<size_t>(std::count_if(findings.begin(), findings.end(), [](const Finding& each) {
        return each.level == Level::missing;
      }));
  if (options.json || invocation.output == OutputFormat::json) {
    print_json(findings, missing);
  } else {
    print_text(findings, missing);
  }
  return missing == 0 ? kExitOk : kExitDamaged;
}

}  // namespace

void add_doctor(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* verb = app.add_subcommand(
      "doctor", "Show what this machine has for GD2FS; exit code 1 if something needed is missing");
  verb->add_option("--need", options->needs, "What must work here")
      ->delimiter(',')
      ->check(CLI::IsMember({"rdma", "gpu_direct"}));
  verb->add_flag("--offline", options->offline, "Look at this machine only, ask no server");
  verb->add_flag("--json", options->json, "As -o json");
  verb->callback([&chosen, options] {
    chosen.run = [options](const Invocation& invocation) {
      return run_doctor(invocation, *options);
    };
  });
}

}  // namespace gd2fs::cli
