// Command: how the verbs of `gd2fs` hang together. gd2fs_main.cc parses; each verb lies in a file
// of its own, adds its sub-command and options with add_<verb>(), and says what to run.
//
// Invocation is what every verb gets: the settings with all their origins, and the output form.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/config.h"
#include "cli/exit_code.h"
#include "cli/output.h"

namespace gd2fs::cli {

struct Invocation {
  Config config;
  ConfigOrigins origins;
  OutputFormat output = OutputFormat::table;
  bool quiet = false;
  std::string program;  // argv[0], resolved, for verbs that start another `gd2fs`
};

// Filled by the parser: the one verb that was named. The exit code is the verb's answer.
struct Chosen {
  std::function<int(const Invocation&)> run;
  bool daemon = false;  // runs on, and logs; other verbs say what is wrong once, at their end
  // --set KEY=VALUE and the named flags that stand for a setting, in order.
  struct Flag {
    std::string key;
    std::string value;
    std::string origin;  // "--cluster"
  };
  std::vector<Flag> flags;
};

// `--NAME VALUE` that sets `key`; a flag without value for toggles.
void add_setting_flag(CLI::App& app, Chosen& chosen, const std::string& name,
                      const std::string& key, const std::string& value_name);

// Runs `run(invocation, *options)` when the verb was named; a failure is reported on stderr.
// `daemon` as in Chosen.
template <class Options>
void when_named(CLI::App* verb, Chosen& chosen, std::shared_ptr<Options> options,
                Status (*run)(const Invocation&, const Options&), bool daemon = false) {
  verb->callback([&chosen, options = std::move(options), run, daemon] {
    chosen.daemon = daemon;
    chosen.run = [options, run](const Invocation& invocation) -> int {
      const Status status = run(invocation, *options);
      return status.ok() ? kExitOk : report_failure(status);
    };
  });
}

void add_bench(CLI::App& app, Chosen& chosen);
void add_cache(CLI::App& app, Chosen& chosen);
void add_cat(CLI::App& app, Chosen& chosen);
void add_cluster(CLI::App& app, Chosen& chosen);
void add_config(CLI::App& app, Chosen& chosen);
void add_controller(CLI::App& app, Chosen& chosen);
void add_doctor(CLI::App& app, Chosen& chosen);
void add_du(CLI::App& app, Chosen& chosen);
void add_get(CLI::App& app, Chosen& chosen);
void add_ls(CLI::App& app, Chosen& chosen);
void add_meta(CLI::App& app, Chosen& chosen);
void add_mkdir(CLI::App& app, Chosen& chosen);
void add_mv(CLI::App& app, Chosen& chosen);
void add_put(CLI::App& app, Chosen& chosen);
void add_rm(CLI::App& app, Chosen& chosen);
void add_scrub(CLI::App& app, Chosen& chosen);
void add_server(CLI::App& app, Chosen& chosen);
void add_stat(CLI::App& app, Chosen& chosen);
void add_status(CLI::App& app, Chosen& chosen);
void add_up(CLI::App& app, Chosen& chosen);
void add_verify(CLI::App& app, Chosen& chosen);
void add_version(CLI::App& app, Chosen& chosen);
void add_warmup(CLI::App& app, Chosen& chosen);

// Runs the program; what main() returns.
int run_program(int argc, char** argv);

}  // namespace gd2fs::cli
