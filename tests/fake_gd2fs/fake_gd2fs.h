/* A fake libgd2fs: the interface of <xfer/gd2fs.h> over files in this process's memory, for testing
 * what stands on that interface without a server.
 *
 * Operations really are asynchronous: a thread of the library's own ends them later, not in the
 * order they came. Until a read ends, its memory holds garbage, and after a failure too. A
 * cancelled request's memory is written to until the cancel is confirmed, as by a peer that has not
 * heard of it: whoever frees it early is found out. All clusters are empty at first and shared by
 * all ctxs of the process. The functions below are a test's, beside those of the real interface. */
#ifndef FAKE_GD2FS_H
#define FAKE_GD2FS_H

#include <xfer/gd2fs.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Forgets all files and all that was set below; what is held goes on. */
XFER_GD2FS_API void fake_gd2fs_reset(void);
/* While on, accepted operations do not start. */
XFER_GD2FS_API void fake_gd2fs_hold(int on);
/* Lets `count` held operations run. */
XFER_GD2FS_API void fake_gd2fs_step(unsigned count);
/* The next operation with this opcode completes with this status. */
XFER_GD2FS_API void fake_gd2fs_fail_next(unsigned opcode, unsigned status);
/* While on, cancelled requests do not complete. */
XFER_GD2FS_API void fake_gd2fs_hold_cancels(int on);
/* How many wait for that. */
XFER_GD2FS_API unsigned fake_gd2fs_cancels_held(void);
/* Requests accepted at one time, per ctx; XFER_GD2FS_REQUESTS_MAX unless set. */
XFER_GD2FS_API void fake_gd2fs_set_requests_max(unsigned count);

/* What is open, over all ctxs: for finding leaks. */
XFER_GD2FS_API unsigned fake_gd2fs_ctxs(void);
XFER_GD2FS_API unsigned fake_gd2fs_iomems(void);
XFER_GD2FS_API unsigned fake_gd2fs_cqs(void);
/* Accepted and not completed. */
XFER_GD2FS_API unsigned fake_gd2fs_running(void);

#ifdef __cplusplus
}
#endif

#endif
