#include "sim/hostile/messages.h"

namespace gd2fs::sim {
namespace {

using Body = std::vector<std::byte>;

// --- answers: what a controller's and a data server's questions get ---

Body register_answer(Script& script) {
  Known& known = script.known();
  msg::RegisterServerReplyT reply;
  reply.server_id = static_cast<uint32_t>(script.number(1));
  reply.lease_ms = static_cast<uint32_t>(script.number(5000));
  for (size_t i = script.count(1, 40); i > 0; --i) {
    auto& group = reply.groups.emplace_back(std::make_unique<msg::GroupInfoT>());
    group->group = static_cast<uint32_t>(script.number(0));
    group->epoch = script.number(known.epoch);
    group->members.resize(script.count(1, 1000), 1);
  }
  if (!script.flag(false)) {
    reply.keys = std::make_unique<msg::ClusterKeysT>();
    open_body<msg::ClusterKeys>(known.keys)->UnPackTo(reply.keys.get());
    bend_keys(*reply.keys, script);
  }
  return pack_body(reply);
}

Body status_answer(Script& script) {
  msg::ServerStatusReplyT reply;
  for (size_t i = script.count(1, 300); i > 0; --i) {
    auto& counter = reply.counters.emplace_back(std::make_unique<msg::CounterT>());
    counter->name = script.text("gd2fs_server_sessions");
    counter->value = static_cast<double>(script.number(1));
  }
  return pack_body(reply);
}

Body scrub_answer(Script& script) {
  msg::ScrubReplyT reply;
  reply.running = script.flag(false);
  reply.extents = script.number(1);
  reply.bytes = script.number(1);
  reply.corrupt_blocks = script.number(0);
  for (size_t i = script.count(0, 300); i > 0; --i) reply.findings.push_back(script.text("bad"));
  reply.finished_us = script.number(1);
  return pack_body(reply);
}

// --- one text, named over and over ---

constexpr size_t kRepeatedBytes = 300'000;
constexpr size_t kRepeats = 50'000;

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> repeated(
    flatbuffers::FlatBufferBuilder& builder) {
  const auto text = builder.CreateString(std::string(kRepeatedBytes, 'x'));
  return builder.CreateVector(
      std::vector<flatbuffers::Offset<flatbuffers::String>>(kRepeats, text));
}

Body finished(flatbuffers::FlatBufferBuilder& builder, auto root) {
  const ConstBytes body = finish_body(builder, root);
  return {body.begin(), body.end()};
}

}  // namespace

void bend_keys(msg::ClusterKeysT& keys, Script& script) {
  for (size_t i = script.count(0, 40); i > 0; --i) {
    auto& key = keys.keys.emplace_back(std::make_unique<msg::ClusterKeyT>());
    key->cluster_id = static_cast<uint16_t>(script.number(i));
    key->name = script.text("c0");
    key->current = script.bytes(std::vector<uint8_t>(32, 'k'));
    key->previous = script.bytes({});
    key->namespace_epoch = script.number(0);
  }
  keys.capability_key = script.bytes(keys.capability_key);
  keys.capability_key_previous = script.bytes(keys.capability_key_previous);
}
std::vector<std::byte> answer_body(msg::Type type, Script& script) {
  switch (type) {
    case msg::Type::register_server:
      return register_answer(script);
    case msg::Type::heartbeat: {
      msg::HeartbeatReplyT reply;
      reply.lease_ms = static_cast<uint32_t>(script.number(5000));
      return pack_body(reply);
    }
    case msg::Type::server_status:
      return status_answer(script);
    case msg::Type::server_scrub:
      return scrub_answer(script);
    default:
      return pack_body(msg::DoneT());
  }
}

std::vector<std::byte> repeating_body(msg::Type type, Script& script) {
  flatbuffers::FlatBufferBuilder builder(1024);
  switch (type) {
    case msg::Type::meta_load: {
      const auto lines = repeated(builder);
      const msg::Tag tag(script.known().incarnation, ++script.known().sequence, 1);
      return finished(builder, msg::CreateMetaLoad(builder, lines, &tag));
    }
    case msg::Type::register_server: {
      const auto info =
          msg::CreateServerInfo(builder, 1, script.known().server_incarnation, repeated(builder));
      return finished(builder,
                      msg::CreateRegisterServer(builder, info, 1, 1, 1, script.known().deployment));
    }
    case msg::Type::server_scrub:
      return finished(builder,
                      msg::CreateScrubReply(builder, false, 1, 1, 0, repeated(builder), 1));
    case msg::Type::server_status: {
      const auto text = builder.CreateString(std::string(kRepeatedBytes, 'x'));
      const auto counter = msg::CreateCounter(builder, text, 1.0);
      const auto counters =
          builder.CreateVector(std::vector<flatbuffers::Offset<msg::Counter>>(kRepeats, counter));
      return finished(builder, msg::CreateServerStatusReply(builder, counters));
    }
    default:
      return {};
  }
}

}  // namespace gd2fs::sim
