/* What the C11 programs of tests/abi share. They are written against <xfer/gd2fs.h> alone; each
 * takes the cluster's address from GD2FS_CPADDR and GD2FS_CLUSTER, like any program, ends with 0
 * when all is well, and says where it is not. */
#ifndef GD2FS_ABI_TEST_H
#define GD2FS_ABI_TEST_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xfer/gd2fs.h>

#define EXPECT(condition)                                                                     \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
              xfer_gd2fs_last_error());                                                       \
      exit(1);                                                                                \
    }                                                                                         \
  } while (0)

#define EXPECT_EQ(got, wanted)                                                                    \
  do {                                                                                            \
    const long long got_value = (long long)(got);                                                 \
    const long long wanted_value = (long long)(wanted);                                           \
    if (got_value != wanted_value) {                                                              \
      fprintf(stderr, "%s:%d: %s is %lld, not %lld (last error: %s)\n", __FILE__, __LINE__, #got, \
              got_value, wanted_value, xfer_gd2fs_last_error());                                  \
      exit(1);                                                                                    \
    }                                                                                             \
  } while (0)

static inline xfer_gd2fs_ctx* abi_connect(uint32_t timeout_ms) {
  xfer_gd2fs_options options = {0};
  options.timeout = timeout_ms;
  options.iothread_count = 1;
  options.memthread_count = 1;
  options.conn_stream_count = 1;
  options.log_level = "error";
  xfer_gd2fs_ctx* ctx = xfer_gd2fs_connect(&options);
  EXPECT(ctx != NULL);
  return ctx;
}

/* Waits for one completion and expects it to be `id`'s. */
static inline xfer_gd2fs_completion abi_reap(xfer_gd2fs_ctx* ctx, void* id, int timeout_ms) {
  xfer_gd2fs_completion done;
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, timeout_ms), 1);
  EXPECT(done.id == id);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(done.reserved[i], 0);
  return done;
}

static inline xfer_gd2fs_completion abi_ok(xfer_gd2fs_ctx* ctx, void* id) {
  const xfer_gd2fs_completion done = abi_reap(ctx, id, 20000);
  if (done.status != 0) {
    fprintf(stderr, "class %u code %u\n", XFER_GD2FS_STATUS_CLASS(done.status),
            XFER_GD2FS_STATUS_CODE(done.status));
  }
  EXPECT_EQ(done.status, 0);
  return done;
}

static inline void abi_fails(xfer_gd2fs_ctx* ctx, void* id, unsigned status_class, int code) {
  const xfer_gd2fs_completion done = abi_reap(ctx, id, 20000);
  EXPECT_EQ(XFER_GD2FS_STATUS_CLASS(done.status), status_class);
  EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done.status), code);
  EXPECT_EQ(done.value, 0);
}

/* A byte pattern that depends on the position in the file. */
static inline unsigned char abi_byte(uint64_t offset, unsigned seed) {
  uint64_t x = (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) + seed;
  x ^= x >> 29;
  return (unsigned char)(x >> (offset % 8 * 8));
}
static inline void abi_fill(unsigned char* to, uint64_t offset, size_t length, unsigned seed) {
  for (size_t i = 0; i < length; ++i) to[i] = abi_byte(offset + i, seed);
}
static inline void abi_check(const unsigned char* from, uint64_t offset, size_t length,
                             unsigned seed) {
  for (size_t i = 0; i < length; ++i) {
    if (from[i] == abi_byte(offset + i, seed)) continue;
    fprintf(stderr, "byte %" PRIu64 " is %u, not %u\n", offset + i, from[i],
            abi_byte(offset + i, seed));
    exit(1);
  }
}

#endif
