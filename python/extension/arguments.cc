#include "arguments.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "context.h"
#include "memory.h"

namespace pygd2fs {
namespace {

struct BufferRelease {
  Py_buffer view{};
  ~BufferRelease() { PyBuffer_Release(&view); }
};

// Reads one integer of the machine's byte order.
template <class Integer>
Integer load(const char* at) {
  Integer value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

int64_t load_signed(const char* at, Py_ssize_t size) {
  switch (size) {
    case 1:
      return load<int8_t>(at);
    case 2:
      return load<int16_t>(at);
    case 4:
      return load<int32_t>(at);
    default:
      return load<int64_t>(at);
  }
}

uint64_t load_unsigned(const char* at, Py_ssize_t size) {
  switch (size) {
    case 1:
      return load<uint8_t>(at);
    case 2:
      return load<uint16_t>(at);
    case 4:
      return load<uint32_t>(at);
    default:
      return load<uint64_t>(at);
  }
}

[[noreturn]] void raise_negative(const char* what) {
  raise(PyExc_ValueError, std::string(what) + " must not be negative");
}

}  // namespace

std::string to_path(py::handle value) {
  py::object path = py::reinterpret_steal<py::object>(PyOS_FSPath(value.ptr()));
  if (!path) throw py::error_already_set();
  if (PyUnicode_Check(path.ptr()) != 0) {
    path = py::reinterpret_steal<py::object>(
        PyUnicode_AsEncodedString(path.ptr(), "utf-8", "surrogateescape"));
    if (!path) throw py::error_already_set();
  }
  std::string bytes(PyBytes_AS_STRING(path.ptr()),
                    static_cast<size_t>(PyBytes_GET_SIZE(path.ptr())));
  if (bytes.find('\0') != std::string::npos) {
    raise(PyExc_ValueError, "a path must not contain a null character");
  }
  return bytes;
}

uint64_t to_u64(py::handle value, const char* what) {
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) {
    PyErr_Clear();
    raise(PyExc_TypeError, std::string(what) + " must be an int");
  }
  const unsigned long long result = PyLong_AsUnsignedLongLong(number.ptr());
  if (result == static_cast<unsigned long long>(-1) && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    raise(PyExc_ValueError, std::string(what) + " must lie between 0 and 2**64 - 1");
  }
  return result;
}

uint16_t to_flags(py::handle value) {
  const uint64_t flags = to_u64(value, "flags");
  if (flags > UINT16_MAX) raise_os_error(EINVAL, "flags has bits that are not defined");
  return static_cast<uint16_t>(flags);
}

uint64_t to_stream(const py::object& stream, int32_t device) {
  constexpr uint64_t kLegacyStream = 1;
  py::object number = stream;
  if (stream.is_none()) {
    if (device < 0) return 0;
    const py::dict modules = py::module_::import("sys").attr("modules");
    if (!modules.contains("torch")) return 0;
    const py::object cuda = py::object(modules["torch"]).attr("cuda");
    if (!cuda.attr("is_initialized")().cast<bool>()) return 0;
    number = cuda.attr("current_stream")(device).attr("cuda_stream");
  } else if (py::hasattr(stream, "cuda_stream")) {  // torch
    number = stream.attr("cuda_stream");
  } else if (py::hasattr(stream, "__cuda_stream__")) {
    number = py::object(stream.attr("__cuda_stream__")())[py::int_(1)];
  } else if (py::hasattr(stream, "ptr")) {  // cupy
    number = stream.attr("ptr");
  }
  const uint64_t value = to_u64(number, "stream");
  return value == 0 ? kLegacyStream : value;
}

int to_timeout_ms(py::handle value) {
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const long result = PyLong_AsLongAndOverflow(number.ptr(), &overflow);
  if (overflow < 0 || (overflow == 0 && result < 0)) return -1;
  if (overflow > 0 || result > INT_MAX) return INT_MAX;
  return static_cast<int>(result);
}

Numbers::Numbers(py::handle value, const char* what) {
  if (PyIndex_Check(value.ptr()) != 0 && PyObject_CheckBuffer(value.ptr()) == 0) {
    single_ = true;
    values_.push_back(to_u64(value, what));
    return;
  }
  if (PyObject_CheckBuffer(value.ptr()) != 0) {
    BufferRelease buffer;
    if (PyObject_GetBuffer(value.ptr(), &buffer.view, PyBUF_STRIDED_RO | PyBUF_FORMAT) != 0) {
      throw py::error_already_set();
    }
    take_buffer(buffer.view, what);
    return;
  }
  const py::object items =
      py::reinterpret_steal<py::object>(PySequence_Fast(value.ptr(), "an array of ints is needed"));
  if (!items) throw py::error_already_set();
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(items.ptr());
  values_.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    values_.push_back(to_u64(PySequence_Fast_GET_ITEM(items.ptr(), i), what));
  }
}

void Numbers::take_buffer(const Py_buffer& view, const char* what) {
  const char* format = view.format != nullptr ? view.format : "B";
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  const bool is_signed = std::strchr("bhilqn", *format) != nullptr;
  const bool is_unsigned = std::strchr("BHILQN", *format) != nullptr;
  if (*format == '\0' || format[1] != '\0' || (!is_signed && !is_unsigned)) {
    raise(PyExc_TypeError, std::string(what) + " must be an array of integers");
  }
  if (view.ndim == 0) {  // numpy's scalars
    single_ = true;
  } else if (view.ndim != 1) {
    raise(PyExc_ValueError, std::string(what) + " must have one dimension");
  }
  const Py_ssize_t count = single_ ? 1 : view.shape[0];
  const Py_ssize_t stride = single_ ? 0 : view.strides[0];
  const char* at = static_cast<const char*>(view.buf);
  values_.resize(static_cast<size_t>(count));
  for (uint64_t& value : values_) {
    if (is_signed) {
      const int64_t number = load_signed(at, view.itemsize);
      if (number < 0) raise_negative(what);
      value = static_cast<uint64_t>(number);
    } else {
      value = load_unsigned(at, view.itemsize);
    }
    at += stride;
  }
}

xfer_gd2fs_iomem* iomem_handle(const Context& context, py::handle iomem) {
  const Iomem& memory = iomem.cast<const Iomem&>();
  if (memory.context().get() != &context) {
    raise_os_error(EINVAL, "the iomem is registered with another Client");
  }
  if (!memory.registered()) raise_os_error(EINVAL, "the iomem is deregistered");
  return memory.handle();
}

Slices slices_of(const Context& context, const py::object& sges) {
  Slices slices;
  // A tuple of the call's own: what the caller does to its list later does not matter.
  slices.kept = py::reinterpret_steal<py::object>(PySequence_Tuple(sges.ptr()));
  if (!slices.kept) throw py::error_already_set();
  const Py_ssize_t count = PyTuple_GET_SIZE(slices.kept.ptr());
  if (static_cast<size_t>(count) > kSgesMax) {
    raise(PyExc_ValueError, "a request takes at most 65535 SGEs, not " + std::to_string(count));
  }
  slices.sges.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    const py::handle item = PyTuple_GET_ITEM(slices.kept.ptr(), i);
    if (!py::isinstance<Sge>(item)) raise(PyExc_TypeError, "sges must be a list of SGE");
    const Sge& sge = item.cast<const Sge&>();
    slices.sges.push_back(
        {reinterpret_cast<void*>(sge.address), sge.length, iomem_handle(context, sge.iomem)});
    slices.length += sge.length;
    if (slices.device < 0) slices.device = sge.iomem.cast<const Iomem&>().device();
  }
  return slices;
}

}  // namespace pygd2fs
