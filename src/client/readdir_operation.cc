#include "client/readdir_operation.h"

#include <algorithm>

#include "client/client.h"
#include "wire/path.h"

namespace gd2fs::client {

ReaddirOperation::ReaddirOperation(Client& client, Request& request) : Operation(client, request) {
  question_.done.bind<&ReaddirOperation::on_page>(this);
}

void ReaddirOperation::start() {
  request_.entries.clear();
  ask();
}

void ReaddirOperation::ask() {
  msg::ReaddirT body;
  body.path = request_.path;
  body.after = request_.entries.empty() ? request_.other : request_.entries.back().name;
  const size_t left = request_.entries_max - request_.entries.size();
  body.limit = static_cast<uint32_t>(std::min<size_t>(left, kPageEntriesMax));
  question_.set(msg::Type::readdir, pack_body(body));
  asking_ = true;
  client_.controller().start(question_);
}

Status ReaddirOperation::trouble() const {
  return client_.controller().reachable() ? Status() : client_.controller().last_failure();
}

void ReaddirOperation::on_page(Completion&) {
  asking_ = false;
  if (ending()) return;
  if (!question_.outcome.ok()) return fail(question_.outcome, Origin::controller);
  const auto* reply = open_body<msg::ReaddirReply>(question_.reply);
  const Status malformed(StatusCode::io, "the controller's answer is malformed");
  if (reply == nullptr) return fail(malformed, Origin::controller);
  size_t got = 0;
  if (reply->entries() != nullptr) {
    for (const msg::DirEntry* entry : *reply->entries()) {
      if (request_.entries.size() == request_.entries_max) break;
      const std::string_view name = text_of(entry->name());
      if (!check_name(name).ok()) return fail(malformed, Origin::controller);
      request_.entries.push_back({std::string(name), entry->size_bytes(), entry->mtime_us(),
                                  entry->inode(), static_cast<FileType>(entry->type())});
      ++got;
    }
  }
  if (reply->more() && got > 0 && request_.entries.size() < request_.entries_max) return ask();
  finish(request_.entries.size());
}

}  // namespace gd2fs::client
