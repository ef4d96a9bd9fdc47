#include "client/c_api.h"

using namespace gd2fs;          // NOLINT: the C border
using namespace gd2fs::client;  // NOLINT

namespace {

xfer_gd2fs_op name_op(uint16_t opcode, void* id, const char* filepath) {
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.id = id;
  op.filepath = filepath;
  return op;
}

int submit_name(xfer_gd2fs_ctx* ctx, const xfer_gd2fs_op& op) {
  return static_cast<int>(with_ctx(ctx, [&](Ctx& open) { return open.submit(0, op); }));
}

}  // namespace

extern "C" {

int xfer_gd2fs_fstat(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, xfer_gd2fs_stat* stat) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_STAT, id, filepath);
  op.stat = stat;
  return submit_name(ctx, op);
}

int xfer_gd2fs_create(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint16_t flags,
                      uint64_t size) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_CREATE, id, filepath);
  op.flags = flags;
  op.size = size;
  return submit_name(ctx, op);
}

int xfer_gd2fs_unlink(xfer_gd2fs_ctx* ctx, void* id, const char* filepath) {
  return submit_name(ctx, name_op(XFER_GD2FS_OP_UNLINK, id, filepath));
}

int xfer_gd2fs_rename(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, const char* newpath) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_RENAME, id, filepath);
  op.other = newpath;
  return submit_name(ctx, op);
}

int xfer_gd2fs_mkdir(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit_name(ctx, name_op(XFER_GD2FS_OP_MKDIR, id, path));
}

int xfer_gd2fs_rmdir(xfer_gd2fs_ctx* ctx, void* id, const char* path) {
  return submit_name(ctx, name_op(XFER_GD2FS_OP_RMDIR, id, path));
}

int xfer_gd2fs_truncate(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t size) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_TRUNCATE, id, filepath);
  op.size = size;
  return submit_name(ctx, op);
}

int xfer_gd2fs_fsync(xfer_gd2fs_ctx* ctx, void* id, const char* filepath) {
  return submit_name(ctx, name_op(XFER_GD2FS_OP_FSYNC, id, filepath));
}

int xfer_gd2fs_readdir(xfer_gd2fs_ctx* ctx, void* id, const char* path, const char* after,
                       xfer_gd2fs_dirent* entries, uint32_t nentries) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_READDIR, id, path);
  op.other = after;
  op.entries = entries;
  op.nentries = nentries;
  return submit_name(ctx, op);
}

int xfer_gd2fs_setattr(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                       const xfer_gd2fs_attr* attr) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_SETATTR, id, filepath);
  op.attr = attr;
  return submit_name(ctx, op);
}

int xfer_gd2fs_advise(xfer_gd2fs_ctx* ctx, void* id, const char* filepath, uint64_t off,
                      uint64_t len, uint16_t advice) {
  xfer_gd2fs_op op = name_op(XFER_GD2FS_OP_ADVISE, id, filepath);
  op.off = off;
  op.size = len;
  op.advice = advice;
  return submit_name(ctx, op);
}

}  // extern "C"
