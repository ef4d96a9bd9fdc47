#include "base/log.h"
#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {
namespace {

Task<Status> tell_servers(Controller* controller, InodeInfo info, bool pinned) {
  msg::ServerPinT pin;
  pin.inode = info.inode;
  pin.pinned = pinned;
  pin.size_bytes = info.size_bytes;
  pin.stamp_us =
      controller->loop().clock().wall_us() + controller->options().capability_ttl_ns / kUs;
  const auto answers = co_await controller->ask_servers(msg::Type::server_pin, pack_body(pin));
  for (const auto& answer : answers) {
    if (!answer.reply.has_value()) co_return answer.reply.error();
  }
  co_return Status();
}

}  // namespace

// The servers are asked first, since they may have no room; a pin that one refuses is taken back at
// all of them and changes nothing. To those that could not be asked, capabilities tell it.
Task<Answer> setattr_op(Asker asker, msg::SetattrT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const InodeInfo before, co_await when_free<InodeInfo>(&controller, [&] {
                    return controller.names().lookup(asker.cluster_id(), request.path);
                  }));
  if (before.type != FileType::file) {
    co_return fail(StatusCode::invalid, request.path + " is a directory", EISDIR);
  }
  const Status told = co_await tell_servers(&controller, before, request.pin);
  if (told.is(StatusCode::no_space) || told.is(StatusCode::busy)) {
    const Status undone = co_await tell_servers(&controller, before, before.pinned);
    if (!undone.ok()) GD2FS_LOG_WARN("setattr {}: {}", request.path, undone.to_string());
    co_return fail(Status(StatusCode::no_space, told.text(), ENOSPC));
  }
  GD2FS_CO_ASSIGN(const Mutated changed, co_await when_free<Mutated>(&controller, [&] {
                    return controller.names().set_pinned(asker.cluster_id(), request.path,
                                                         request.pin, tag);
                  }));
  msg::SetattrReplyT reply;
  reply.info = file_info(controller, changed.info, true);
  co_return pack_body(reply);
}

}  // namespace gd2fs::controller
