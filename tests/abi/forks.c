/* The child's ctx answers -EPERM and its sockets are closed; the parent's goes on; neither hangs at
 * its exit, with requests in flight either. */
#include <dirent.h>
#include <unistd.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include "abi_test.h"

static int count_sockets(void) {
  int count = 0;
  DIR* fds = opendir("/proc/self/fd");
  EXPECT(fds != NULL);
  const int folder = dirfd(fds);
  EXPECT(folder >= 0);
  for (struct dirent* entry = readdir(fds); entry != NULL; entry = readdir(fds)) {
    struct stat info;
    if (fstatat(folder, entry->d_name, &info, 0) == 0 && S_ISSOCK(info.st_mode)) ++count;
  }
  closedir(fds);
  return count;
}

/* A child has none of its parent's threads, and so not the stacks that hold what each was started
 * with: a leak checker would call that lost. It asks here whether it shall look. */
static int in_child;
/* NOLINTBEGIN(bugprone-reserved-identifier): the leak checker's own name */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) {
  return in_child;
}
/* NOLINTEND(bugprone-reserved-identifier) */

static int child(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem, unsigned char* memory,
                 int sockets_before) {
  in_child = 1;
  xfer_gd2fs_completion done;
  const xfer_gd2fs_sge sge = {memory, 100, iomem};
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, NULL, "/forks", 0, &sge, 1, 0), -EPERM);
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, -1), -EPERM);
  EXPECT_EQ(xfer_gd2fs_get_fd(ctx), -EPERM);
  EXPECT(xfer_gd2fs_reg_iomem(ctx, memory, 1, NULL) == NULL);
  EXPECT_EQ(xfer_gd2fs_dereg_iomem(ctx, iomem), -EPERM);
  EXPECT_EQ(count_sockets(), sockets_before);
  /* A ctx of its own works. */
  xfer_gd2fs_ctx* own = abi_connect(10000);
  xfer_gd2fs_stat stat = {0};
  EXPECT_EQ(xfer_gd2fs_fstat(own, &stat, "/forks", &stat), 0);
  abi_ok(own, &stat);
  EXPECT_EQ(stat.size, 100);
  EXPECT_EQ(xfer_gd2fs_close(own), 0);
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0); /* only forgets it */
  EXPECT_EQ(xfer_gd2fs_wait(ctx, &done, 1, 0), -ECANCELED);
  return 0;
}

int main(void) {
  const int sockets_before = count_sockets();
  xfer_gd2fs_options options = {0};
  options.timeout = 10000;
  options.iothread_count = 4;
  options.log_level = "error";
  xfer_gd2fs_ctx* ctx = xfer_gd2fs_connect(&options);
  EXPECT(ctx != NULL);
  static unsigned char memory[1 << 20];
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx, memory, sizeof memory, NULL);
  EXPECT(iomem != NULL);
  const xfer_gd2fs_sge sge = {memory, 100, iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, memory, "/forks", 0, &sge, 1, 0), 100);
  abi_ok(ctx, memory);
  EXPECT(count_sockets() > sockets_before);
  EXPECT(xfer_gd2fs_get_fd(ctx) >= 0);
  /* So much that threads of the library move it, if it goes over TCP; the child has none of them.
   */
  static unsigned char large[48 << 20];
  xfer_gd2fs_iomem* large_iomem = xfer_gd2fs_reg_iomem(ctx, large, sizeof large, NULL);
  EXPECT(large_iomem != NULL);
  const xfer_gd2fs_sge large_sge = {large, sizeof large, large_iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, large, "/forks-large", 0, &large_sge, 1, 0), sizeof large);
  abi_ok(ctx, large);
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, large, "/forks-large", 0, &large_sge, 1, 0), sizeof large);
  abi_ok(ctx, large);

  for (int round = 0; round < 20; ++round) {
    /* Some forks happen with a request under way. */
    if (round % 2 == 1) EXPECT_EQ(xfer_gd2fs_preadv(ctx, memory, "/forks", 0, &sge, 1, 0), 100);
    const pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) exit(child(ctx, iomem, memory, sockets_before));
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (round % 2 == 1) EXPECT_EQ(abi_ok(ctx, memory).value, 100);
  }
  EXPECT_EQ(xfer_gd2fs_preadv(ctx, memory, "/forks", 0, &sge, 1, 0), 100);
  EXPECT_EQ(abi_ok(ctx, memory).value, 100);

  /* Exit without close, with a request in flight. */
  const xfer_gd2fs_sge big = {memory, sizeof memory, iomem};
  EXPECT_EQ(xfer_gd2fs_pwritev(ctx, memory, "/forks_big", 0, &big, 1, 0), sizeof memory);
  return 0;
}
