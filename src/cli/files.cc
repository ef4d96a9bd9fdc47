#include "cli/files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace gd2fs::cli {
namespace {

constexpr uint32_t kEntriesPerCall = 1000;

Status status_of(const xfer_gd2fs_completion& done) {
  if (done.status == 0) return {};
  const auto code = static_cast<int>(XFER_GD2FS_STATUS_CODE(done.status));
  const unsigned who = XFER_GD2FS_STATUS_CLASS(done.status);
  if (who == XFER_GD2FS_STATUS_CLASS_SERVER && code == EIO) {
    return {StatusCode::corrupt, "the bytes are damaged and there is no good copy", EIO};
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's is safe
  return {status_code_from_errno(code), std::strerror(code), code};
}

FileStat from_abi(const xfer_gd2fs_stat& stat) {
  return {.size_bytes = stat.size,
          .inode = stat.inode,
          .generation = stat.generation,
          .chunk_bytes = stat.chunk_bytes,
          .mtime_us = stat.mtime_us,
          .ctime_us = stat.ctime_us,
          .directory = stat.type == XFER_GD2FS_TYPE_DIRECTORY,
          .pinned = stat.pin != 0};
}

// The library's reason begins with its code in words: "denied: ...".
Status connect_failure(std::string_view reason, const Config& config) {
  StatusCode code = StatusCode::unavailable;
  for (uint8_t i = 1; i < kStatusCodes; ++i) {
    const std::string prefix = std::string(status_code_name(static_cast<StatusCode>(i))) + ": ";
    if (!reason.starts_with(prefix)) continue;
    code = static_cast<StatusCode>(i);
    reason.remove_prefix(prefix.size());
    break;
  }
  return {code, "cluster " + config.cluster + ": " + std::string(reason)};
}

const char* text_or_null(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

}  // namespace

Files::Lane::Lane(Files& files) : files_(files), queue_(xfer_gd2fs_cq_create(files.ctx_)) {}

Files::Lane::~Lane() {
  if (queue_ != nullptr) xfer_gd2fs_cq_destroy(files_.ctx_, queue_);
}

Status Files::Lane::submit(xfer_gd2fs_op op, uint64_t number, const std::string& path) {
  if (queue_ == nullptr) return {StatusCode::busy, "too many completion queues"};
  // + 1 so that no id is NULL.
  op.id = reinterpret_cast<void*>(number + 1);  // NOLINT(performance-no-int-to-ptr)
  op.filepath = path.c_str();
  const ssize_t accepted = xfer_gd2fs_submit(files_.ctx_, queue_, &op);
  if (accepted < 0) return Status::from_errno(static_cast<int>(-accepted), path);
  return {};
}

Result<Files::Lane::Ended> Files::Lane::wait() {
  xfer_gd2fs_completion done = {};
  const int reaped = xfer_gd2fs_cq_wait(files_.ctx_, queue_, &done, 1, -1);
  if (reaped < 0) return fail(Status::from_errno(-reaped, "wait"));
  CHECK(reaped == 1);
  return Ended{reinterpret_cast<uintptr_t>(done.id) - 1, done.value, status_of(done)};
}

Result<std::unique_ptr<Files>> Files::connect(const Config& config) {
  if (!config.client_token_file.empty()) {
    // The library's interface has no field for it.
    // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet
    setenv("GD2FS_TOKEN_FILE", config.client_token_file.c_str(), 1);
  }
  xfer_gd2fs_options options = {};
  options.cp_address = text_or_null(config.client_cp);
  options.dp_address = text_or_null(config.client_dp);
  options.cluster_id = text_or_null(config.cluster);
  options.conn_stream_count = static_cast<uint32_t>(config.client_streams);
  options.timeout = static_cast<uint32_t>(config.client_timeout_ns / kMs);
  options.log_level = text_or_null(config.log_level);
  std::unique_ptr<Files> files(new Files);
  files->ctx_ = xfer_gd2fs_connect(&options);
  if (files->ctx_ == nullptr) {
    return fail(connect_failure(xfer_gd2fs_last_error(), config));
  }
  return files;
}

Files::~Files() {
  if (ctx_ != nullptr) xfer_gd2fs_close(ctx_);
}

Result<uint64_t> Files::call(xfer_gd2fs_op op, const std::string& path) {
  Lane lane(*this);
  GD2FS_TRY(lane.submit(op, 0, path));
  GD2FS_ASSIGN(const Lane::Ended ended, lane.wait());
  if (!ended.status.ok()) return fail(ended.status.with(path));
  return ended.value;
}

Status Files::finish(xfer_gd2fs_op op, const std::string& path) {
  const Result<uint64_t> value = call(op, path);
  return value ? Status() : value.error();
}

Result<FileStat> Files::stat(const std::string& path) {
  xfer_gd2fs_stat stat = {};
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_STAT;
  op.stat = &stat;
  GD2FS_TRY(finish(op, path));
  return from_abi(stat);
}

Status Files::create(const std::string& path, uint64_t size_bytes) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_CREATE;
  op.size = size_bytes;
  return finish(op, path);
}

Status Files::mkdir(const std::string& path) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_MKDIR;
  return finish(op, path);
}

