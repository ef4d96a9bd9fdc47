#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {

Task<void> cluster_keys_op(Registration* registration, Asker asker, std::vector<std::byte> keys) {
  registration->state().authority.set_keys(*open_body<msg::ClusterKeys>(keys));
  registration->owner().clusters_changed();
  registration->reply(asker.session_number, msg::Type::cluster_keys, asker.request_id,
                      pack_body(msg::DoneT{}));
  co_return;
}

}  // namespace gd2fs::server
