#include "client/name_operation.h"

#include "client/client.h"

namespace gd2fs::client {
namespace {

msg::Type message_of(Op op) {
  switch (op) {
    case Op::create:
      return msg::Type::create;
    case Op::unlink:
      return msg::Type::unlink;
    case Op::rename:
      return msg::Type::rename;
    case Op::mkdir:
      return msg::Type::mkdir;
    case Op::rmdir:
      return msg::Type::rmdir;
    case Op::truncate:
      return msg::Type::truncate;
    case Op::setattr:
      return msg::Type::setattr;
    case Op::advise:
      return msg::Type::evict;
    default:
      return msg::Type::none;
  }
}

void set_facts(const Layout& layout, FileFacts* out) {
  out->size_bytes = layout.size_bytes;
  out->inode = layout.inode;
  out->generation = layout.generation;
  out->chunk_bytes = layout.type == FileType::file ? uint64_t{1} << layout.chunk_log2 : 0;
  out->mtime_us = layout.mtime_us;
  out->ctime_us = layout.ctime_us;
  out->type = layout.type;
  out->pinned = layout.pinned;
}

}  // namespace

NameOperation::NameOperation(Client& client, Request& request)
    : Operation(client, request), question_(*this) {
  question_.type = message_of(request.op);
  question_.done.bind<&NameOperation::on_answer>(this);
  wish_.done.bind<&NameOperation::on_facts>(this);
}

NameOperation::~NameOperation() {
  if (sequence_ != 0) client_.controller().end_sequence(sequence_);
}

void NameOperation::start() {
  asking_ = true;
  asked_ = client_.resolver().asked();
  if (request_.op != Op::stat) return client_.controller().start(question_);
  wish_.path = request_.path;
  wish_.fresh = true;
  wish_.after = asked_;
  client_.resolver().start(wish_);
}

void NameOperation::stop() {
  if (request_.op == Op::stat) {
    client_.resolver().cancel(wish_);
  } else {
    question_.cancel();
  }
}

Status NameOperation::trouble() const {
  return client_.controller().reachable() ? Status() : client_.controller().last_failure();
}

Result<ConstBytes> NameOperation::compose(flatbuffers::FlatBufferBuilder& builder) {
  if (sequence_ == 0) sequence_ = client_.controller().take_sequence();
  if (sequence_ == 0) return gd2fs::fail(Peer::no_sequence());
  const msg::Tag tag(client_.incarnation(), sequence_, client_.controller().low_sequence());
  const auto path = builder.CreateString(request_.path);
  switch (request_.op) {
    case Op::create:
      return finish_body(builder,
                         msg::CreateCreate(builder, path, request_.size_bytes, 0, 0, &tag));
    case Op::unlink:
      return finish_body(builder, msg::CreateUnlink(builder, path, &tag));
    case Op::rename: {
      const auto to = builder.CreateString(request_.other);
      return finish_body(builder, msg::CreateRename(builder, path, to, &tag));
    }
    case Op::mkdir:
      return finish_body(builder, msg::CreateMkdir(builder, path, &tag));
    case Op::rmdir:
      return finish_body(builder, msg::CreateRmdir(builder, path, &tag));
    case Op::truncate:
      return finish_body(builder, msg::CreateTruncate(builder, path, request_.size_bytes, &tag));
    case Op::setattr:
      return finish_body(builder, msg::CreateSetattr(builder, path, request_.pin, &tag));
    case Op::advise:
      return finish_body(builder, msg::CreateEvict(builder, path));
    default:
      return gd2fs::fail(StatusCode::unsupported, "no such operation");
  }
}

void NameOperation::on_facts(Completion&) {
  asking_ = false;
  if (ending()) return;
  if (!wish_.outcome.ok()) return fail(wish_.outcome, Origin::controller);
  set_facts(*wish_.layout, &request_.facts);
  finish(0);
}

// What a create or truncate tells of the file saves the next request a question.
Status NameOperation::take_info(const msg::FileInfo* info) {
  GD2FS_ASSIGN(Layout layout, layout_from(info, true, client_.loop().now_ns(), asked_));
  set_facts(layout, &request_.facts);
  if (layout.type == FileType::file && !layout.capability.empty()) {
    client_.layouts().put(request_.path, std::move(layout), client_.loop().now_ns());
  }
  return {};
}

Status NameOperation::take_reply() {
  const Status malformed(StatusCode::io, "the controller's answer is malformed");
  switch (request_.op) {
    case Op::create: {
      const auto* reply = open_body<msg::CreateReply>(question_.reply);
      return reply == nullptr ? malformed : take_info(reply->info());
    }
    case Op::truncate: {
      const auto* reply = open_body<msg::TruncateReply>(question_.reply);
      return reply == nullptr ? malformed : take_info(reply->info());
    }
    case Op::setattr: {
      const auto* reply = open_body<msg::SetattrReply>(question_.reply);
      return reply == nullptr ? malformed : take_info(reply->info());
    }
    case Op::advise:
      return {};
    case Op::rename:
      client_.layouts().forget_tree(request_.path);
      client_.layouts().forget_tree(request_.other);
      return {};
    default:
      client_.layouts().forget(request_.path);
      return {};
  }
}

void NameOperation::on_answer(Completion&) {
  asking_ = false;
  if (ending()) return;
  if (!question_.outcome.ok()) return fail(question_.outcome, Origin::controller);
  const Status taken = take_reply();
  if (!taken.ok()) return fail(taken, Origin::controller);
  finish(0);
}

}  // namespace gd2fs::client
