// `gd2fs cache stat|pin|unpin PATH`: what the servers have of files in memory, and what stays
// there.
#include "cli/cached_files.h"
#include "cli/command.h"

namespace gd2fs::cli {
namespace {

double percent(const CachedFile& file) {
  if (file.size_bytes == 0) return 100;
  return static_cast<double>(file.resident_bytes) * 100 / static_cast<double>(file.size_bytes);
}

Status stat(const Invocation& invocation, const std::string& path) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  GD2FS_ASSIGN(std::vector<CachedFile> found, files_below(*files, path));
  Table table({{"size_bytes", "SIZE"},
               {"resident_bytes", "IN MEMORY"},
               {"percent", "%"},
               {"pinned", "PINNED"},
               {"path", "PATH"}});
  for (CachedFile& file : found) {
    GD2FS_TRY(ask_residency(*files, &file));
    table.add({Cell::size(file.size_bytes), Cell::size(file.resident_bytes),
               Cell::real(percent(file), 1), Cell::yes_no(file.pinned), Cell::text(file.path)});
  }
  table.print(invocation.output);
  return {};
}

Status set_pinned(const Invocation& invocation, const std::string& path, bool pinned) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  GD2FS_ASSIGN(const std::vector<CachedFile> found, files_below(*files, path));
  for (const CachedFile& file : found) {
    const Status status = files->set_pinned(file.path, pinned);
    if (status.is(StatusCode::no_space)) {
      return {StatusCode::no_space,
              file.path + ": pinned files would take more than half of a server's memory"};
    }
    GD2FS_TRY(status);
  }
  return {};
}

Status pin(const Invocation& invocation, const std::string& path) {
  return set_pinned(invocation, path, true);
}

Status unpin(const Invocation& invocation, const std::string& path) {
  return set_pinned(invocation, path, false);
}

}  // namespace

void add_cache(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("cache", "What the servers keep in memory");
  verb->require_subcommand(1);
  auto path = std::make_shared<std::string>("/");
  CLI::App* stat_verb = verb->add_subcommand("stat", "How much of each file is in memory");
  stat_verb->add_option("PATH", *path, "A file, or a directory with all below it");
  when_named(stat_verb, chosen, path, stat);
  CLI::App* pin_verb = verb->add_subcommand("pin", "Keep files in memory, once they are there");
  pin_verb->add_option("PATH", *path, "A file, or a directory with all below it")->required();
  when_named(pin_verb, chosen, path, pin);
  CLI::App* unpin_verb = verb->add_subcommand("unpin", "Treat them like any other again");
  unpin_verb->add_option("PATH", *path, "A file, or a directory with all below it")->required();
  when_named(unpin_verb, chosen, path, unpin);
}

}  // namespace gd2fs::cli
