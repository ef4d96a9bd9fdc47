#include "request.h"

#include <cstring>
#include <utility>

#include "context.h"

namespace pygd2fs {
namespace {

py::object name_object(const char* name) {
  const size_t length = strnlen(name, sizeof(xfer_gd2fs_dirent::name));
  py::object text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(name, static_cast<Py_ssize_t>(length), "surrogateescape"));
  if (!text) throw py::error_already_set();
  return text;
}

}  // namespace

const char* Request::operation() const {
  switch (opcode_) {
    case XFER_GD2FS_OP_READ:
      return "read";
    case XFER_GD2FS_OP_WRITE:
      return "write";
    case XFER_GD2FS_OP_STAT:
      return "stat";
    case XFER_GD2FS_OP_CREATE:
      return "create";
    case XFER_GD2FS_OP_UNLINK:
      return "unlink";
    case XFER_GD2FS_OP_RENAME:
      return "rename";
    case XFER_GD2FS_OP_MKDIR:
      return "mkdir";
    case XFER_GD2FS_OP_RMDIR:
      return "rmdir";
    case XFER_GD2FS_OP_TRUNCATE:
      return "truncate";
    case XFER_GD2FS_OP_FSYNC:
      return "fsync";
    case XFER_GD2FS_OP_VIEW:
      return "view";
    case XFER_GD2FS_OP_READDIR:
      return "readdir";
    case XFER_GD2FS_OP_SETATTR:
      return "setattr";
    case XFER_GD2FS_OP_ADVISE:
      return "advise";
    default:
      return "operation";
  }
}

std::string Request::words() const {
  const bool moves_bytes = opcode_ == XFER_GD2FS_OP_READ || opcode_ == XFER_GD2FS_OP_WRITE ||
                           opcode_ == XFER_GD2FS_OP_VIEW;
  std::string text =
      std::string("<Request ") + operation() + " " + std::string(py::repr(filepath_));
  if (moves_bytes) {
    text += " offset=" + std::to_string(offset_) + " length=" + std::to_string(length_);
  }
  if (py::len(desc_) > 0) text += " " + std::string(py::repr(desc_));
  if (!done_) {
    text += ": in flight";
  } else if (status_ != 0) {
    text += ": failed: " + status_words(status_);
  } else {
    text += ": done";
    if (moves_bytes) text += ", " + std::to_string(value_) + " bytes";
  }
  return text + ">";
}

uint64_t Request::check() const {
  if (!done_) raise_os_error(EINPROGRESS, "the request is in flight", filepath_);
  if (status_ != 0) {
    raise_os_error(static_cast<int>(XFER_GD2FS_STATUS_CODE(status_)), status_words(status_),
                   filepath_);
  }
  return value_;
}

py::object Request::result() const {
  check();
  if (opcode_ == XFER_GD2FS_OP_STAT) {
    return py::make_tuple(stat_->size, stat_->inode, stat_->generation, stat_->chunk_bytes,
                          stat_->mtime_us, stat_->ctime_us, stat_->type, stat_->pin != 0);
  }
  if (opcode_ == XFER_GD2FS_OP_READDIR) {
    py::list entries(value_);
    for (uint64_t i = 0; i < value_; ++i) {
      const xfer_gd2fs_dirent& entry = entries_[i];
      entries[i] = py::make_tuple(name_object(entry.name), entry.size, entry.type, entry.mtime_us,
                                  entry.inode);
    }
    return entries;
  }
  return py::none();
}

bool Request::cancel() {
  if (done_ || context_ == nullptr) return false;
  return context_->cancel(number_);
}

xfer_gd2fs_stat* Request::make_stat() {
  stat_ = std::make_unique<xfer_gd2fs_stat>();
  return stat_.get();
}

xfer_gd2fs_dirent* Request::make_entries(uint32_t count) {
  entries_.resize(count);
  return entries_.data();
}

void Request::end(uint16_t status, uint64_t value) {
  status_ = status;
  value_ = value;
  done_ = true;
  // Let go last: what is dropped may run Python code that looks at this request.
  const py::object kept = std::exchange(kept_, py::none());
  const std::shared_ptr<Context> context = std::move(context_);
}

}  // namespace pygd2fs
