// Fuzzes the configuration file. What loads must print to a file that loads to the same values.
#include <cstdlib>

#include "base/fuzz_seeds.h"
#include "cli/config.h"
#include "cli/config_page.h"

namespace {

void seeds(gd2fs::SeedFolder& folder) {
  folder.add(gd2fs::cli::config_file_text({}, {}));
  folder.add("[server]\ndrives = [\"/a\", \"/b\"]\nslab = \"1.5GiB\"\n[client]\ncp = 'x:1'\n");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  return gd2fs::write_seeds_if_asked(*argc, *argv, seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gd2fs::cli;
  LoadedConfig loaded;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (!load_config_text(text, "fuzz", &loaded).ok()) return 0;
  LoadedConfig again;
  const std::string printed = config_file_text(loaded.config, {});
  if (!load_config_text(printed, "printed", &again).ok()) std::abort();
  for (const Setting& setting : settings()) {
    if (setting_value(setting, loaded.config) != setting_value(setting, again.config)) std::abort();
  }
  return 0;
}
