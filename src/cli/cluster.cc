// `gd2fs cluster create|set|ls|rm|rotate-token`: named clusters of a deployment.
#include <bit>

#include "cli/admin_session.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/units.h"

namespace gd2fs::cli {
namespace {

struct ClusterOptions {
  std::string name;
  std::string token_out;
  std::string durability;  // "": the default, or as it was
};

// Where this user's programs look for the cluster's token.
Result<std::string> keep_token(const ClusterOptions& options, const std::string& token) {
  std::string path = options.token_out;
  if (path.empty()) {
    const std::string directory = user_config_directory();
    if (directory.empty()) {
      return fail(StatusCode::invalid, "there is no HOME: say where the token goes, --token-out");
    }
    GD2FS_TRY(make_private_directory(directory + "/tokens"));
    path = directory + "/tokens/" + options.name;
  }
  GD2FS_TRY(write_private_file(path, token + "\n"));
  return path;
}

void print_token(const Invocation& invocation, const std::string& name, const std::string& path) {
  Table table({{"cluster", "cluster"}, {"token_file", "token file"}});
  table.add({Cell::text(name), Cell::text(path)});
  table.print_record(invocation.output);
}

std::unique_ptr<msg::ClusterPolicyT> policy_of(const Config& config,
                                               const ClusterOptions& options) {
  auto policy = std::make_unique<msg::ClusterPolicyT>();
  policy->chunk_log2 = static_cast<uint8_t>(std::countr_zero(config.chunk_bytes));
  policy->quota_bytes = config.quota_bytes;
  policy->durability = options.durability.empty() ? "disk" : options.durability;
  return policy;
}

Status create(const Invocation& invocation, const ClusterOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  msg::ClusterCreateT request;
  request.name = options.name;
  request.policy = policy_of(invocation.config, options);
  request.tag = std::make_unique<msg::Tag>(admin->next_tag());
  auto reply = admin->ask<msg::ClusterCreateReply>(msg::Type::cluster_create, request);
  if (!reply) return reply.error().with("cluster " + options.name);
  GD2FS_ASSIGN(const std::string path, keep_token(options, reply->token));
  print_token(invocation, options.name, path);
  return {};
}

Status rotate(const Invocation& invocation, const ClusterOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  msg::TokenRotateT request;
  request.name = options.name;
  request.tag = std::make_unique<msg::Tag>(admin->next_tag());
  auto reply = admin->ask<msg::TokenRotateReply>(msg::Type::token_rotate, request);
  if (!reply) return reply.error().with("cluster " + options.name);
  GD2FS_ASSIGN(const std::string path, keep_token(options, reply->token));
  print_token(invocation, options.name, path);
  return {};
}

// Changes what was given on the command line; the rest stays.
Status set(const Invocation& invocation, const ClusterOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  GD2FS_ASSIGN(auto clusters,
               admin->ask<msg::ClusterListReply>(msg::Type::cluster_list, msg::ClusterListT{}));
  msg::ClusterPolicySetT request;
  request.name = options.name;
  for (auto& cluster : clusters.clusters) {
    if (cluster->name == options.name) request.policy = std::move(cluster->policy);
  }
  if (request.policy == nullptr) return {StatusCode::not_found, "no cluster " + options.name};
  const std::unique_ptr<msg::ClusterPolicyT> given = policy_of(invocation.config, options);
  if (invocation.origins.contains("quota")) request.policy->quota_bytes = given->quota_bytes;
  if (invocation.origins.contains("chunk")) request.policy->chunk_log2 = given->chunk_log2;
  if (!options.durability.empty()) request.policy->durability = options.durability;
  request.tag = std::make_unique<msg::Tag>(admin->next_tag());
  const auto reply = admin->call(msg::Type::cluster_policy, pack_body(request));
  return reply ? Status() : reply.error().with("cluster " + options.name);
}

struct Nothing {};

Status list(const Invocation& invocation, const Nothing&) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  GD2FS_ASSIGN(const auto reply,
               admin->ask<msg::ClusterListReply>(msg::Type::cluster_list, msg::ClusterListT{}));
  Table table({{"name", "NAME"},
               {"cluster_id", "ID"},
               {"files", "FILES"},
               {"used_bytes", "USED"},
               {"quota_bytes", "QUOTA"},
               {"chunk_bytes", "CHUNK"},
               {"durability", "DURABILITY"}});
  for (const auto& cluster : reply.clusters) {
    const bool known = cluster->policy != nullptr;
    table.add({Cell::text(cluster->name), Cell::count(cluster->cluster_id),
               Cell::count(cluster->files), Cell::size(cluster->used_bytes),
               Cell::size(known ? cluster->policy->quota_bytes : 0),
               Cell::size(known ? uint64_t{1} << (cluster->policy->chunk_log2 & 63U) : 0),
               Cell::text(known ? cluster->policy->durability : "")});
  }
  table.print(invocation.output);
  return {};
}

Status remove(const Invocation& invocation, const ClusterOptions& options) {
  GD2FS_ASSIGN(const std::unique_ptr<AdminSession> admin, AdminSession::connect(invocation.config));
  msg::ClusterRemoveT request;
  request.name = options.name;
  request.tag = std::make_unique<msg::Tag>(admin->next_tag());
  const auto reply = admin->call(msg::Type::cluster_remove, pack_body(request));
  return reply ? Status() : reply.error().with("cluster " + options.name);
}

void add_durability(CLI::App* verb, ClusterOptions& options) {
  verb->add_option("--durability", options.durability,
                   "When a write is acknowledged: disk (it is on the drive) or memory (readers see "
                   "it; a crash of the server may lose it)")
      ->check(CLI::IsMember({"disk", "memory"}));
}

void add_name(CLI::App* verb, ClusterOptions& options) {
  verb->add_option("NAME", options.name, "The cluster's name")->required();
}

}  // namespace

