#include "wire/auth.h"

#include <gtest/gtest.h>

#include "wire/message.h"
#include "wire/token.h"

namespace gd2fs {
namespace {

std::string hex(ConstBytes bytes) {
  return token_from_key({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

HelloFacts hello_of(uint64_t session = 0) {
  HelloFacts hello;
  hello.cluster = "kv";
  hello.incarnation = 5;
  hello.session = session;
  hello.lane = session == 0 ? 0 : 1;
  hello.lanes = 2;
  return hello;
}
ChallengeFacts challenge_facts() {
  ChallengeFacts facts;
  facts.server_id = 7;
  facts.incarnation = 9;
  facts.deployment_id = 11;
  return facts;
}
ServerHandshake::Keys keys_of(std::vector<std::string> keys) {
  return [keys = std::move(keys)](const HelloFacts&) { return keys; };
}

// Both sides to the end; the status of whoever objects first.
Status run(ClientHandshake& client, ServerHandshake& server, std::vector<std::string> keys) {
  GD2FS_ASSIGN(const auto challenge,
               server.on_hello(client.hello_body(), keys_of(std::move(keys))));
  GD2FS_ASSIGN(const auto proof, client.on_challenge(challenge));
  return server.on_proof(proof);
}

// Golden values made with Python's hmac and struct modules.
TEST(Auth, the_transcript_and_its_macs_are_frozen) {
  HelloFacts hello;
  hello.version_min = 1;
  hello.version_max = 3;
  hello.role = 2;
  hello.cluster = "kv";
  hello.incarnation = 0x1122334455667788;
  hello.session = 9;
  hello.lane = 1;
  hello.lanes = 4;
  ChallengeFacts challenge;
  challenge.version = 1;
  challenge.server_id = 7;
  challenge.incarnation = 0xAABB;
  challenge.deployment_id = 0xCCDD;
  for (size_t i = 0; i < 32; ++i) {
    hello.nonce[i] = static_cast<std::byte>(i);
    challenge.nonce[i] = static_cast<std::byte>(32 + i);
  }
  const auto transcript = handshake_transcript(hello, challenge);
  EXPECT_EQ(transcript.size(), 112u);
  const std::string key(32, '\x42');
  EXPECT_EQ(hex(handshake_mac(key, "gd2fs-server", transcript)),
            "a7880d19612f8f44dff858d09b919534d774754de07cd569273e22f54d9a8e3e");
  EXPECT_EQ(hex(handshake_mac(key, "gd2fs-client", transcript)),
            "067472ce70d4c18eb1dd07541ed7afb7a002dc7ba50edc66c4e91a8c7493069c");
  EXPECT_EQ(hex(handshake_mac(key, "gd2fs-session", transcript)),
            "1187d4e54455cf2f42425b8dda22a35d5dd34f3b292a9eee9d34089dc0b15209");
}

TEST(Auth, two_sides_with_the_same_key_believe_each_other_and_share_a_session_key) {
  ClientHandshake client(hello_of(), "secret", false);
  ServerHandshake server(challenge_facts(), false);
  EXPECT_TRUE(run(client, server, {"secret"}).ok());
  EXPECT_EQ(server.hello().cluster, "kv");
  EXPECT_EQ(server.hello().incarnation, 5u);
  EXPECT_EQ(client.server().server_id, 7u);
  EXPECT_EQ(client.server().incarnation, 9u);
  EXPECT_EQ(client.server().deployment_id, 11u);
  EXPECT_EQ(client.session_key(), server.session_key());
  EXPECT_EQ(client.session_key().size(), kProofBytes);
}

TEST(Auth, while_a_key_is_rotated_both_the_current_and_the_previous_one_are_good) {
  for (const char* key : {"new", "old"}) {
    ClientHandshake client(hello_of(), key, false);
    ServerHandshake server(challenge_facts(), false);
    EXPECT_TRUE(run(client, server, {"new", "old"}).ok()) << key;
    EXPECT_EQ(client.session_key(), server.session_key());
  }
}

TEST(Auth, a_client_refuses_a_server_without_its_key) {
  ClientHandshake client(hello_of(), "secret", false);
  ServerHandshake server(challenge_facts(), false);
  EXPECT_TRUE(run(client, server, {"another"}).is(StatusCode::denied));
  ServerHandshake nobody(challenge_facts(), false);
  EXPECT_TRUE(run(client, nobody, {}).is(StatusCode::denied));
  ServerHandshake insecure(challenge_facts(), true);
  EXPECT_TRUE(run(client, insecure, {}).is(StatusCode::denied));
}

TEST(Auth, a_server_refuses_a_client_that_skips_the_check_but_has_no_key) {
  ClientHandshake client(hello_of(), "", true);
  ServerHandshake server(challenge_facts(), false);
  EXPECT_TRUE(run(client, server, {"secret"}).is(StatusCode::denied));
  ServerHandshake nobody(challenge_facts(), false);
  EXPECT_TRUE(run(client, nobody, {}).is(StatusCode::denied));
}

TEST(Auth, an_empty_key_is_no_key) {
  ClientHandshake client(hello_of(), "", false);
  ServerHandshake server(challenge_facts(), false);
  EXPECT_TRUE(run(client, server, {""}).is(StatusCode::denied));
}

TEST(Auth, insecure_works_only_when_both_sides_ask_for_it) {
  ClientHandshake client(hello_of(), "", true);
  ServerHandshake server(challenge_facts(), true);
  EXPECT_TRUE(run(client, server, {}).ok());
  EXPECT_EQ(client.session_key(), server.session_key());
}

TEST(Auth, a_recorded_handshake_is_worth_nothing) {
  ClientHandshake client(hello_of(), "secret", false);
  ServerHandshake first(challenge_facts(), false);
  const auto hello = client.hello_body();
  const auto challenge = first.on_hello(hello, keys_of({"secret"}));
  ASSERT_TRUE(challenge.has_value());
  const auto proof = client.on_challenge(*challenge);
  ASSERT_TRUE(proof.has_value());
  ASSERT_TRUE(first.on_proof(*proof).ok());

  ServerHandshake second(challenge_facts(), false);  // the same words to another handshake
  ASSERT_TRUE(second.on_hello(hello, keys_of({"secret"})).has_value());
  EXPECT_TRUE(second.on_proof(*proof).is(StatusCode::denied));

  ClientHandshake fresh(hello_of(), "secret", false);
  EXPECT_EQ(fresh.on_challenge(*challenge).error().code(), StatusCode::denied);
}

TEST(Auth, a_servers_proof_does_not_serve_as_a_clients) {
  ClientHandshake client(hello_of(), "", true);  // a stranger who sends the proof back
  ServerHandshake server(challenge_facts(), false);
  const auto challenge = server.on_hello(client.hello_body(), keys_of({"secret"}));
  ASSERT_TRUE(challenge.has_value());
  msg::ProofT mirrored;
  const ConstBytes proof = bytes_of(open_body<msg::Challenge>(*challenge)->proof());
  for (const std::byte b : proof) mirrored.proof.push_back(static_cast<uint8_t>(b));
  EXPECT_TRUE(server.on_proof(pack_body(mirrored)).is(StatusCode::denied));
}

TEST(Auth, a_lane_joins_only_with_the_key_of_its_session) {
  ClientHandshake opener(hello_of(), "secret", false);
  ServerHandshake server(challenge_facts(), false);
  ASSERT_TRUE(run(opener, server, {"secret"}).ok());

  ClientHandshake lane(hello_of(1234), opener.session_key(), false);
  ServerHandshake joined(challenge_facts(), false);
  EXPECT_TRUE(run(lane, joined, {server.session_key()}).ok());
  EXPECT_EQ(joined.hello().session, 1234u);

  ClientHandshake thief(hello_of(1234), "secret", true);  // holds the cluster's token
  ServerHandshake guarded(challenge_facts(), false);
  EXPECT_TRUE(run(thief, guarded, {server.session_key()}).is(StatusCode::denied));
}

TEST(Auth, changing_any_fact_on_the_way_breaks_the_proof) {
  ClientHandshake client(hello_of(), "secret", false);
  const auto original = open_body<msg::Hello>(client.hello_body())->UnPack();
  const std::unique_ptr<msg::HelloT> hello(original);
  const auto refused = [&](const std::function<void(msg::HelloT&)>& change) {
    msg::HelloT changed = *hello;
    change(changed);
    ServerHandshake server(challenge_facts(), false);
    const auto challenge = server.on_hello(pack_body(changed), keys_of({"secret"}));
    if (!challenge.has_value()) return true;
    ClientHandshake same = client;
    return !same.on_challenge(*challenge).has_value();
  };
  EXPECT_FALSE(refused([](msg::HelloT&) {}));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.cluster = "kw"; }));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.role = msg::Role::admin; }));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.incarnation += 1; }));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.lanes = 3; }));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.version_max = 200; }));
  EXPECT_TRUE(refused([](msg::HelloT& h) { h.nonce[0] ^= 1; }));
}

