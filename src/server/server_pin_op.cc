#include "server/controller_requests.h"
#include "server/registration.h"

namespace gd2fs::server {

Task<void> server_pin_op(Registration* registration, Asker asker, StorePin pin) {
  const Status status = registration->state().store.pin(pin);
  if (status.ok()) {
    registration->reply(asker.session_number, msg::Type::server_pin, asker.request_id,
                        pack_body(msg::DoneT{}));
  } else {
    registration->reply_error(asker.session_number, asker.request_id, status);
  }
  co_return;
}

}  // namespace gd2fs::server