void add_cluster(CLI::App& app, Chosen& chosen) {
  CLI::App* verb = app.add_subcommand("cluster", "Create, list and remove named clusters");
  verb->require_subcommand(1);
  auto options = std::make_shared<ClusterOptions>();

  CLI::App* create_verb = verb->add_subcommand("create", "Create a cluster and keep its token");
  add_name(create_verb, *options);
  add_setting_flag(*create_verb, chosen, "--quota", "quota", "SIZE");
  add_setting_flag(*create_verb, chosen, "--chunk", "chunk", "SIZE");
  add_durability(create_verb, *options);
  create_verb->add_option("--token-out", options->token_out, "File for the token")
      ->type_name("FILE");
  when_named(create_verb, chosen, options, create);

  CLI::App* set_verb = verb->add_subcommand("set", "Change a cluster's policy");
  add_name(set_verb, *options);
  add_setting_flag(*set_verb, chosen, "--quota", "quota", "SIZE");
  add_setting_flag(*set_verb, chosen, "--chunk", "chunk", "SIZE");
  add_durability(set_verb, *options);
  when_named(set_verb, chosen, options, set);

  CLI::App* list_verb = verb->add_subcommand("ls", "List the clusters");
  when_named(list_verb, chosen, std::make_shared<Nothing>(), list);

  CLI::App* remove_verb = verb->add_subcommand("rm", "Remove a cluster, which must be empty");
  add_name(remove_verb, *options);
  when_named(remove_verb, chosen, options, remove);

  CLI::App* rotate_verb = verb->add_subcommand(
      "rotate-token", "Make a new token; the one before stays good until the next rotation");
  add_name(rotate_verb, *options);
  rotate_verb->add_option("--token-out", options->token_out, "File for the token")
      ->type_name("FILE");
  when_named(rotate_verb, chosen, options, rotate);
}

}  // namespace gd2fs::cli
