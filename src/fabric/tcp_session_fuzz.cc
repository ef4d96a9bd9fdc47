// A real session over a pair of sockets, and a peer that has proved itself and says frames of any
// kind, in any order and cut anywhere (session_fuzz.h has our side).
#include <sys/socket.h>

#include "base/fuzz_seeds.h"
#include "base/log.h"
#include "fabric/session_fuzz.h"
#include "fabric/tcp_session.h"

namespace gd2fs {
namespace {

constexpr uint8_t kKinds = 8;  // those that TCP knows
constexpr size_t kPiecesMax = 4096;

class Meeting final : public FuzzedSession {
 public:
  Meeting() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    peer_ = TcpSocket(ends[0]);
    TcpOptions options;
    options.lanes_min = 1;
    auto session = std::make_unique<TcpSession>(loop_, options, Peer(), 1, 1, "key");
    session->set_events(this);
    if (!session->add_lane(0, TcpSocket(ends[1])).ok() || !session->start().ok()) std::abort();
    session_ = std::move(session);
  }
  ~Meeting() override {
    end();
    session_.reset();
  }

  void step(FuzzInput& input) {
    const uint8_t which = input.byte() % (kOwnSteps + 5);
    if (which < 4) {
      const FuzzFrame frame(input, kKinds);
      return say(frame.bytes, frame.how < 64 ? 1 + frame.how : frame.bytes.size());
    }
    if (which < 4 + kOwnSteps) return own_step(which - 4, input);
    std::vector<std::byte> bytes(1 + input.byte() % 100);
    for (std::byte& byte : bytes) byte = std::byte{input.byte()};
    say(bytes, bytes.size());
  }

 private:
  void listen() override {
    std::byte junk[65536];
    iovec part{junk, sizeof junk};
    while (peer_.read({&part, 1}).bytes > 0) turn();
  }
  void say(ConstBytes bytes, size_t piece) {
    // A large body byte by byte takes seconds, and shows nothing that its first thousands do not.
    piece = std::max(piece, bytes.size() / kPiecesMax);
    while (!bytes.empty() && !closed_) {
      const ConstBytes now = bytes.first(std::min(piece, bytes.size()));
      iovec part{const_cast<std::byte*>(now.data()), now.size()};
      const auto moved = peer_.write({&part, 1});
      if (moved.error != 0) break;
      bytes = bytes.subspan(moved.bytes);
      turn();
      listen();
    }
  }

  TcpSocket peer_;
};

// A request of the peer that is pushed to, pulled from and answered; one of ours that is answered.
void seeds(SeedFolder& folder) {
  const std::string request("\x00\x00\x07\x01\x00\x00\x40\x18\x00", 9);  // id 1, a body of 24 bytes
  const std::string push("\x06\x4c\x01\x00", 4);                         // 4 KiB for request 1
  const std::string reply("\x08\x10\x07\x01", 4);
  folder.add(request + push + reply);
  const std::string pull("\x07\x50\x01\x00\x01", 5);  // 64 KiB of request 1
  const std::string pulled("\x00\x07\x00\x01\x00\x00\x40\x00\x50", 9);
  folder.add(request + pull + pulled + reply);
  folder.add(request + pull + std::string("\x00\x04\x00\x01\x00\x50\x40\x00\x00", 9));
  const std::string ask("\x04\x4c\x10\x00", 4);  // 4 KiB to fill
  const std::string stripe("\x00\x02\x00\x01\x00\x00\x40\x00\x4c", 9);
  const std::string answer("\x00\x01\x07\x01\x4c\x00\x40\x18\x00", 9);
  folder.add(ask + stripe + answer);
  folder.add(ask + answer + stripe + std::string("\x05\x00", 2));
  folder.add(ask + std::string("\x05\x00", 2) + stripe);
  const std::string lend("\x04\x54\x10\x01", 4);  // 1 MiB to be fetched
  folder.add(lend + std::string("\x00\x03\x00\x01\x00\x50\x40\x00\x00", 9) + answer);
  folder.add(request + push + pull + std::string("\x09\x01", 2) + reply);
  for (char kind = 0; kind < 8; ++kind) {
    folder.add(std::string("\x00", 1) + kind + std::string("\x07\x01\x00\x00\x40\x18\x00", 7));
  }
  folder.add(std::string("\x0a\xff\x0a\xff\x0b\x10", 6) + std::string(16, 'G'));
}

}  // namespace
}  // namespace gd2fs

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  gd2fs::set_log_level(gd2fs::LogLevel::off);
  return gd2fs::write_seeds_if_asked(*argc, *argv, gd2fs::seeds);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gd2fs::FuzzInput input(data, size);
  gd2fs::Meeting meeting;
  for (size_t i = 0; i < gd2fs::Meeting::kStepsMax && !input.empty(); ++i) meeting.step(input);
  return 0;
}