TEST(Auth, malformed_hellos_are_refused_before_any_key_is_asked_for) {
  ClientHandshake client(hello_of(), "secret", false);
  const std::unique_ptr<msg::HelloT> hello(open_body<msg::Hello>(client.hello_body())->UnPack());
  const auto answer = [&](const std::function<void(msg::HelloT&)>& change) {
    msg::HelloT changed = *hello;
    change(changed);
    ServerHandshake server(challenge_facts(), false);
    bool asked = false;
    const auto challenge = server.on_hello(pack_body(changed), [&](const HelloFacts&) {
      asked = true;
      return std::vector<std::string>{"secret"};
    });
    EXPECT_NE(asked, !challenge.has_value());
    return challenge.has_value() ? StatusCode::ok : challenge.error().code();
  };
  EXPECT_EQ(answer([](msg::HelloT&) {}), StatusCode::ok);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.nonce.pop_back(); }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.nonce.clear(); }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.lanes = 0; }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.lanes = 17; }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.lane = 1; }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.session = 1; }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.cluster.assign(256, 'x'); }), StatusCode::invalid);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.role = static_cast<msg::Role>(9); }),
            StatusCode::unsupported);
  EXPECT_EQ(answer([](msg::HelloT& h) { h.version_min = h.version_max = 9; }),
            StatusCode::unsupported);
  ServerHandshake server(challenge_facts(), false);
  EXPECT_TRUE(server.on_proof({}).is(StatusCode::invalid));
}

}  // namespace
}  // namespace gd2fs
