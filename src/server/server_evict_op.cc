#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {

Task<void> server_evict_op(Registration* registration, Asker asker, uint64_t inode) {
  registration->state().store.evict(inode);
  registration->reply(asker.session_number, msg::Type::server_evict, asker.request_id,
                      pack_body(msg::DoneT{}));
  co_return;
}

}  // namespace gd2fs::server
