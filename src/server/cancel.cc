#include "server/cancel.h"

#include "server/connection.h"

namespace gd2fs::server {

void cancel_request(Connection& connection, const msg::Cancel& cancel) {
  const uint64_t request_id = cancel.request_id();
  for (Request* request = connection.requests_.front(); request != nullptr;
       request = connection.requests_.next(*request)) {
    if (request->request_id() != request_id) continue;
    // First the transfers, so that the request finds them ending when it is told.
    connection.session().drop_request(request_id);
    request->cancel(Status(StatusCode::canceled, "canceled by the client"));
    return;
  }
}

}  // namespace gd2fs::server
