#include "cli/config_page.h"

#include "cli/units.h"

namespace gd2fs::cli {
namespace {

// "server" for "server.listen"; "" for "listen".
std::string_view table_of(std::string_view key) {
  const size_t dot = key.find('.');
  return dot == std::string_view::npos ? std::string_view() : key.substr(0, dot);
}

std::string range_of(const Setting& setting) {
  if (!setting.words.empty()) {
    std::string words(setting.words);
    for (size_t at = words.find('|'); at != std::string::npos; at = words.find('|', at + 2)) {
      words.replace(at, 1, ", ");
    }
    return words;
  }
  if (setting.min == 0 && setting.max == UINT64_MAX) return {};
  const auto text = [&](uint64_t value) {
    if (setting.kind == SettingKind::size) return exact_size(value);
    if (setting.kind == SettingKind::duration) return exact_duration(value);
    return std::to_string(value);
  };
  return text(setting.min) + " to " + text(setting.max);
}

}  // namespace

std::string config_file_text(const Config& config, const ConfigOrigins& origins) {
  std::string out;
  std::string_view table;
  for (const Setting& setting : settings()) {
    if (const std::string_view now = table_of(setting.key); now != table) {
      table = now;
      out += "\n[" + std::string(table) + "]\n";
    }
    const std::string_view name =
        table.empty() ? setting.key : setting.key.substr(table.size() + 1);
    const auto origin = origins.find(setting.key);
    out += "# " + std::string(setting.sentence) + ".\n";
    if (origin != origins.end()) out += "# Set by " + origin->second + ".\n";
    out += std::string(name) + " = " + setting_value(setting, config) + "\n";
  }
  return out;
}

std::string config_page() {
  std::string out =
      "# Configuration\n\n"
      "Every setting has a default that is meant to be right. A setting may come from a TOML "
      "file,\n"
      "the environment and the command line; the later of these wins. The file is the one named "
      "by\n"
      "`--config` or `GD2FS_CONFIG`, else `~/.config/gd2fs/gd2fs.toml`, else\n"
      "`/etc/gd2fs/gd2fs.toml`. On the command line, `--set KEY=VALUE` sets any of them. An "
      "unknown\n"
      "key or a value that cannot be is an error that names the line.\n\n"
      "Sizes are written like `64MiB`, durations like `250ms` (in quotes in the file); a list on "
      "the\n"
      "command line or in the environment is separated by commas. `gd2fs config print` shows what "
      "is\n"
      "in force and where it came from, as a file to start from; `gd2fs config check` checks "
      "it.\n\n"
      "This page is printed by `gd2fs config print --page`.\n\n"
      "| key | kind | default | range | environment | |\n"
      "| --- | --- | --- | --- | --- | --- |\n";
  const Config defaults;
  for (const Setting& setting : settings()) {
    out += "| `" + std::string(setting.key) + "` | " +
           std::string(setting_kind_name(setting.kind)) + " | `" +
           setting_value(setting, defaults) + "` | " + range_of(setting) + " | `" +
           environment_name(setting) + "` | " + std::string(setting.sentence) + ". |\n";
  }
  return out;
}

}  // namespace gd2fs::cli
