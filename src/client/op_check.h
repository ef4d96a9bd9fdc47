// OpCheck: whether an operation may be accepted at all, by API.md section 4: what fails here is
// refused at submit. Pure but for the pins. Any thread.
#pragma once

#include "client/slot.h"

namespace gd2fs::client {

// Copies the operation into the slot and pins the memory it names. On failure nothing stays pinned;
// errno_value() is what submit returns, negated.
Status take_op(const xfer_gd2fs_op& op, IomemTable& iomems, Slot* slot);
void unpin_all(IomemTable& iomems, Slot* slot);

}  // namespace gd2fs::client
