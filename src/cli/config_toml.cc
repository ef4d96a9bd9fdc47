// The TOML file of a Config. toml++ parses; what it finds is turned into the text that --set takes,
// so that one function checks every value wherever it comes from.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
// What toml++ asserts of the text ("[ = 1") it answers with an error right after.
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include "cli/config.h"
#include "cli/toml_text.h"

namespace gd2fs::cli {
namespace {

constexpr int kDepthMax = 4;  // of tables in tables; keys have one dot

std::string place(std::string_view file_name, const toml::source_region& source) {
  return std::string(file_name) + ":" + std::to_string(source.begin.line);
}

Status wrong_kind(const std::string& origin, const std::string& key, std::string_view wanted) {
  return {StatusCode::invalid, origin + ": " + key + ": " + std::string(wanted)};
}

Status set_list(const toml::array& values, const Setting& setting, const std::string& origin,
                LoadedConfig* loaded) {
  std::string joined;
  for (const toml::node& value : values) {
    const auto* text = value.as_string();
    if (text == nullptr || text->get().find(',') != std::string::npos) {
      return wrong_kind(origin, std::string(setting.key), "must be a list of texts without commas");
    }
    joined += (joined.empty() ? "" : ",") + text->get();
  }
  return set_config(setting.key, joined, origin, loaded);
}

Status set_node(const toml::node& node, const std::string& key, const std::string& origin,
                LoadedConfig* loaded) {
  const Setting* setting = find_setting(key);
  if (setting == nullptr) return set_config(key, "", origin, loaded);  // says what is near
  if (const auto* values = node.as_array()) {
    if (setting->kind == SettingKind::list) {
      return set_list(*values, *setting, origin, loaded);
    }
    return wrong_kind(origin, key, "takes one value, not a list");
  }
  if (const auto* text = node.as_string()) return set_config(key, text->get(), origin, loaded);
  if (const auto* number = node.as_integer()) {
    const bool counts = setting->kind == SettingKind::count || setting->kind == SettingKind::size;
    if (!counts) return wrong_kind(origin, key, "must be written in quotes, with its unit");
    return set_config(key, std::to_string(number->get()), origin, loaded);
  }
  if (const auto* toggle = node.as_boolean()) {
    return set_config(key, toggle->get() ? "true" : "false", origin, loaded);
  }
  return wrong_kind(origin, key, "must be a text, a whole number, true/false or a list");
}

bool is_table(std::string_view prefix) {
  for (const Setting& setting : settings()) {
    if (setting.key.starts_with(prefix)) return true;
  }
  return false;
}

Status walk(const toml::table& table, const std::string& prefix, int depth,
            std::string_view file_name, LoadedConfig* loaded) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix + std::string(name.str());
    const std::string origin = place(file_name, name.source());
    if (const auto* inner = node.as_table()) {
      if (depth == kDepthMax) return wrong_kind(origin, key, "tables are nested too deep");
      if (!is_table(key + ".")) return set_config(key, "", origin, loaded);
      GD2FS_TRY(walk(*inner, key + ".", depth + 1, file_name, loaded));
      continue;
    }
    GD2FS_TRY(set_node(node, key, origin, loaded));
  }
  return {};
}

}  // namespace

Status load_config_text(std::string_view toml, std::string_view file_name, LoadedConfig* loaded) {
  if (toml.size() > kConfigFileMaxBytes) {
    return {StatusCode::invalid, std::string(file_name) + ": is larger than 1 MiB"};
  }
  GD2FS_ASSIGN(const std::string ascii, ascii_toml(toml, file_name));
  const toml::parse_result parsed = toml::parse(ascii, file_name);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return {StatusCode::invalid,
            place(file_name, error.source()) + ": " + std::string(error.description())};
  }
  return walk(parsed.table(), "", 0, file_name, loaded);
}

}  // namespace gd2fs::cli
