/* Views: bytes of a file looked at where they lie. Over TCP they are copied into the buffer;
 * through shared memory, which `gd2fs up` offers on this host, they are the server's own, and go
 * stale when it uses the memory for something else. */
#include "abi_test.h"

enum { kMiB = 1 << 20 };

static void write_all(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem, unsigned char* buffer,
                      const char* path, size_t length, unsigned seed) {
  abi_fill(buffer, 0, length, seed);
  const xfer_gd2fs_sge sge = {buffer, length, iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, buffer, path, 0, &sge, 1, 0), length);
  EXPECT_EQ(abi_ok(ctx, buffer).value, length);
}

static xfer_gd2fs_view look(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem, unsigned char* buffer,
                            const char* path, uint64_t offset, size_t length, size_t expected,
                            unsigned seed) {
  xfer_gd2fs_view view;
  memset(&view, 0xee, sizeof view);
  const xfer_gd2fs_sge sge = {buffer, length, iomem};
  EXPECT_EQ(xfer_gd2fs_view_get(ctx, &view, path, offset, &sge, &view), length);
  EXPECT_EQ(abi_ok(ctx, &view).value, expected);
  EXPECT_EQ(view.len, expected);
  EXPECT(view.zero_copy <= 1);
  EXPECT((view.zero_copy == 0) == (view.addr == buffer));
  abi_check((unsigned char*)view.addr, offset, expected, seed);
  return view;
}

int main(void) {
  xfer_gd2fs_ctx* ctx = abi_connect(10000);
  const size_t length = 6 * kMiB;
  unsigned char* buffer = malloc(length);
  EXPECT(buffer != NULL);
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx, buffer, length, NULL);
  EXPECT(iomem != NULL);
  write_all(ctx, iomem, buffer, "/view", length, 1);

  /* One chunk is one piece of memory there: no copy, and the buffer stays as it is. */
  memset(buffer, 0xaa, length);
  xfer_gd2fs_view one = look(ctx, iomem, buffer, "/view", 4096, 2 * kMiB, 2 * kMiB, 1);
  const int zero_copy = (int)one.zero_copy;
  if (zero_copy) EXPECT_EQ(buffer[0], 0xaa);
  const char* shm = getenv("ABI_EXPECTS_VIEWS");
  if (shm != NULL) EXPECT_EQ(zero_copy, *shm == '1');

  /* Two chunks need not lie side by side; what is small and the end of the file are answered as
   * well. */
  xfer_gd2fs_view two = look(ctx, iomem, buffer, "/view", 3 * kMiB, 2 * kMiB, 2 * kMiB, 1);
  EXPECT_EQ(xfer_gd2fs_view_put(&two), 0);
  xfer_gd2fs_view small = look(ctx, iomem, buffer, "/view", 10, 100, 100, 1);
  EXPECT_EQ(xfer_gd2fs_view_put(&small), 0);
  xfer_gd2fs_view end = look(ctx, iomem, buffer, "/view", length - 1000, 5000, 1000, 1);
  EXPECT_EQ(xfer_gd2fs_view_put(&end), 0);

  /* The bytes were right as long as nobody changed them; given back once. */
  EXPECT_EQ(xfer_gd2fs_view_put(&one), 0);
  if (zero_copy) EXPECT_EQ(xfer_gd2fs_view_put(&one), -EINVAL);

  /* Overwritten while it is out: the server's page is free for others. The memory stays readable.
   */
  xfer_gd2fs_view old = look(ctx, iomem, buffer, "/view", 0, kMiB, kMiB, 1);
  unsigned char* more = malloc(length);
  EXPECT(more != NULL);
  xfer_gd2fs_iomem* other = xfer_gd2fs_reg_iomem(ctx, more, length, NULL);
  write_all(ctx, other, more, "/view", length, 2);
  volatile unsigned char sum = 0;
  for (size_t i = 0; i < old.len; i += 4096) sum ^= ((const unsigned char*)old.addr)[i];
  EXPECT_EQ(xfer_gd2fs_view_put(&old), zero_copy ? -ESTALE : 0);
  xfer_gd2fs_view fresh = look(ctx, iomem, buffer, "/view", 0, kMiB, kMiB, 2);

  /* What is refused. */
  const xfer_gd2fs_sge sge = {buffer, 100, iomem};
  EXPECT_EQ(xfer_gd2fs_view_get(ctx, NULL, "/view", 0, &sge, NULL), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_view_get(ctx, NULL, "/view", 0, NULL, &fresh), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_view_put(NULL), -EINVAL);
  xfer_gd2fs_view none = {0};
  EXPECT_EQ(xfer_gd2fs_view_get(ctx, &none, "/not-there", 0, &sge, &none), 100);
  abi_fails(ctx, &none, XFER_GD2FS_STATUS_CLASS_SERVER, ENOENT);

  /* A view outlives its ctx. */
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
  if (fresh.zero_copy) abi_check((unsigned char*)fresh.addr, 0, fresh.len, 2);
  EXPECT_EQ(xfer_gd2fs_view_put(&fresh), 0);
  free(more);
  free(buffer);
  return 0;
}
