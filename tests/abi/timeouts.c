/* A listener that accepts and says nothing, in place of a controller: connect gives up in time. And
 * the limit on requests that nobody reaps. */
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "abi_test.h"

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void silent_controller(void) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(listener >= 0);
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(listener, (struct sockaddr*)&address, sizeof address), 0);
  EXPECT_EQ(listen(listener, 16), 0);
  EXPECT_EQ(getsockname(listener, (struct sockaddr*)&address, &length), 0);
  char cp[64];
  snprintf(cp, sizeof cp, "gd2fs://127.0.0.1:%u", ntohs(address.sin_port));
  xfer_gd2fs_options options = {0};
  options.cp_address = cp;
  options.timeout = 700;
  options.log_level = "error";
  const double begin = now_s();
  EXPECT(xfer_gd2fs_connect(&options) == NULL);
  const double took = now_s() - begin;
  EXPECT(took > 0.3 && took < 3.0);
  close(listener);
}

static void requests_max(void) {
  xfer_gd2fs_ctx* ctx = abi_connect(20000);
  static xfer_gd2fs_stat stat;
  int accepted = 0;
  int refused = 0;
  while (refused == 0) {
    const int answer = xfer_gd2fs_fstat(ctx, &stat, "/no_such_file", &stat);
    if (answer == -EAGAIN) {
      refused = 1;
    } else {
      EXPECT_EQ(answer, 0);
      ++accepted;
    }
    EXPECT(accepted <= XFER_GD2FS_REQUESTS_MAX);
  }
  EXPECT_EQ(accepted, XFER_GD2FS_REQUESTS_MAX);
  static xfer_gd2fs_completion done[1000];
  while (accepted > 0) {
    const int got = xfer_gd2fs_wait(ctx, done, 1000, 20000);
    EXPECT(got > 0);
    for (int i = 0; i < got; ++i) EXPECT_EQ(XFER_GD2FS_STATUS_CODE(done[i].status), ENOENT);
    accepted -= got;
  }
  EXPECT_EQ(accepted, 0);
  EXPECT_EQ(xfer_gd2fs_fstat(ctx, &stat, "/no_such_file", &stat), 0);
  abi_fails(ctx, &stat, XFER_GD2FS_STATUS_CLASS_SERVER, ENOENT);
  EXPECT_EQ(xfer_gd2fs_close(ctx), 0);
}

int main(void) {
  silent_controller();
  requests_max();
  return 0;
}
