// MemoryCluster: a controller and a data server in memory, for tests of the client. It keeps the
// rules of docs/protocol.md that a client can see (generations, reservations, sizes, handles,
// dedup), answers at once, and lets a test interfere with any request. It stands on any Fabric: the
// simulated one in unit tests, TCP under the C ABI's programs.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "fabric/fabric.h"
#include "fabric/reply.h"
#include "wire/message.h"

namespace gd2fs {

class MemoryCluster {
 public:
  struct File {
    uint64_t inode = 0;
    uint64_t generation = 1;
    uint64_t size_bytes = 0;
    uint64_t reserved_bytes = 0;
    std::map<uint32_t, std::vector<std::byte>> chunks;  // grown as written
    std::set<uint32_t> resident;                        // chunks that were prefetched
    bool pinned = false;
  };
  static constexpr uint8_t kChunkLog2 = 16;
  static constexpr uint64_t kChunkBytes = uint64_t{1} << kChunkLog2;

  // Of its one cluster, "c".
  static std::string key() { return std::string(32, 'k'); }
  // Where one of its two processes runs. make_fabric is called at every start; on_stop before
  // what was made is destroyed.
  struct Place {
    Loop* loop = nullptr;
    std::string listen;  // "tcp://host:port"
    std::function<std::unique_ptr<Fabric>()> make_fabric;
    std::function<void()> on_stop;
  };
  MemoryCluster(Place controller, Place server);

  void start_controller();
  void start_server();
  void stop_controller();
  void stop_server();

  // --- what a test may do ---
  // Asked for every request; a status is answered instead of carrying it out. Returning
  // kSilence as code `canceled` swallows the request.
  std::function<std::optional<Status>(msg::Type type)> interfere;
  // The next write's file gets a new generation when so many of its pieces are executed: the others
  // are answered `stale`.
  std::optional<size_t> cut_write_after;
  // The next read is answered so, behind its bytes.
  std::optional<Status> end_read_with;
  uint64_t quota_bytes = UINT64_MAX;
  std::map<std::string, File> files;
  std::map<msg::Type, int> asked;     // requests that arrived, by type
  std::vector<msg::Tag> write_tags;   // of every write piece executed
  std::vector<bool> streams;          // of every read message: its flag
  std::vector<uint64_t> follows;      // of those that say it: what lies behind them
  std::vector<uint64_t> sizes_asked;  // end_bytes of every set_size
  File& make(const std::string& path, uint64_t size_bytes);
  void replace(const std::string& path);  // unlink and create anew
  void raise_generation(const std::string& path);
  std::string controller_address() const { return controller_.listener->address(); }

 private:
  struct Node;
  struct End final : SessionEvents {
    explicit End(Node& owner) : node(owner) {}
    void on_message(Session& session, const Message& message) override;
    void on_reply(Session&, const Message&) override {}
    void on_closed(Session&, const Status&) override { closed = true; }
    Node& node;
    std::unique_ptr<Session> session;
    std::map<uint32_t, uint64_t> handles;  // handle -> "inode generation" index in capabilities
    bool closed = false;
  };
  struct Node {
    Node(MemoryCluster& owner, Place where) : cluster(owner), place(std::move(where)) {}
    void listen();
    void stop();
    MemoryCluster& cluster;
    Place place;
    std::unique_ptr<Fabric> fabric;
    std::unique_ptr<Listener> listener;
    std::vector<std::unique_ptr<End>> sessions;
  };
  // A request's bytes under way.
  struct Transfer {
    std::vector<std::unique_ptr<Push>> pushes;
    std::vector<std::unique_ptr<Pull>> pulls;
    std::vector<std::vector<std::byte>> buffers;
    Completion done;
    size_t left = 0;
    std::function<void(Status)> then;
    Status status;
    void on_done(Completion& completion);
  };

  void handle(End& end, Session& session, const Message& message);
  void names(Session& session, const Message& message);
  void data(End& end, Session& session, const Message& message);
  void advise(End& end, Session& session, const Message& message);
  void read(Session& session, uint64_t id, File& file, const msg::Read& read);
  void write(Session& session, uint64_t id, File& file, const msg::Write& write);
  File* file_of(End& end, uint32_t handle, uint64_t generation);
  flatbuffers::Offset<msg::FileInfo> info(flatbuffers::FlatBufferBuilder& builder,
                                          const File& file);

  Node controller_;
  Node server_;
  uint64_t last_inode_ = 1000;
  uint64_t last_incarnation_ = 100;
  std::string server_address_;
  std::set<std::pair<uint64_t, uint64_t>> executed_;  // incarnation, sequence
  std::vector<std::unique_ptr<Transfer>> transfers_;
};

}  // namespace gd2fs