Status Files::rmdir(const std::string& path) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_RMDIR;
  return finish(op, path);
}

Status Files::unlink(const std::string& path) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_UNLINK;
  return finish(op, path);
}

Status Files::rename(const std::string& from, const std::string& to) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_RENAME;
  op.other = to.c_str();
  return finish(op, from);
}

Result<uint64_t> Files::advise(const std::string& path, uint16_t advice) {
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_ADVISE;
  op.advice = advice;
  return call(op, path);
}

Status Files::set_pinned(const std::string& path, bool pinned) {
  xfer_gd2fs_attr attr = {};
  attr.set = XFER_GD2FS_ATTR_PIN;
  attr.pin = pinned ? 1 : 0;
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_SETATTR;
  op.attr = &attr;
  return finish(op, path);
}

Result<std::vector<FileEntry>> Files::list(const std::string& path) {
  std::vector<FileEntry> all;
  std::vector<xfer_gd2fs_dirent> page(kEntriesPerCall);
  while (true) {
    xfer_gd2fs_op op = {};
    op.opcode = XFER_GD2FS_OP_READDIR;
    op.other = all.empty() ? nullptr : all.back().name.c_str();
    op.entries = page.data();
    op.nentries = kEntriesPerCall;
    GD2FS_ASSIGN(const uint64_t filled, call(op, path));
    for (uint64_t i = 0; i < filled; ++i) {
      all.push_back({.name = page[i].name,
                     .size_bytes = page[i].size,
                     .mtime_us = page[i].mtime_us,
                     .inode = page[i].inode,
                     .directory = page[i].type == XFER_GD2FS_TYPE_DIRECTORY});
    }
    if (filled < kEntriesPerCall) return all;
  }
}

Status Files::mkdir_all(const std::string& path) {
  if (path == "/") return {};
  Status made = mkdir(path);
  if (made.is(StatusCode::not_found)) {
    GD2FS_TRY(mkdir_all(parent_path(path)));
    made = mkdir(path);
  }
  if (!made.is(StatusCode::exists)) return made;
  GD2FS_ASSIGN(const FileStat there, stat(path));
  if (!there.directory) return Status(StatusCode::exists, path + " is a file");
  return {};
}

Result<xfer_gd2fs_iomem*> Files::register_memory(Bytes memory) {
  xfer_gd2fs_iomem* iomem = xfer_gd2fs_reg_iomem(ctx_, memory.data(), memory.size(), nullptr);
  if (iomem == nullptr) return fail(StatusCode::invalid, xfer_gd2fs_last_error());
  return iomem;
}

void Files::forget_memory(xfer_gd2fs_iomem* iomem) {
  CHECK(xfer_gd2fs_dereg_iomem(ctx_, iomem) == 0);
}

Result<std::string> Files::read_small(const std::string& path, size_t bytes_max) {
  GD2FS_ASSIGN(const FileStat info, stat(path));
  if (info.size_bytes > bytes_max) return fail(StatusCode::invalid, path + " is too large");
  std::string text(info.size_bytes, '\0');
  if (text.empty()) return text;
  GD2FS_ASSIGN(xfer_gd2fs_iomem * iomem,
               register_memory(as_writable_bytes(text.data(), text.size())));
  const xfer_gd2fs_sge sge = {text.data(), text.size(), iomem};
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_READ;
  op.sges = &sge;
  op.nsge = 1;
  const Result<uint64_t> got = call(op, path);
  forget_memory(iomem);
  if (!got) return fail(got.error());
  text.resize(*got);
  return text;
}

Status Files::write_small(const std::string& path, std::string_view text) {
  const std::string part = path + ".part";
  if (Status gone = unlink(part); !gone.ok() && !gone.is(StatusCode::not_found)) return gone;
  std::string copy(text);
  if (copy.empty()) {
    GD2FS_TRY(create(part, 0));
    return rename(part, path);
  }
  GD2FS_ASSIGN(xfer_gd2fs_iomem * iomem,
               register_memory(as_writable_bytes(copy.data(), copy.size())));
  const xfer_gd2fs_sge sge = {copy.data(), copy.size(), iomem};
  xfer_gd2fs_op op = {};
  op.opcode = XFER_GD2FS_OP_WRITE;
  op.sges = &sge;
  op.nsge = 1;
  const Result<uint64_t> put = call(op, part);
  forget_memory(iomem);
  if (!put) return put.error();
  return rename(part, path);
}

}  // namespace gd2fs::cli
