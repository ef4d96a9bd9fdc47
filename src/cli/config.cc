#include "cli/config.h"

#include <algorithm>
#include <bit>

#include "cli/json.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

Status bad_value(std::string_view origin, const Setting& setting, std::string_view what) {
  return {StatusCode::invalid,
          std::string(origin) + ": " + std::string(setting.key) + ": " + std::string(what)};
}

Status check_text(const Setting& setting, std::string_view text, std::string_view origin) {
  if (text.find('\0') != std::string_view::npos) {
    return bad_value(origin, setting, "contains a NUL byte");
  }
  if (setting.words.empty()) return {};
  std::string_view words = setting.words;
  while (!words.empty()) {
    const size_t end = std::min(words.find('|'), words.size());
    if (words.substr(0, end) == text) return {};
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return bad_value(origin, setting, "must be one of " + std::string(setting.words));
}

Result<uint64_t> parse_number(const Setting& setting, std::string_view text) {
  if (setting.kind == SettingKind::size) return parse_size(text);
  if (setting.kind == SettingKind::duration) return parse_duration(text);
  return parse_count(text);
}

std::string number_text(const Setting& setting, uint64_t value) {
  if (setting.kind == SettingKind::size) return exact_size(value);
  if (setting.kind == SettingKind::duration) return exact_duration(value);
  return std::to_string(value);
}

// "did you mean": the known key with the fewest edits, if they are few.
size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

Status unknown_key(std::string_view key, std::string_view origin) {
  std::string text =
      std::string(origin) + ": unknown setting '" + std::string(key.substr(0, 64)) + "'";
  std::string_view nearest;
  size_t fewest = 4;
  for (const Setting& setting : settings()) {
    const size_t edits = key.size() > 64 ? SIZE_MAX : edits_between(key, setting.key);
    if (edits >= fewest) continue;
    fewest = edits;
    nearest = setting.key;
  }
  text += nearest.empty() ? "; `gd2fs config print` lists all"
                          : "; did you mean '" + std::string(nearest) + "'?";
  return {StatusCode::invalid, text};
}

}  // namespace

Status set_config(std::string_view key, std::string_view text, std::string_view origin,
                  LoadedConfig* loaded) {
  const Setting* setting = find_setting(key);
  if (setting == nullptr) return unknown_key(key, origin);
  Config& config = loaded->config;
  if (const auto* field = std::get_if<std::string Config::*>(&setting->field)) {
    GD2FS_TRY(check_text(*setting, text, origin));
    config.** field = text;
  } else if (const auto* values =
                 std::get_if<std::vector<std::string> Config::*>(&setting->field)) {
    GD2FS_TRY(check_text(*setting, text, origin));
    std::vector<std::string> parts;
    while (!text.empty()) {
      const size_t end = std::min(text.find(','), text.size());
      if (end > 0) parts.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (parts.size() > kConfigListMax) return bad_value(origin, *setting, "has too many values");
    config.** values = std::move(parts);
  } else if (const auto* number = std::get_if<uint64_t Config::*>(&setting->field)) {
    const Result<uint64_t> value = parse_number(*setting, text);
    if (!value) return bad_value(origin, *setting, value.error().text());
    if (*value < setting->min || *value > setting->max) {
      return bad_value(origin, *setting,
                       "must be from " + number_text(*setting, setting->min) + " to " +
                           number_text(*setting, setting->max));
    }
    config.** number = *value;
  } else {
    const Result<bool> value = parse_switch(text);
    if (!value) return bad_value(origin, *setting, value.error().text());
    config.*std::get<bool Config::*>(setting->field) = *value;
  }
  loaded->origins[std::string(key)] = origin;
  return {};
}

Status load_config_environment(const VariableLookup& variable, LoadedConfig* loaded) {
  for (const Setting& setting : settings()) {
    const std::string name = environment_name(setting);
    const std::optional<std::string> value = variable(name);
    if (!value || value->empty()) continue;
    GD2FS_TRY(set_config(setting.key, *value, name, loaded));
  }
  return {};
}

Status check_config(const Config& config) {
  if (!std::has_single_bit(config.chunk_bytes)) {
    return {StatusCode::invalid,
            "chunk: " + exact_size(config.chunk_bytes) + " is no power of two"};
  }
  if (config.server_heartbeat_ns * 2 > config.controller_lease_ns) {
    return {StatusCode::invalid,
            "server.heartbeat must be at most half of controller.lease, so that one lost heartbeat "
            "does not end the lease"};
  }
  if (config.slab_bytes != 0 && config.slab_bytes < 64 * kMiB) {
    return {StatusCode::invalid, "slab: must be at least 64MiB"};
  }
  if (config.slab_bytes != 0 && config.store_arena_bytes > config.slab_bytes) {
    return {StatusCode::invalid, "store.arena: must not be larger than slab"};
  }
  return {};
}

std::string setting_value(const Setting& setting, const Config& config) {
  if (const auto* field = std::get_if<std::string Config::*>(&setting.field)) {
    return json_quoted(config.**field);
  }
  if (const auto* values = std::get_if<std::vector<std::string> Config::*>(&setting.field)) {
    std::string text = "[";
    for (const std::string& value : config.**values) {
      text += (text.size() > 1 ? ", " : "") + json_quoted(value);
    }
    return text + "]";
  }
  if (const auto* number = std::get_if<uint64_t Config::*>(&setting.field)) {
    const std::string text = number_text(setting, config.**number);
    return setting.kind == SettingKind::count ? text : "\"" + text + "\"";
  }
  return config.*std::get<bool Config::*>(setting.field) ? "true" : "false";
}

}  // namespace gd2fs::cli
