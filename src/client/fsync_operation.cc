#include "client/fsync_operation.h"

#include <set>

#include "client/client.h"
#include "client/data_operation.h"

namespace gd2fs::client {

FsyncOperation::FsyncOperation(Client& client, Request& request) : Operation(client, request) {
  wish_.done.bind<&FsyncOperation::on_resolved>(this);
}

Result<ConstBytes> FsyncOperation::Flush::compose(Link& link,
                                                  flatbuffers::FlatBufferBuilder& builder) {
  const uint32_t handle = use_handle(link, *operation.layout_);
  return finish_body(builder, msg::CreateFlush(builder, handle));
}

void FsyncOperation::start() {
  resolve(client_.resolver().asked());
}

void FsyncOperation::resolve(uint64_t after) {
  wish_.path = request_.path;
  wish_.fresh = true;
  wish_.after = after;
  resolving_ = true;
  client_.resolver().start(wish_);
}

void FsyncOperation::stop() {
  if (resolving_) client_.resolver().cancel(wish_);
  for (const auto& flush : flushes_) flush->cancel();
}

Status FsyncOperation::trouble() const {
  for (const auto& flush : flushes_) {
    if (!flush->idle() && !flush->peer()->reachable()) return flush->peer()->last_failure();
  }
  return client_.controller().reachable() ? Status() : client_.controller().last_failure();
}

void FsyncOperation::on_resolved(Completion&) {
  resolving_ = false;
  if (ending()) return;
  if (!wish_.outcome.ok()) return fail(wish_.outcome, Origin::controller);
  layout_ = wish_.layout;
  ++answered_;
  if (layout_->type != FileType::file) return finish(0);  // names are durable when acknowledged
  stale_ = false;
  flushes_.clear();
  std::set<Peer*> peers;
  const size_t groups = client_.map() == nullptr ? 0 : client_.map()->groups.size();
  for (uint32_t group = 0; group < groups; ++group) {
    Peer* peer = client_.primary_of(group);
    if (peer == nullptr || !peers.insert(peer).second) continue;
    flushes_.push_back(std::make_unique<Flush>(*this));
    ++in_flight_;
    peer->start(*flushes_.back());
  }
  if (peers.empty()) {
    fail(Status(StatusCode::unavailable, "no server is known"), Origin::controller);
  }
}

void FsyncOperation::on_flushed(Flush& flush) {
  --in_flight_;
  if (ending()) return;
  if (flush.outcome.is(StatusCode::stale)) {
    stale_ = true;
  } else if (!flush.outcome.ok()) {
    return fail(flush.outcome, Origin::server);
  } else {
    ++answered_;
  }
  if (in_flight_ > 0) return;
  if (stale_) return resolve(client_.resolver().asked());
  finish(0);
}

}  // namespace gd2fs::client
