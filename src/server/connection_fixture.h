// For tests: one client's connection over a FakeSession and a FakeStore.
#pragma once

#include <gtest/gtest.h>

#include "server/connection.h"
#include "server/fake_store.h"
#include "server/server_state.h"
#include "sim/fake_session.h"
#include "sim/sim_clock.h"
#include "wire/capability.h"

namespace gd2fs::server {

inline constexpr uint16_t kCluster = 3;
inline constexpr uint64_t kInode = (uint64_t{kCluster} << 48) | 77;
inline constexpr uint64_t kNamespaceEpoch = 5;
inline constexpr uint64_t kGroupEpoch = 2;

struct ConnectionFixture : testing::Test, ConnectionOwner {
  SimClock clock;
  Loop loop{clock, Loop::Waits::never};
  FakeStore store{loop};
  ServerOptions options = small_options();
  std::unique_ptr<ServerState> state = std::make_unique<ServerState>(loop, store, options);
  std::vector<std::unique_ptr<Connection>> connections;
  size_t ended = 0;
  std::string capability_key = std::string(kCapabilityKeyBytes, 'k');

  ConnectionFixture() { grant(); }

  static ServerOptions small_options() {
    ServerOptions options;
    options.read_ops_max = 64;
    options.write_ops_max = 64;
    options.small_steps_max = 16;
    options.big_steps_max = 8;
    options.read_bytes_max = 16 * kMiB;
    options.write_bytes_max = 16 * kMiB;
    options.session_read_bytes_max = 8 * kMiB;
    options.session_write_bytes_max = 8 * kMiB;
    return options;
  }
  // What the controller says at registration.
  void grant() {
    state->lease.extend(clock.now_ns(), 5 * kSecond);
    msg::ClusterKeysT keys;
    keys.keys.push_back(std::make_unique<msg::ClusterKeyT>());
    keys.keys[0]->cluster_id = kCluster;
    keys.keys[0]->name = "models";
    keys.keys[0]->namespace_epoch = kNamespaceEpoch;
    keys.capability_key.assign(capability_key.begin(), capability_key.end());
    const auto keys_body = pack_body(keys);
    state->authority.set_keys(*open_body<msg::ClusterKeys>(keys_body));
    msg::RegisterServerReplyT reply;
    reply.groups.push_back(std::make_unique<msg::GroupInfoT>());
    reply.groups[0]->epoch = kGroupEpoch;
    const auto reply_body = pack_body(reply);
    state->authority.set_groups(open_body<msg::RegisterServerReply>(reply_body)->groups());
  }

  FakeSession& connect() {
    auto session = std::make_unique<FakeSession>(loop, Peer{.address = "tcp://client:1"});
    FakeSession& made = *session;
    connections.push_back(
        std::make_unique<Connection>(*state, *this, std::move(session), kCluster));
    return made;
  }
  void connection_ended(Connection& connection) override {
    ++ended;
    std::erase_if(connections, [&](auto& each) { return each.get() == &connection; });
  }

  Capability capability(uint64_t inode = kInode) {
    Capability capability;
    capability.cluster_id = kCluster;
    capability.inode = inode;
    capability.generation = 1;
    capability.expiry_us = clock.wall_us() + 60'000'000;
    capability.chunk_log2 = 22;
    capability.may_read = true;
    capability.may_write = true;
    return capability;
  }
  void bind(FakeSession& session, uint32_t handle, const Capability& bound) {
    const SealedCapability sealed = seal_capability(bound, capability_key);
    msg::BindHandleT bind;
    bind.handle = handle;
    bind.capability.resize(sealed.size());
    std::memcpy(bind.capability.data(), sealed.data(), sealed.size());
    session.deliver(msg::Type::bind_handle, 0, bind);
  }
  static msg::ReadT read_of(std::vector<msg::ReadPiece> pieces) {
    msg::ReadT read;
    read.handle = 1;
    read.generation = 1;
    read.namespace_epoch = kNamespaceEpoch;
    read.epoch = kGroupEpoch;
    read.pieces = std::move(pieces);
    return read;
  }
  static msg::WriteT write_of(std::vector<msg::WritePiece> pieces) {
    msg::WriteT write;
    write.handle = 1;
    write.generation = 1;
    write.namespace_epoch = kNamespaceEpoch;
    write.epoch = kGroupEpoch;
    write.incarnation = 99;
    write.low = 1;
    write.pieces = std::move(pieces);
    return write;
  }
  void settle() {
    while (loop.run_ready() > 0) {
    }
  }
  void pass(uint64_t ns) {
    clock.advance_ns(ns);
    settle();
  }
  // The status of the only reply to request_id; ok if it is not an error.
  static Status answer(FakeSession& session, uint64_t request_id) {
    const FakeSession::Sent* found = nullptr;
    for (const auto& reply : session.replies) {
      if (reply.request_id != request_id) continue;
      if (found != nullptr) return Status(StatusCode::exists, "answered twice");
      found = &reply;
    }
    if (found == nullptr) return Status(StatusCode::not_found, "not answered");
    return found->message_type() == msg::Type::error ? open_error(found->body) : Status();
  }
  std::vector<std::byte> pattern(size_t length_bytes, uint64_t seed) {
    std::vector<std::byte> bytes(length_bytes);
    Random(seed).fill(bytes);
    return bytes;
  }
};

}  // namespace gd2fs::server
