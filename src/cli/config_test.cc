#include "cli/config.h"

#include <fstream>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "cli/config_page.h"

namespace gd2fs::cli {
namespace {

std::string error_of(std::string_view toml) {
  LoadedConfig loaded;
  const Status status = load_config_text(toml, "gd2fs.toml", &loaded);
  return status.ok() ? std::string() : std::string(status.text());
}

TEST(Config, AFileSetsWhatItNames) {
  LoadedConfig loaded;
  ASSERT_TRUE(load_config_text("slab = \"2GiB\"\n"
                               "insecure = true\n"
                               "drives = [\"/d0\", \"/d1\"]\n"
                               "[server]\n"
                               "listen = \"0.0.0.0:7528\"\n"
                               "id = 3\n"
                               "stall = \"30s\"\n",
                               "gd2fs.toml", &loaded)
                  .ok());
  EXPECT_EQ(loaded.config.slab_bytes, 2 * kGiB);
  EXPECT_TRUE(loaded.config.insecure);
  EXPECT_EQ(loaded.config.drives, (std::vector<std::string>{"/d0", "/d1"}));
  EXPECT_EQ(loaded.config.server_listen, "0.0.0.0:7528");
  EXPECT_EQ(loaded.config.server_id, 3u);
  EXPECT_EQ(loaded.config.server_stall_ns, 30 * kSecond);
  EXPECT_EQ(loaded.origins.at("server.id"), "gd2fs.toml:6");
}

TEST(Config, AnUnknownKeyIsAnErrorWithItsLineAndWhatIsNear) {
  EXPECT_EQ(error_of("slab = \"1GiB\"\n\nslap = \"2GiB\"\n"),
            "gd2fs.toml:3: unknown setting 'slap'; did you mean 'slab'?");
  EXPECT_EQ(error_of("[server]\nlisen = \"x\"\n"),
            "gd2fs.toml:2: unknown setting 'server.lisen'; did you mean 'server.listen'?");
  EXPECT_EQ(error_of("[nothing_like_it]\n"),
            "gd2fs.toml:1: unknown setting 'nothing_like_it'; `gd2fs config print` lists all");
  EXPECT_NE(error_of("[[server]]\nid = 1\n"), "");
}

TEST(Config, AWrongValueIsAnErrorThatSaysWhatIsRight) {
  EXPECT_EQ(error_of("slab = \"much\"\n"),
            "gd2fs.toml:1: slab: 'much' is not a size: write it like 512MiB or 1.5GiB");
  EXPECT_EQ(error_of("log_level = \"loud\"\n"),
            "gd2fs.toml:1: log_level: must be one of debug|info|warn|error|off");
  EXPECT_EQ(error_of("[server]\nid = 0\n"),
            "gd2fs.toml:2: server.id: must be from 1 to 4294967295");
  EXPECT_EQ(error_of("[server]\nstall = 20\n"),
            "gd2fs.toml:2: server.stall: must be written in quotes, with its unit");
  EXPECT_EQ(error_of("listen = [\"a\"]\n"), "gd2fs.toml:1: listen: takes one value, not a list");
  EXPECT_EQ(error_of("slab = 1.5\n"),
            "gd2fs.toml:1: slab: must be a text, a whole number, true/false or a list");
  EXPECT_NE(error_of("slab = -1\n"), "");
  EXPECT_NE(error_of("slab = \n"), "");
}

TEST(Config, WhatIsNotAsciiStandsInDoubleQuotesOrCommentsOnly) {
  LoadedConfig loaded;
  ASSERT_TRUE(load_config_text("\xEF\xBB\xBF# \u00e9\n"
                               "data = \"/\u00e9\\\"\u20ac\\\\\U0001F600'\" # \u00e9\n"
                               "drives = [\"/a\",'/b\\', \"\u045e\"]\n",
                               "gd2fs.toml", &loaded)
                  .ok());
  EXPECT_EQ(loaded.config.data, "/\u00e9\"\u20ac\\\U0001F600'");
  EXPECT_EQ(loaded.config.drives, (std::vector<std::string>{"/a", "/b\\", "\u045e"}));

  const std::string outside = "gd2fs.toml:2: a character outside ASCII must stand in quotes";
  EXPECT_EQ(error_of("slab = \"2GiB\"\n\u00e9 = 1\n"), outside);
  EXPECT_EQ(error_of("\nslab \u00a0= \"2GiB\""), outside);
  EXPECT_EQ(error_of("\nslab = \"2GiB\" \u00e9 # \u00e9"), outside);
  EXPECT_EQ(error_of("\ndata = \"\\\"\u00e9\" \u00e9"), outside);
  EXPECT_EQ(error_of("data = '/\u00e9'\n"), "gd2fs.toml:1: this text must stand in double quotes");
  EXPECT_EQ(error_of("data = \"\\\u00e9\"\n"), "gd2fs.toml:1: no such escape");
  EXPECT_EQ(error_of("data = \"\"\"a\"\"\""),
            "gd2fs.toml:1: texts of several lines are not taken here");
  EXPECT_EQ(error_of("data = \"\xc9\xcb\xcb\xbd\"\n"), "gd2fs.toml: the file is not UTF-8");
}

// Each made the parser ask whether a character outside ASCII is white space, which it must not.
TEST(Config, TheParserIsGivenAsciiWhateverStandsBeforeAQuote) {
  EXPECT_NE(error_of("ab =0\"1.5\xEF\xB1\xBF\n"), "");
  EXPECT_NE(error_of("drives = +[\"/ast\xEF\xBB\xBD\n"), "");
  EXPECT_NE(error_of("slab = 1.\"\u00e9\"\n"), "");
  EXPECT_NE(error_of("d=2.tab4.@>>G.&G=\"\u045e`7:....;..."), "");
  EXPECT_NE(error_of("[ = \"a\""), "");
}

TEST(Config, TheEnvironmentOverridesTheFileAndFlagsOverrideBoth) {
  LoadedConfig loaded;
  ASSERT_TRUE(load_config_text("cluster = \"a\"\nslab = \"1GiB\"\n", "f", &loaded).ok());
  const VariableLookup variable = [](const std::string& name) -> std::optional<std::string> {
    if (name == "GD2FS_CLUSTER") return "b";
    if (name == "GD2FS_SERVER_ADVERTISE") return "tcp://h:1,tcp://h:2";
    return std::nullopt;
  };
  ASSERT_TRUE(load_config_environment(variable, &loaded).ok());
  EXPECT_EQ(loaded.config.cluster, "b");
  EXPECT_EQ(loaded.config.server_advertise.size(), 2u);
  ASSERT_TRUE(set_config("cluster", "c", "--cluster", &loaded).ok());
  EXPECT_EQ(loaded.config.cluster, "c");
  EXPECT_EQ(loaded.origins.at("cluster"), "--cluster");
  EXPECT_EQ(loaded.config.slab_bytes, kGiB);
}

TEST(Config, WhatIsPrintedCanBeLoadedAndGivesTheSame) {
  LoadedConfig first;
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"data", "/a \"quoted\" \\ path\n"},
                                                        {"drives", "/d0,/d1"},
                                                        {"slab", "3GiB"},
                                                        {"server.stall", "1500ms"},
                                                        {"insecure", "on"},
                                                        {"server.id", "7"}}) {
    ASSERT_TRUE(set_config(key, value, "--set", &first).ok()) << key;
  }
  const std::string text = config_file_text(first.config, first.origins);
  LoadedConfig second;
  const Status status = load_config_text(text, "printed", &second);
  ASSERT_TRUE(status.ok()) << status.to_string() << text;
  for (const Setting& setting : settings()) {
    EXPECT_EQ(setting_value(setting, first.config), setting_value(setting, second.config))
        << setting.key;
  }
}

