// Dispatch: which operation serves a message, and who may ask for it. The one table of them.
#pragma once

#include "controller/operations.h"
#include "fabric/fabric.h"

namespace gd2fs::controller {

// Opens the body and makes the operation's coroutine. unsupported: no such operation; denied: not
// for this role; invalid: malformed.
Result<Task<Answer>> start_operation(Asker asker, const Message& message);

}  // namespace gd2fs::controller
