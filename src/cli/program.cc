// The command line of `gd2fs`: parse, load the configuration, run the verb.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "base/log.h"
#include "cli/command.h"
#include "client/address.h"

namespace gd2fs::cli {
namespace {

constexpr const char* kSystemConfig = "/etc/gd2fs/gd2fs.toml";

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): one thread yet
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Status load_file(const std::string& path, LoadedConfig* loaded) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status::from_errno(errno, path);
  std::string text;
  char part[64 * 1024];
  while (file.read(part, sizeof part) || file.gcount() > 0) {
    text.append(part, static_cast<size_t>(file.gcount()));
    if (text.size() > kConfigFileMaxBytes) break;
  }
  if (file.bad()) return {StatusCode::io, path + ": cannot be read"};
  return load_config_text(text, path, loaded);
}

// --config, else GD2FS_CONFIG: must be there. Else the user's and the machine's file, if there.
Status load_files(const std::string& named, LoadedConfig* loaded) {
  if (!named.empty()) return load_file(named, loaded);
  if (const auto variable = environment_variable("GD2FS_CONFIG"); variable && !variable->empty()) {
    return load_file(*variable, loaded);
  }
  std::vector<std::string> usual;
  if (const auto home = environment_variable("HOME"); home && !home->empty()) {
    usual.push_back(*home + "/.config/gd2fs/gd2fs.toml");
  }
  usual.emplace_back(kSystemConfig);
  for (const std::string& path : usual) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return load_file(path, loaded);
  }
  return {};
}

// gd2fs://HOST/?cluster=NAME names a cluster, unless one is named otherwise.
Status take_cluster_from_address(LoadedConfig* loaded) {
  if (loaded->origins.contains("cluster")) return {};
  GD2FS_ASSIGN(const client::ControlAddress address,
               client::parse_control_address(loaded->config.client_cp));
  for (const auto& [name, value] : address.query) {
    if (name == "cluster") return set_config("cluster", value, loaded->config.client_cp, loaded);
  }
  return {};
}

Status load(const std::string& file, const std::vector<Chosen::Flag>& flags, LoadedConfig* loaded) {
  GD2FS_TRY(load_files(file, loaded));
  GD2FS_TRY(load_config_environment(environment_variable, loaded));
  for (const Chosen::Flag& flag : flags) {
    GD2FS_TRY(set_config(flag.key, flag.value, flag.origin, loaded));
  }
  GD2FS_TRY(take_cluster_from_address(loaded));
  return check_config(loaded->config);
}

// KEY=VALUE
void add_set_flag(CLI::App& app, Chosen& chosen) {
  app.add_option_function<std::vector<std::string>>(
         "--set",
         [&chosen](const std::vector<std::string>& pairs) {
           for (const std::string& pair : pairs) {
             const size_t equals = pair.find('=');
             if (equals == std::string::npos) {
               throw CLI::ValidationError("--set", "'" + pair + "' is not KEY=VALUE");
             }
             chosen.flags.push_back(
                 {pair.substr(0, equals), pair.substr(equals + 1), "--set " + pair});
           }
         },
         "Any setting, see `gd2fs config print`")
      ->type_name("KEY=VALUE")
      ->take_all();
}

void add_verbs(CLI::App& app, Chosen& chosen) {
  add_up(app, chosen);
  add_controller(app, chosen);
  add_server(app, chosen);
  add_cluster(app, chosen);
  add_ls(app, chosen);
  add_stat(app, chosen);
  add_put(app, chosen);
  add_get(app, chosen);
  add_cat(app, chosen);
  add_rm(app, chosen);
  add_mv(app, chosen);
  add_mkdir(app, chosen);
  add_du(app, chosen);
  add_status(app, chosen);
  add_doctor(app, chosen);
  add_verify(app, chosen);
  add_warmup(app, chosen);
  add_cache(app, chosen);
  add_scrub(app, chosen);
  add_bench(app, chosen);
  add_meta(app, chosen);
  add_config(app, chosen);
  add_version(app, chosen);
}

std::string this_program(const char* name) {
  std::error_code code;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", code);
  return code ? name : path.string();
}

}  // namespace

void add_setting_flag(CLI::App& app, Chosen& chosen, const std::string& name,
                      const std::string& key, const std::string& value_name) {
  const Setting* setting = find_setting(key);
  CHECK(setting != nullptr);
  const std::string sentence(setting->sentence);
  if (setting->kind == SettingKind::toggle) {
    app.add_flag_callback(
        name, [&chosen, key, name] { chosen.flags.push_back({key, "true", name}); }, sentence);
    return;
  }
  if (setting->kind == SettingKind::list) {
    app.add_option_function<std::vector<std::string>>(
           name,
           [&chosen, key, name](const std::vector<std::string>& values) {
             std::string joined;
             for (const std::string& value : values) joined += (joined.empty() ? "" : ",") + value;
             chosen.flags.push_back({key, joined, name});
           },
           sentence)
        ->type_name(value_name)
        ->allow_extra_args(false)
        ->take_all();
    return;
  }
  app.add_option_function<std::string>(
         name,
         [&chosen, key, name](const std::string& value) {
           chosen.flags.push_back({key, value, name});
         },
         sentence)
      ->type_name(value_name)
      ->take_last();
}

int run_program(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // a reader that went away is an error of the write, not our death
  CLI::App app("GD2FS: a distributed file system for GPUs", "gd2fs");
  app.require_subcommand(1);
  app.fallthrough();  // the general options may stand behind the verb, too
  app.set_help_all_flag("--help-all", "Print the help of every verb");
  Chosen chosen;
  std::string config_file;
  std::string output = "table";
  bool quiet = false;
  app.add_option("--config", config_file, "Configuration file (TOML)")->type_name("FILE");
  add_set_flag(app, chosen);
  add_setting_flag(app, chosen, "--cp", "client.cp", "ADDRESS");
  add_setting_flag(app, chosen, "--dp", "client.dp", "ADDRESS");
  add_setting_flag(app, chosen, "--cluster", "cluster", "NAME");
  add_setting_flag(app, chosen, "--token-file", "client.token_file", "FILE");
  add_setting_flag(app, chosen, "--secret-file", "secret_file", "FILE");
  add_setting_flag(app, chosen, "--log-level", "log_level", "LEVEL");
  app.add_option("-o,--output", output, "Form of the output")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_flag("-q,--quiet", quiet, "No progress, no remarks");
  add_verbs(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  LoadedConfig loaded;
  if (const Status status = load(config_file, chosen.flags, &loaded); !status.ok()) {
    return report_failure(status);
  }
  Invocation invocation{.config = std::move(loaded.config),
                        .origins = std::move(loaded.origins),
                        .output = output == "json" ? OutputFormat::json : OutputFormat::table,
                        .quiet = quiet,
                        .program = this_program(argv[0])};
  if (!chosen.daemon && !invocation.origins.contains("log_level")) {
    invocation.config.log_level = "error";
  }
  LogLevel level = LogLevel::info;
  if (parse_log_level(invocation.config.log_level, &level)) set_log_level(level);
  return chosen.run(invocation);
}

}  // namespace gd2fs::cli
