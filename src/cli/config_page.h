// ConfigPage: the settings as text: a file to start from, and docs/config.md.
#pragma once

#include <string>

#include "cli/config.h"

namespace gd2fs::cli {

// A TOML file with every setting, its sentence, and where its value came from. Loading it gives the
// same Config.
std::string config_file_text(const Config& config, const ConfigOrigins& origins);
// docs/config.md; a test compares it with the file.
std::string config_page();

}  // namespace gd2fs::cli
