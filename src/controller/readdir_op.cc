#include <algorithm>

#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> readdir_op(Asker asker, msg::ReaddirT request) {
  Controller& controller = *asker.controller;
  size_t limit = Namespace::kReaddirMax;
  if (request.limit != 0) limit = std::min<size_t>(limit, request.limit);
  GD2FS_CO_ASSIGN(const DirectoryPage page, co_await when_free<DirectoryPage>(&controller, [&] {
                    return controller.names().readdir(asker.cluster_id(), request.path,
                                                      request.after, limit);
                  }));
  msg::ReaddirReplyT reply;
  for (const DirectoryEntry& entry : page.entries) {
    auto& out = reply.entries.emplace_back(std::make_unique<msg::DirEntryT>());
    out->name = entry.name;
    out->type = static_cast<msg::FileType>(entry.type);
    out->size_bytes = entry.size_bytes;
    out->mtime_us = entry.mtime_us;
    out->inode = entry.inode;
  }
  reply.more = page.more;
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
