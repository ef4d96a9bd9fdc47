/* dereg, cancel, queue destroy and close with requests in flight: afterwards nobody touches the
 * memory. A canary byte pattern is written over it and watched. */
#include <pthread.h>
#include <time.h>

#include "abi_test.h"

enum { kBytes = 64 << 20, kParts = 16 };

static void nap_ms(long ms) {
  const struct timespec nap = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&nap, NULL);
}

static void expect_canary(const unsigned char* memory) {
  nap_ms(50);
  for (size_t i = 0; i < kBytes; ++i) EXPECT_EQ(memory[i], 0x5a);
}

static void start_reads(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq, xfer_gd2fs_iomem* iomem,
                        unsigned char* memory, uint64_t* numbers) {
  const size_t part = kBytes / kParts;
  for (int i = 0; i < kParts; ++i) {
    const xfer_gd2fs_sge sge = {memory + (size_t)i * part, part, iomem};
    xfer_gd2fs_op op = {0};
    op.opcode = XFER_GD2FS_OP_READ;
    op.id = memory + i;
    op.filepath = "/in_flight";
    op.off = (uint64_t)i * part;
    op.sges = &sge;
    op.nsge = 1;
    op.request = &numbers[i];
    EXPECT_EQ(xfer_gd2fs_submit(ctx, cq, &op), part);
  }
}

static void reap_all(xfer_gd2fs_ctx* ctx) {
  int left = kParts;
  while (left > 0) {
    xfer_gd2fs_completion done[kParts];
    const int got = xfer_gd2fs_wait(ctx, done, kParts, 20000);
    EXPECT(got > 0);
    for (int i = 0; i < got; ++i) {
      if (done[i].status == 0) continue; /* it had ended before */
      EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(done[i].status), XFER_GD2FS_STATUS_CLASS_CLIENT);
      EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done[i].status), ECANCELED);
    }
    left -= got;
  }
}

struct waiter {
  xfer_gd2fs_ctx* ctx;
  int answer;
};
static void* wait_for_ever(void* argument) {
  struct waiter* waiter = argument;
  xfer_gd2fs_completion done[kParts];
  do {
    waiter->answer = xfer_gd2fs_wait(waiter->ctx, done, kParts, -1);
  } while (waiter->answer > 0);
  return NULL;
}

int main(void) {
  xfer_gd2fs_ctx* ctx = abi_connect(20000);
  unsigned char* memory = malloc(kBytes);
  EXPECT(memory != NULL);
  memset(memory, 1, kBytes);
  uint64_t numbers[kParts];
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx, memory, kBytes, NULL);
  EXPECT(iomem != NULL);
  const xfer_gd2fs_sge all = {memory, kBytes, iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, memory, "/in_flight", 0, &all, 1, 0), kBytes);
  abi_ok(ctx, memory);

  for (int round = 0; round < 5; ++round) {
    /* dereg */
    start_reads(ctx, NULL, iomem, memory, numbers);
    EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, iomem), 0);
    memset(memory, 0x5a, kBytes);
    reap_all(ctx);
    expect_canary(memory);
    iomem = xfer_gd2fs_reg_iomem(ctx, memory, kBytes, NULL);
    EXPECT(iomem != NULL);

    /* cancel one by one */
    start_reads(ctx, NULL, iomem, memory, numbers);
    for (int i = 0; i < kParts; ++i) {
      const int answer = xfer_gd2fs_cancel(ctx, numbers[i]);
      EXPECT(answer == 0 || answer == -ENOENT);
    }
    reap_all(ctx);
    for (int i = 0; i < kParts; ++i) EXPECT_EQ(xfer_gd2fs_cancel(ctx, numbers[i]), -ENOENT);
    memset(memory, 0x5a, kBytes);
    expect_canary(memory);

    /* the queue goes */
    xfer_gd2fs_cq* cq = xfer_gd2fs_cq_create(ctx);
    EXPECT(cq != NULL);
    start_reads(ctx, cq, iomem, memory, numbers);
    EXPECT_EQ(xfer_gd2fs_cq_destroy(ctx, cq), 0);
    memset(memory, 0x5a, kBytes);
    expect_canary(memory);
  }

  /* close, with a waiter */
  struct waiter waiter = {ctx, 0};
  pthread_t thread;
  EXPECT_EQ(pthread_create(&thread, NULL, wait_for_ever, &waiter), 0);
  start_reads(ctx, NULL, iomem, memory, numbers);
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
  memset(memory, 0x5a, kBytes);
  EXPECT_EQ(pthread_join(thread, NULL), 0);
  EXPECT_EQ(waiter.answer, -ECANCELED);
  expect_canary(memory);
  free(memory);
  return 0;
}
