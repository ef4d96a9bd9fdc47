/* The table of what is refused at submit, and handles that are not handles. */
#include <sys/mman.h>

#include "abi_test.h"

static xfer_gd2fs_ctx* ctx;
static xfer_gd2fs_iomem* iomem;
static unsigned char memory[4096];

static ssize_t read_path(const char* path) {
  const xfer_gd2fs_sge sge = {memory, 1, iomem};
  return xfer_gd2fs_preadv(ctx, NULL, path, 0, &sge, 1, 0);
}
static ssize_t read_sge(void* addr, uint64_t len, xfer_gd2fs_iomem* of) {
  const xfer_gd2fs_sge sge = {addr, len, of};
  return xfer_gd2fs_preadv(ctx, NULL, "/f", 0, &sge, 1, 0);
}

static void paths(void) {
  static const char* const bad[] = {NULL,    "",     "f",       "f/g", "/",    "//f",  "/f/",
                                    "/a//b", "/./f", "/a/../f", "/..", "/a/.", "/a/b/"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) EXPECT_EQ(read_path(bad[i]), -EINVAL);
  char name[300];
  memset(name, 'a', sizeof name);
  name[0] = '/';
  name[257] = '\0'; /* a component of 256 bytes */
  EXPECT_EQ(read_path(name), -ENAMETOOLONG);
  char path[4200];
  for (size_t i = 0; i < sizeof path; ++i) path[i] = i % 100 == 0 ? '/' : 'a';
  path[4097] = '\0';
  EXPECT_EQ(read_path(path), -ENAMETOOLONG);
  EXPECT_EQ(xfer_gd2fs_unlink(ctx, NULL, "f"), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_rename(ctx, NULL, "/f", NULL), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_rename(ctx, NULL, "/f", "g"), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_fstat(ctx, NULL, "/f", NULL), -EINVAL);
}

static void sges(void) {
  const xfer_gd2fs_sge whole = {memory, sizeof memory, iomem};
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/f", 0, &whole, 0, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/f", 0, NULL, 1, 0), -EINVAL);
  for (unsigned flag = 1; flag <= 0x8000; flag <<= 1) {
    EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/f", 0, &whole, 1, (uint16_t)flag), -EINVAL);
    EXPECT_EQ(xfer_gd2fs_pwritev(ctx, NULL, "/f", 0, &whole, 1, (uint16_t)flag), -EINVAL);
    EXPECT_EQ(xfer_gd2fs_create(ctx, NULL, "/f", (uint16_t)flag, 0), -EINVAL);
  }
  EXPECT_EQ(read_sge(memory, sizeof memory + 1, iomem), -EINVAL);
  EXPECT_EQ(read_sge(memory + 1, sizeof memory, iomem), -EINVAL);
  EXPECT_EQ(read_sge(memory + sizeof memory, 1, iomem), -EINVAL);
  EXPECT_EQ(read_sge(memory, UINT64_MAX, iomem), -EINVAL);
  EXPECT_EQ(read_sge(memory, 1, NULL), -EINVAL);
  EXPECT_EQ(read_sge(memory, 1, (xfer_gd2fs_iomem*)(uintptr_t)0x12345), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/f", UINT64_MAX, &whole, 1, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/f", INT64_MAX, &whole, 1, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_create(ctx, NULL, "/f", 0, UINT64_MAX), -EINVAL);
}

static void registrations(void) {
  EXPECT(xfer_gd2fs_reg_iomem(ctx, NULL, 1, NULL) == NULL);
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, 0, NULL) == NULL);
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, SIZE_MAX, NULL) == NULL);
  xfer_gd2fs_iomem_options options = {0};
  options.flags = 1;
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, 1, &options) == NULL);
  options.flags = 0;
  options.reserved[15] = 1;
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, 1, &options) == NULL);
  /* Memory that the CPU cannot read, as a GPU's is. */
  void* gpu = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(gpu != MAP_FAILED);
  EXPECT(xfer_gd2fs_reg_iomem(ctx, gpu, 4096, NULL) == NULL);
  EXPECT(strstr(xfer_gd2fs_last_error(), "GPU") != NULL);

  xfer_gd2fs_iomem* other = xfer_gd2fs_reg_iomem(ctx, memory, 8, NULL);
  EXPECT(other != NULL && other != iomem);
  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, other), 0);
  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, other), -EINVAL);
  EXPECT_EQ(read_sge(memory, 1, other), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, NULL), -EINVAL);
}

