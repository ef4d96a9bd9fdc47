// `gd2fs cat PATH...`: writes files to stdout.
#include <cerrno>
#include <cstdlib>
#include <unistd.h>

#include "cli/command.h"
#include "cli/files.h"

namespace gd2fs::cli {
namespace {

constexpr size_t kBufferBytes = 4 * kMiB;

Status write_out(ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, "standard output");
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

Status cat_one(Files& files, xfer_gd2fs_iomem* iomem, Bytes buffer, const std::string& path) {
  Files::Lane lane(files);
  const xfer_gd2fs_sge sge = {buffer.data(), buffer.size(), iomem};
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_READ;
  op.sges = &sge;
  op.nsge = 1;
  while (true) {
    GD2FS_TRY(lane.submit(op, 0, path));
    GD2FS_ASSIGN(const Files::Lane::Ended ended, lane.wait());
    GD2FS_TRY(ended.status.with(path));
    GD2FS_TRY(write_out(buffer.first(ended.value)));
    if (ended.value < buffer.size()) return {};
    op.off += ended.value;
  }
}

Status cat(const Invocation& invocation, const std::vector<std::string>& typed) {
  GD2FS_ASSIGN(const std::unique_ptr<Files> files, Files::connect(invocation.config));
  std::vector<std::byte> buffer(kBufferBytes);
  GD2FS_ASSIGN(xfer_gd2fs_iomem * iomem, files->register_memory(buffer));
  Status status;
  for (const std::string& given : typed) {
    const Result<std::string> path = plain_path(given);
    status = path ? cat_one(*files, iomem, buffer, *path) : path.error();
    if (!status.ok()) break;
  }
  files->forget_memory(iomem);
  return status;
}

}  // namespace

void add_cat(CLI::App& app, Chosen& chosen) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* verb = app.add_subcommand("cat", "Write files to standard output");
  verb->add_option("PATH", *paths, "Files")->required();
  when_named(verb, chosen, paths, cat);
}

}  // namespace gd2fs::cli
