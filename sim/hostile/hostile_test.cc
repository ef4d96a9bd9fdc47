#include "sim/hostile/hostile.h"

#include <gtest/gtest.h>

#include "base/log.h"
#include "sim/hostile/seeds.h"

namespace gd2fs::sim {
namespace {

struct HostileTest : testing::Test {
  HostileTest() { set_log_level(LogLevel::off); }
  ~HostileTest() override { set_log_level(LogLevel::info); }
  static ConstBytes bytes_of(const std::string& script) {
    return as_bytes(script.data(), script.size());
  }
};

// Or the fuzzer would fuzz nothing but refusals.
TEST_F(HostileTest, every_request_reaches_its_handler_when_it_is_said_honestly) {
  HostileDeployment deployment;
  deployment.play(bytes_of(honest_script()));
  for (const RequestKind& kind : request_kinds()) {
    const auto name = msg::EnumNameType(kind.type);
    if (kind.one_way) continue;
    // What is loaded into a deployment that has names is refused, by the load itself.
    if (kind.type == msg::Type::meta_load) {
      EXPECT_EQ(deployment.refused[kind.type], 1u);
      continue;
    }
    EXPECT_GE(deployment.answered[kind.type], 1u) << name << deployment.refused[kind.type];
  }
  // The one-way ones: a read needs the handle that was bound.
  EXPECT_GE(deployment.answered[msg::Type::read], 1u);
  for (const msg::Type type : {msg::Type::register_server, msg::Type::heartbeat,
                               msg::Type::server_status, msg::Type::server_scrub}) {
    EXPECT_GE(deployment.questions[type], 1u) << msg::EnumNameType(type);
  }
  EXPECT_EQ(deployment.finish(), "");
}

TEST_F(HostileTest, what_the_fuzzer_begins_with_breaks_nothing) {
  for (const std::string& script : seed_scripts()) {
    HostileDeployment deployment;
    deployment.play(bytes_of(script));
    ASSERT_EQ(deployment.finish(), "");
  }
}

TEST_F(HostileTest, the_same_bytes_give_the_same_run) {
  std::string script = honest_script();
  for (size_t i = 0; i < script.size(); i += 7) script[i] ^= 0x15;
  const auto run = [&] {
    HostileDeployment deployment;
    deployment.play(bytes_of(script));
    EXPECT_EQ(deployment.finish(), "");
    return std::pair(deployment.answered, deployment.refused);
  };
  EXPECT_EQ(run(), run());
}

TEST_F(HostileTest, random_scripts_break_nothing) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    std::string script(random.below(600), '\0');
    for (char& c : script) c = static_cast<char>(random.chance(1, 2) ? 0 : random.below(256));
    HostileDeployment deployment;
    deployment.play(bytes_of(script));
    ASSERT_EQ(deployment.finish(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace gd2fs::sim
