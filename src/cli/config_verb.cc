// `gd2fs config print|check`: the settings as they are, and whether a file is right.
#include "cli/command.h"
#include "cli/config_page.h"

namespace gd2fs::cli {
namespace {

struct PrintOptions {
  bool page = false;
};

Status print(const Invocation& invocation, const PrintOptions& options) {
  if (options.page) {
    std::fputs(config_page().c_str(), stdout);
    return {};
  }
  if (invocation.output == OutputFormat::table) {
    std::fputs(config_file_text(invocation.config, invocation.origins).c_str(), stdout);
    return {};
  }
  Table table({{"key", ""}, {"value", ""}, {"kind", ""}, {"from", ""}, {"sentence", ""}});
  for (const Setting& setting : settings()) {
    const auto origin = invocation.origins.find(setting.key);
    table.add({Cell::text(std::string(setting.key)),
               Cell::text(setting_value(setting, invocation.config)),
               Cell::text(std::string(setting_kind_name(setting.kind))),
               Cell::text(origin == invocation.origins.end() ? "default" : origin->second),
               Cell::text(std::string(setting.sentence))});
  }
  table.print(invocation.output);
  return {};
}

struct Nothing {};

// What is wrong was said before the verb ran.
Status check(const Invocation& invocation, const Nothing&) {
  if (!invocation.quiet)
    std::printf("ok, %zu settings are not the default\n", invocation.origins.size());
  return {};
}

}  // namespace

void add_config(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("config", "Show and check the configuration");
  verb->require_subcommand(1);
  auto options = std::make_shared<PrintOptions>();
  CLI::App* print_verb =
      verb->add_subcommand("print", "Print all settings as a file that could be used");
  print_verb->add_flag("--page", options->page, "Print docs/config.md instead");
  when_named(print_verb, chosen, options, print);
  CLI::App* check_verb = verb->add_subcommand(
      "check", "Check the file (--config), the environment and the flags; exit code 2 if wrong");
  when_named(check_verb, chosen, std::make_shared<Nothing>(), check);
}

}  // namespace gd2fs::cli
