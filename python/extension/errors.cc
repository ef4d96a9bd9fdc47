#include "errors.h"

#include <cstring>

#include <xfer/gd2fs.h>

namespace pygd2fs {
namespace {

const char* class_word(unsigned status_class) {
  switch (status_class) {
    case XFER_GD2FS_STATUS_CLASS_CLIENT:
      return "client";
    case XFER_GD2FS_STATUS_CLASS_SERVER:
      return "server";
    case XFER_GD2FS_STATUS_CLASS_TRANSPORT:
      return "transport";
    default:
      return "unknown class";
  }
}

const char* detail_word(unsigned detail) {
  switch (detail) {
    case XFER_GD2FS_STATUS_DETAIL_CONTROLLER:
      return "controller";
    case XFER_GD2FS_STATUS_DETAIL_SERVER:
      return "data server";
    case XFER_GD2FS_STATUS_DETAIL_IOMEM:
      return "iomem";
    case XFER_GD2FS_STATUS_DETAIL_CTX:
      return "ctx";
    case XFER_GD2FS_STATUS_DETAIL_REQUEST:
      return "request";
    default:
      return nullptr;
  }
}

}  // namespace

std::string last_reason() {
  return xfer_gd2fs_last_error();
}

void raise_os_error(int error, const std::string& reason, const py::object& filename) {
  const char* words = reason.empty() ? strerrordesc_np(error) : reason.c_str();
  if (words == nullptr) words = "unknown error";
  py::object text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(words, static_cast<Py_ssize_t>(std::strlen(words)), "replace"));
  if (!text) throw py::error_already_set();
  py::object value = py::reinterpret_steal<py::object>(
      filename.is_none()
          ? PyObject_CallFunction(PyExc_OSError, "iO", error, text.ptr())
          : PyObject_CallFunction(PyExc_OSError, "iOO", error, text.ptr(), filename.ptr()));
  if (!value) throw py::error_already_set();
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())), value.ptr());
  throw py::error_already_set();
}

void raise(PyObject* type, const std::string& reason) {
  PyErr_SetString(type, reason.c_str());
  throw py::error_already_set();
}

std::string status_words(uint16_t status) {
  const int code = static_cast<int>(XFER_GD2FS_STATUS_CODE(status));
  const char* description = strerrordesc_np(code);
  const char* name = strerrorname_np(code);
  std::string words = description != nullptr ? description : "Unknown error";
  words += " (";
  words += name != nullptr ? name : std::to_string(code);
  words += ", ";
  words += class_word(XFER_GD2FS_STATUS_CLASS(status));
  if (const char* detail = detail_word(XFER_GD2FS_STATUS_DETAIL(status))) {
    words += ", ";
    words += detail;
  }
  if (XFER_GD2FS_STATUS_DO_NOT_RETRY(status) != 0) words += ", do not retry";
  return words + ")";
}

uint16_t client_status(int error, unsigned detail) {
  return static_cast<uint16_t>((static_cast<unsigned>(error) & 0xffu) |
                               XFER_GD2FS_STATUS_CLASS_CLIENT << 8 | detail << 11);
}

}  // namespace pygd2fs
