/* create, fstat, pwritev, preadv over several SGEs, short read at the end, holes, names. */
#include "abi_test.h"

enum { kMiB = 1 << 20 };

static void write_all(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem, unsigned char* buffer,
                      const char* path, uint64_t offset, size_t length, unsigned seed) {
  abi_fill(buffer, offset, length, seed);
  const xfer_gd2fs_sge sge = {buffer, length, iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, buffer, path, offset, &sge, 1, 0), length);
  EXPECT_EQ(abi_ok(ctx, buffer).value, length);
}

static uint64_t size_of(xfer_gd2fs_ctx* ctx, const char* path) {
  xfer_gd2fs_stat stat = {0};
  EXPECT_EQ(xfer_gd2fs_fstat(ctx, &stat, path, &stat), 0);
  abi_ok(ctx, &stat);
  return stat.size;
}

int main(void) {
  xfer_gd2fs_ctx* ctx = abi_connect(10000);
  const size_t length = 20 * kMiB + 12345;
  unsigned char* buffer = malloc(length);
  EXPECT(buffer != NULL);
  memset(buffer, 0, length);
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx, buffer, length, NULL);
  EXPECT(iomem != NULL);
  int id = 0;

  EXPECT_EQ(xfer_gd2fs_create(ctx, &id, "/rw_a", 0, 0), 0);
  abi_ok(ctx, &id);
  EXPECT_EQ(xfer_gd2fs_create(ctx, &id, "/rw_a", 0, 0), 0);
  abi_fails(ctx, &id, XFER_GD2FS_STATUS_CLASS_SERVER, EEXIST);
  EXPECT_EQ(size_of(ctx, "/rw_a"), 0);

  /* Unaligned, over many chunks. */
  write_all(ctx, iomem, buffer, "/rw_a", 777, length - 1000, 1);
  EXPECT_EQ(size_of(ctx, "/rw_a"), 777 + length - 1000);

  /* Back over SGEs of odd sizes, one of them empty, in another order in memory. */
  memset(buffer, 0, length);
  const size_t first = 3 * kMiB + 1;
  const size_t second = length - 1000 - first;
  const xfer_gd2fs_sge sges[3] = {
      {buffer + second, first, iomem}, {buffer, 0, iomem}, {buffer, second, iomem}};
  errno = 4711;
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_a", 777, sges, 3, 0), length - 1000);
  EXPECT_EQ(abi_ok(ctx, &id).value, length - 1000);
  EXPECT_EQ(errno, 4711);
  abi_check(buffer + second, 777, first, 1);
  abi_check(buffer, 777 + first, second, 1);

  /* Short at the end of the file, nothing past it. */
  memset(buffer, 0xee, 100);
  const xfer_gd2fs_sge hundred = {buffer, 100, iomem};
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_a", 777 + length - 1000 - 40, &hundred, 1, 0), 100);
  EXPECT_EQ(abi_ok(ctx, &id).value, 40);
  EXPECT_EQ(buffer[40], 0xee);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_a", 1ull << 40, &hundred, 1, 0), 100);
  EXPECT_EQ(abi_ok(ctx, &id).value, 0);

  /* A write creates; what was never written reads as zeros. */
  write_all(ctx, iomem, buffer, "/rw_hole", 5 * kMiB, 10, 2);
  memset(buffer, 0xee, 6 * kMiB);
  const xfer_gd2fs_sge six = {buffer, 6 * kMiB, iomem};
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_hole", 0, &six, 1, 0), 6 * kMiB);
  EXPECT_EQ(abi_ok(ctx, &id).value, 5 * kMiB + 10);
  for (size_t i = 0; i < 5 * kMiB; ++i) EXPECT_EQ(buffer[i], 0);
  abi_check(buffer + 5 * kMiB, 5 * kMiB, 10, 2);

  /* No such file, then removal. */
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_none", 0, &hundred, 1, 0), 100);
  abi_fails(ctx, &id, XFER_GD2FS_STATUS_CLASS_SERVER, ENOENT);
  EXPECT_EQ(xfer_gd2fs_unlink(ctx, &id, "/rw_a"), 0);
  abi_ok(ctx, &id);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, &id, "/rw_a", 0, &hundred, 1, 0), 100);
  abi_fails(ctx, &id, XFER_GD2FS_STATUS_CLASS_SERVER, ENOENT);
  EXPECT_EQ(xfer_gd2fs_unlink(ctx, &id, "/rw_hole"), 0);
  abi_ok(ctx, &id);

  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, iomem), 0);
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
  free(buffer);
  return 0;
}