TEST(Config, EveryDefaultIsAllowedAndEveryKeyIsItsOwn) {
  std::set<std::string> keys;
  std::set<std::string> variables;
  const Config defaults;
  EXPECT_TRUE(check_config(defaults).ok());
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(keys.insert(std::string(setting.key)).second) << setting.key;
    EXPECT_TRUE(variables.insert(environment_name(setting)).second) << setting.key;
    EXPECT_FALSE(setting.sentence.ends_with('.')) << setting.key;
    if (const auto* number = std::get_if<uint64_t Config::*>(&setting.field)) {
      EXPECT_GE(defaults.**number, setting.min) << setting.key;
      EXPECT_LE(defaults.**number, setting.max) << setting.key;
    }
  }
}

TEST(Config, RulesThatJoinSettingsAreChecked) {
  Config config;
  config.chunk_bytes = 3 * kMiB;
  EXPECT_FALSE(check_config(config).ok());
  config = Config();
  config.server_heartbeat_ns = config.controller_lease_ns;
  EXPECT_FALSE(check_config(config).ok());
  config = Config();
  config.slab_bytes = kMiB;
  EXPECT_FALSE(check_config(config).ok());
}

TEST(Config, ThePageInTheDocumentationIsTheOneThatIsPrinted) {
  std::ifstream file(GD2FS_SOURCE_DIR "/docs/config.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), config_page()) << "run: gd2fs config print --page > docs/config.md";
}

}  // namespace
}  // namespace gd2fs::cli
