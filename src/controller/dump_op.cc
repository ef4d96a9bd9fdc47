#include <algorithm>

#include "controller/controller.h"
#include "meta/dump.h"

namespace gd2fs::controller {

Task<Answer> dump_op(Asker asker, msg::MetaDumpT request) {
  size_t limit = kDumpPageMax;
  if (request.limit != 0) limit = std::min<size_t>(limit, request.limit);
  for (;; limit /= 2) {
    GD2FS_CO_ASSIGN(DumpPage page,
                    co_await dump_metadata(asker.controller->store(), request.after, limit));
    msg::MetaDumpReplyT reply;
    reply.lines = std::move(page.lines);
    reply.next = std::move(page.next);
    reply.more = page.more;
    std::vector<std::byte> body = pack_body(reply);
    // Long names may make a page too big for one frame.
    if (body.size() <= kFrameBodyMaxBytes || limit == 1) co_return body;
  }
}

}  // namespace gd2fs::controller
