/* Several threads on one ctx: each completion is handed out exactly once, to one of the waiters;
 * threads race to create one file and one wins; queues keep their completions apart. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "abi_test.h"

enum { kThreads = 6, kRounds = 300, kBytes = 8192 };

static xfer_gd2fs_ctx* ctx;
static atomic_int reaped[kThreads * kRounds];
static atomic_int total;
static atomic_int winners;

static void* work(void* argument) {
  const int me = (int)(intptr_t)argument;
  unsigned char buffer[kBytes];
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx, buffer, sizeof buffer, NULL);
  EXPECT(iomem != NULL);
  char path[64];
  snprintf(path, sizeof path, "/threads_%d", me);
  const xfer_gd2fs_sge sge = {buffer, kBytes, iomem};
  memset(buffer, me, sizeof buffer);
  for (int round = 0; round < kRounds; ++round) {
    void* id = (void*)(intptr_t)(me * kRounds + round + 1);
    const uint64_t offset = (uint64_t)(round % 7) * kBytes;
    /* The buffer never changes after this and its file holds the same byte everywhere. */
    EXPECT_EQ(xfer_gd2fs_pwritev(ctx, id, path, offset, &sge, 1, 0), kBytes);
    xfer_gd2fs_completion done[4];
    const int got = xfer_gd2fs_wait(ctx, done, 4, 20);
    EXPECT(got >= 0);
    for (int i = 0; i < got; ++i) {
      EXPECT_EQ(done[i].status, 0);
      EXPECT_EQ(done[i].value, kBytes);
      atomic_fetch_add(&reaped[(intptr_t)done[i].id - 1], 1);
      atomic_fetch_add(&total, 1);
    }
  }
  while (atomic_load(&total) < kThreads * kRounds) {
    xfer_gd2fs_completion done[16];
    const int got = xfer_gd2fs_wait(ctx, done, 16, 50);
    EXPECT(got >= 0);
    for (int i = 0; i < got; ++i) {
      EXPECT_EQ(done[i].status, 0);
      atomic_fetch_add(&reaped[(intptr_t)done[i].id - 1], 1);
      atomic_fetch_add(&total, 1);
    }
  }
  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, iomem), 0);
  return NULL;
}

static void* race(void* unused) {
  (void)unused;
  xfer_gd2fs_cq* cq = xfer_gd2fs_cq_create(ctx);
  EXPECT(cq != NULL);
  for (int round = 0; round < 50; ++round) {
    char path[64];
    snprintf(path, sizeof path, "/race_%d", round);
    xfer_gd2fs_op op = {0};
    op.opcode = XFER_GD2FS_OP_CREATE;
    op.filepath = path;
    op.id = &op;
    EXPECT_EQ(xfer_gd2fs_submit(ctx, cq, &op), 0);
    struct pollfd ready = {xfer_gd2fs_cq_get_fd(ctx, cq), POLLIN, 0};
    EXPECT(ready.fd >= 0);
    EXPECT_EQ(poll(&ready, 1, 20000), 1);
    xfer_gd2fs_completion done;
    EXPECT_EQ(xfer_gd2fs_cq_wait(ctx, cq, &done, 1, 0), 1);
    EXPECT(done.id == &op);
    EXPECT_EQ(poll(&ready, 1, 0), 0);
    if (done.status == 0) {
      atomic_fetch_add(&winners, 1);
    } else {
      EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(done.status), XFER_GD2FS_STATUS_CLASS_SERVER);
      EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done.status), EEXIST);
      EXPECT_EQ(XFER_GD2FS_STATUS_DO_NOT_RETRY(done.status), 1);
    }
  }
  EXPECT_EQ(xfer_gd2fs_cq_destroy(ctx, cq), 0);
  EXPECT_EQ(xfer_gd2fs_cq_destroy(ctx, cq), -EINVAL);
  return NULL;
}

static void run(void* (*body)(void*)) {
  pthread_t threads[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    EXPECT_EQ(pthread_create(&threads[i], NULL, body, (void*)(intptr_t)i), 0);
  }
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(pthread_join(threads[i], NULL), 0);
}

int main(void) {
  ctx = abi_connect(20000);
  run(work);
  for (int i = 0; i < kThreads * kRounds; ++i) EXPECT_EQ(atomic_load(&reaped[i]), 1);
  run(race);
  EXPECT_EQ(atomic_load(&winners), 50);
  xfer_gd2fs_completion none;
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &none, 1, 0), 0);
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
  return 0;
}
