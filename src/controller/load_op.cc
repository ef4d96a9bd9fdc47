#include "base/log.h"
#include "controller/controller.h"

namespace gd2fs::controller {

// The first batch begins the load, the one with the end line finishes it. From the first to the
// last nobody else is served; one that failed leaves a store that is never served again.
Task<Answer> load_op(Asker asker, msg::MetaLoadT request) {
  Controller& controller = *asker.controller;
  GD2FS_CO_ASSIGN(const MutationTag tag, tag_of(request.tag));
  LoadState& load = controller.load();
  if (load.busy) co_return fail(StatusCode::busy, "another batch is being loaded");
  if (load.last_tag.incarnation == tag.incarnation && load.last_tag.sequence == tag.sequence) {
    if (!load.outcome.ok()) co_return fail(load.outcome);
    co_return done_body();
  }
  load.last_tag = tag;
  load.busy = true;
  load.outcome = co_await controller.load_lines(std::move(request.lines));
  load.busy = false;
  if (!load.outcome.ok()) {
    GD2FS_LOG_ERROR("metadata was not loaded: {}", load.outcome.to_string());
    co_return fail(load.outcome);
  }
  co_return done_body();
}

}  // namespace gd2fs::controller
