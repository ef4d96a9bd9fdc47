#include "controller/held.h"
#include "controller/operations.h"

namespace gd2fs::controller {

Task<Answer> unlink_op(Asker asker, msg::UnlinkT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  GD2FS_CO_ASSIGN(const Mutated changed, co_await when_free<Mutated>(&controller, [&] {
                    return controller.names().unlink(asker.cluster_id(), request.path, tag);
                  }));
  GD2FS_CO_TRY(co_await controller.fencing().settle(changed.intents));
  co_return done_body();
}

}  // namespace gd2fs::controller
