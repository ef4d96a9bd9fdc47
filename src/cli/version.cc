// `gd2fs version`
#include "cli/command.h"
#include "wire/frame.h"

namespace gd2fs::cli {
namespace {

struct Nothing {};

Status version(const Invocation& invocation, const Nothing&) {
  Table table({{"version", "gd2fs"}, {"protocol", "protocol"}, {"compiler", "compiler"}});
  table.add(
      {Cell::text(GD2FS_VERSION),
       Cell::text(std::to_string(kProtocolVersionMin) + "-" + std::to_string(kProtocolVersion)),
       Cell::text(__VERSION__)});
  table.print_record(invocation.output);
  return {};
}

}  // namespace

void add_version(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("version", "Show the version");
  when_named(verb, chosen, std::make_shared<Nothing>(), version);
}

}  // namespace gd2fs::cli
