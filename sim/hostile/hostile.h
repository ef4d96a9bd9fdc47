// HostileDeployment: a whole simulated deployment (sim/cluster) and, around it, peers that have
// every key there is and use it badly: clients, an administrator, a second data server and a second
// controller that say what a Script tells them. Beside them lives one honest client in a cluster of
// its own.
//
//   HostileDeployment deployment;
//   deployment.play(bytes);
//   EXPECT_EQ(deployment.finish(), "");     // else what is wrong, for a person
//
// What must hold whatever is said: no process dies; a wrong key opens nothing; what the peers asked
// for has ended once they are gone; and while only clients were hostile, the other cluster's
// file is as it was. One thread; the same bytes give the same run.
#pragma once

#include <list>
#include <map>
#include <optional>

#include "sim/cluster/cluster.h"
#include "sim/hostile/messages.h"

namespace gd2fs::sim {

class HostileDeployment {
 public:
  static constexpr uint64_t kSeed = 1;
  static constexpr size_t kStepsMax = 200;  // of one script; the rest is not played
  static constexpr uint8_t kTypes = 80;     // of messages that are tried, more than there are
  static constexpr const char* kNode = "hostile";
  static constexpr const char* kRogueAddress = "tcp://rogue:7527";

  HostileDeployment();
  ~HostileDeployment();
  HostileDeployment(const HostileDeployment&) = delete;
  HostileDeployment& operator=(const HostileDeployment&) = delete;

  // The kinds of a step: a request by its place in request_kinds(), then these. Over the last:
  // again from the first.
  enum class Deed : uint8_t { wait, hang_up, stranger, reset, rogue };
  static constexpr size_t kDeeds = 5;
  static uint8_t step_of(Deed deed) {
    return static_cast<uint8_t>(request_kinds().size() + static_cast<size_t>(deed));
  }

  // The bits of a step's mode.
  static constexpr uint8_t kBodyBits = 7;  // its body: as filled from the script, or ...
  static constexpr uint8_t kChanged = 4;
  static constexpr uint8_t kRaw = 5;
  static constexpr uint8_t kOtherType = 6;
  static constexpr uint8_t kRepeating = 7;
  static constexpr uint8_t kGoOn = 8;         // without waiting for the answer
  static constexpr uint8_t kFlipOneWay = 16;  // a request as one-way, and the other way round
  static constexpr uint8_t kAsReply = 32;     // an answer to nothing
  static constexpr uint8_t kSameId = 64;      // the id of the request before
  static constexpr uint8_t kOddWindow = 128;  // memory of another size than is asked for

  void play(ConstBytes script);
  // Sends everybody away and looks around. Empty, or what is wrong.
  std::string finish();

  // How many requests of a type were answered by what was asked for, and by an error.
  std::map<msg::Type, uint64_t> answered;
  std::map<msg::Type, uint64_t> refused;
  // How many questions of a real process to a hostile one there were.
  std::map<msg::Type, uint64_t> questions;

 private:
  struct Peer;
  // A request that is not answered yet, and its memory.
  struct Asked {
    Peer* peer = nullptr;
    msg::Type type = msg::Type::none;
    bool over = false;     // answered, or never to be
    bool exposed = false;  // the session has its window
    Window window;
    std::vector<std::byte> memory;
    Completion withdrawn;
    void on_withdrawn(Completion&) {}
  };
  struct Peer final : SessionEvents {
    HostileDeployment* owner = nullptr;
    Voice voice = Voice::client;
    std::unique_ptr<Session> session;
    bool connecting = false;
    bool open() const { return session != nullptr && session->open(); }
    void on_message(Session& session, const Message& message) override;
    void on_reply(Session& session, const Message& reply) override;
    void on_closed(Session& session, const Status& reason) override;
  };

  void start();
  void prepare_victim();
  void listen_as_controller();
  ConnectOptions connect_options(Voice voice);
  static Task<void> connect(HostileDeployment* self, Peer* peer, ConnectOptions options);
  static Task<void> knock(HostileDeployment* self, ConnectOptions options, bool welcome);
  bool make_open(Peer& peer);
  void forget_session(Peer& peer);
  void step(uint8_t kind, uint8_t mode, Script& script);
  void ask(const RequestKind& kind, uint8_t mode, Script& script);
  std::vector<std::byte> body_of(const RequestKind& kind, uint8_t mode, Script& script);
  Asked& make_request(Peer& peer, msg::Type type, ConstBytes body, uint8_t mode, Script& script);
  void stranger(Script& script);
  void rogue(bool on);
  void learn(msg::Type type, ConstBytes body);
  void forget_over();
  void say_wrong(std::string what);
  std::string left_over();
  std::string check_victim();

  Cluster cluster_;
  Known known_;
  Script* speaking_;  // of the step that is played; what answers are made of
  Script silence_;
  std::array<Peer, kVoices> peers_;
  std::list<Asked> asked_;
  std::unique_ptr<Process> process_;  // of all hostile peers but the controller
  std::unique_ptr<Process> rogue_;
  std::unique_ptr<Listener> rogue_listener_;
  std::unique_ptr<Client> victim_;
  std::vector<std::byte> victim_bytes_;
  std::string last_secret_;
  bool rogue_on_ = false;
  bool clients_only_ = true;
  uint64_t waited_ns_ = 0;
  size_t knocking_ = 0;
  std::string wrong_;
};

}  // namespace gd2fs::sim