static void others(void) {
  xfer_gd2fs_completion done;
  EXPECT_EQ(xfer_gd2fs_wait(ctx, NULL, 1, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 0, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, -2), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, 0), 0);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, 30), 0);
  EXPECT_EQ(xfer_gd2fs_submit(ctx, NULL, NULL), -EINVAL);
  xfer_gd2fs_op op = {0};
  EXPECT_EQ(xfer_gd2fs_submit(ctx, NULL, &op), -EINVAL);
  op.opcode = XFER_GD2FS_OP_UNLINK;
  op.filepath = "/f";
  op.reserved[3] = 7;
  EXPECT_EQ(xfer_gd2fs_submit(ctx, NULL, &op), -EINVAL);
  op.reserved[3] = 0;
  EXPECT_EQ(xfer_gd2fs_submit(ctx, (xfer_gd2fs_cq*)(uintptr_t)99, &op), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_cq_destroy(ctx, NULL), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_cancel(ctx, 12345), -ENOENT);
  EXPECT_EQ(xfer_gd2fs_advise(ctx, NULL, "/f", 0, 0, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_advise(ctx, NULL, "/f", 0, 0, 4), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_advise(ctx, NULL, "/f", 1, 0, XFER_GD2FS_ADVICE_DROP), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_advise(ctx, NULL, "/f", 1, UINT64_MAX, XFER_GD2FS_ADVICE_QUERY), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", NULL), -EINVAL);
  xfer_gd2fs_attr attr = {0};
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", &attr), -EINVAL);
  attr.set = 8;
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", &attr), -EINVAL);
  attr.set = XFER_GD2FS_ATTR_PIN;
  attr.pin = 2;
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", &attr), -EINVAL);
  attr.pin = 1;
  attr.set |= XFER_GD2FS_ATTR_REPLICAS;
  attr.replicas = 3;
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", &attr), -ENOTSUP);
  attr.set = XFER_GD2FS_ATTR_TTL;
  attr.ttl_s = 60;
  EXPECT_EQ(xfer_gd2fs_setattr(ctx, NULL, "/f", &attr), -ENOTSUP);
  EXPECT(strlen(xfer_gd2fs_version()) > 0);
}

static void closed(void) {
  xfer_gd2fs_completion done;
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
  EXPECT_EQ(xfer_gd2fs_close(ctx), -ECANCELED);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, 0), -ECANCELED);
  EXPECT_EQ(read_path("/f"), -ECANCELED);
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, 1, NULL) == NULL);
  EXPECT_EQ(xfer_gd2fs_wait(NULL, &done, 1, 0), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_close(NULL), -EINVAL);
  EXPECT_EQ(xfer_gd2fs_close((xfer_gd2fs_ctx*)(uintptr_t)0x1234567), -EINVAL);
}

static void no_connection(void) {
  xfer_gd2fs_options options = {0};
  options.log_level = "error";
  options.timeout = 300;
  options.cp_address = "gd2fs://127.0.0.1:1";
  EXPECT(xfer_gd2fs_connect(&options) == NULL);
  EXPECT(strlen(xfer_gd2fs_last_error()) > 0);
  options.cp_address = "http://127.0.0.1";
  EXPECT(xfer_gd2fs_connect(&options) == NULL);
  options.cp_address = NULL;
  options.cluster_id = "no-such-cluster";
  EXPECT(xfer_gd2fs_connect(&options) == NULL);
  options.cluster_id = NULL;
  options.reserved[0] = 1;
  EXPECT(xfer_gd2fs_connect(&options) == NULL);
}

int main(void) {
  ctx = abi_connect(3000);
  iomem = xfer_gd2fs_reg_iomem(ctx, memory, sizeof memory, NULL);
  EXPECT(iomem != NULL);
  paths();
  sges();
  registrations();
  others();
  closed();
  no_connection();
  return 0;
}
