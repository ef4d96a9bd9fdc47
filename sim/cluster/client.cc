#include "sim/cluster/client.h"

namespace gd2fs::sim {

Client::Client(SimWorld& world, SimNetwork& network, const std::string& node,
               client::ClientOptions options, SimNics* nics, int device)
    : Process(world, network, node, nics, device),
      world_(world),
      network_(network),
      client_(std::make_unique<client::Client>(loop, door(), world.random().fork(),
                                               std::move(options))) {}

void Client::kill() {
  if (client_ == nullptr) return;
  network_.kill(node());
  if (rdma.has_value()) rdma->kill();
  stop();
  // The library's own end wants its requests to have ended. With the network gone nobody learns of
  // it; the owner of the requests takes no notice of what completes from here on.
  client_->cancel_if([](const client::Request&) { return true; }, Status(StatusCode::canceled),
                     client::Origin::ctx);
  for (int turn = 0; client_->active() > 0; ++turn) {
    CHECK(turn < kTurnsToEndMax);
    loop.run_ready();
  }
  client_.reset();
}

Status Client::connect() {
  struct Flag {
    bool ended = false;
    Status status;
    Completion done;
    Flag() { done.bind<&Flag::on_done>(this); }
    void on_done(Completion& ended_now) {
      ended = true;
      status = ended_now.status;
    }
  } flag;
  client_->connect(flag.done, 60 * kSecond);
  CHECK(world_.run_until([&] { return flag.ended; }));
  return flag.status;
}

void Client::use_memory(Call& call) {
  call.request.memory.clear();
  call.request.memory.add(call.memory.data(), call.memory.size());
}

Status Client::run(Call& call) {
  submit(call);
  CHECK(world_.run_until([&] { return call.ended; }));
  return call.request.status;
}

Status Client::create(const std::string& path, uint64_t size_bytes) {
  Call call;
  call.request.op = client::Op::create;
  call.request.path = path;
  call.request.size_bytes = size_bytes;
  return run(call);
}

Status Client::write(const std::string& path, uint64_t offset, ConstBytes bytes) {
  Call call;
  call.request.op = client::Op::write;
  call.request.path = path;
  call.request.offset = offset;
  call.memory.assign(bytes.begin(), bytes.end());
  use_memory(call);
  return run(call);
}

Result<std::vector<std::byte>> Client::read(const std::string& path, uint64_t offset,
                                            uint64_t length_bytes) {
  Call call;
  call.request.op = client::Op::read;
  call.request.path = path;
  call.request.offset = offset;
  call.memory.assign(length_bytes, std::byte{0xEE});
  use_memory(call);
  const Status status = run(call);
  if (!status.ok()) return gd2fs::fail(status);
  call.memory.resize(call.request.value);
  return std::move(call.memory);
}

Result<client::FileFacts> Client::stat(const std::string& path) {
  Call call;
  call.request.op = client::Op::stat;
  call.request.path = path;
  const Status status = run(call);
  if (!status.ok()) return gd2fs::fail(status);
  return call.request.facts;
}

Status Client::unlink(const std::string& path) {
  Call call;
  call.request.op = client::Op::unlink;
  call.request.path = path;
  return run(call);
}

Status Client::rename(const std::string& from, const std::string& to) {
  Call call;
  call.request.op = client::Op::rename;
  call.request.path = from;
  call.request.other = to;
  return run(call);
}

Status Client::truncate(const std::string& path, uint64_t size_bytes) {
  Call call;
  call.request.op = client::Op::truncate;
  call.request.path = path;
  call.request.size_bytes = size_bytes;
  return run(call);
}

Status Client::mkdir(const std::string& path) {
  Call call;
  call.request.op = client::Op::mkdir;
  call.request.path = path;
  return run(call);
}

Status Client::rmdir(const std::string& path) {
  Call call;
  call.request.op = client::Op::rmdir;
  call.request.path = path;
  return run(call);
}

Result<std::vector<std::string>> Client::list(const std::string& path) {
  std::vector<std::string> names;
  for (;;) {
    Call call;
    call.request.op = client::Op::readdir;
    call.request.path = path;
    call.request.other = names.empty() ? "" : names.back();
    call.request.entries_max = 100;
    const Status status = run(call);
    if (!status.ok()) return gd2fs::fail(status);
    for (const auto& entry : call.request.entries) names.push_back(entry.name);
    if (call.request.entries.size() < 100) return names;
  }
}

}  // namespace gd2fs::sim
