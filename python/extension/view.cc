#include "view.h"

#include <algorithm>
#include <cerrno>

#include <sys/mman.h>

#include "arguments.h"
#include "request.h"

namespace pygd2fs {

View::View(Context& context, const py::object& filepath, uint64_t offset, uint64_t length) {
  if (length == 0) raise(PyExc_ValueError, "a view of nothing");
  copy_ = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
               -1, 0);
  if (copy_ == MAP_FAILED) {
    copy_ = nullptr;
    raise_os_error(errno, "no memory for a view", filepath);
  }
  copy_bytes_ = length;
  const std::string path = to_path(filepath);
  py::object object =
      py::cast(std::make_unique<Request>(XFER_GD2FS_OP_VIEW, filepath, py::str("")));
  auto& request = object.cast<Request&>();
  request.set_range(offset, length);
  xfer_gd2fs_iomem* iomem = nullptr;
  try {
    iomem = context.reg_iomem(reinterpret_cast<uint64_t>(copy_), length);
    const xfer_gd2fs_sge sge = {copy_, length, iomem};
    xfer_gd2fs_op op{};
    op.opcode = XFER_GD2FS_OP_VIEW;
    op.filepath = path.c_str();
    op.off = offset;
    op.sges = &sge;
    op.nsge = 1;
    op.view = &view_;
    context.call(object, op);
    request.check();
    context.dereg_iomem(iomem);
  } catch (...) {
    if (iomem != nullptr) context.forget_iomem(iomem);
    free_copy();
    throw;
  }
  if (zero_copy()) free_copy();
}

View::~View() {
  if (!released_) xfer_gd2fs_view_put(&view_);  // nobody asks any more whether it was right
  free_copy();
}

void View::free_copy() {
  if (copy_ != nullptr) munmap(copy_, copy_bytes_);
  copy_ = nullptr;
}

bool View::release() {
  if (looks_ > 0) raise(PyExc_BufferError, "somebody still looks at the view");
  if (released_) raise(PyExc_ValueError, "the view was given back before");
  released_ = true;
  const int result = xfer_gd2fs_view_put(&view_);
  free_copy();
  if (result != 0 && result != -ESTALE) raise_os_error(-result, "view", py::none());
  return result == 0;
}

int View::get_buffer(PyObject* self, Py_buffer* buffer, int flags) {
  if (released_) {
    PyErr_SetString(PyExc_BufferError, "the view was given back");
    buffer->obj = nullptr;
    return -1;
  }
  if (PyBuffer_FillInfo(buffer, self, const_cast<void*>(view_.addr),
                        static_cast<Py_ssize_t>(view_.len), 1, flags) != 0) {
    return -1;
  }
  ++looks_;
  return 0;
}

namespace {

View& view_of(PyObject* object) {
  return py::reinterpret_borrow<py::object>(object).cast<View&>();
}
int get_buffer(PyObject* self, Py_buffer* buffer, int flags) {
  return view_of(self).get_buffer(self, buffer, flags);
}
void release_buffer(PyObject* self, Py_buffer*) {
  view_of(self).release_buffer();
}

}  // namespace

void bind_view(py::module_& module) {
  // pybind11's own buffer protocol does not tell when a look ends.
  py::class_<View> view(module, "FileView", py::module_local(),
                        py::custom_type_setup([](PyHeapTypeObject* type) {
                          type->as_buffer.bf_getbuffer = &get_buffer;
                          type->as_buffer.bf_releasebuffer = &release_buffer;
                          type->ht_type.tp_as_buffer = &type->as_buffer;
                        }),
                        "Bytes of a file where they lie; a read-only buffer. See Client.View.");
  view.def("Release", &View::release,
           "Gives the view back. True: all bytes were the file's until now. False: believe nothing "
           "of what was seen. BufferError while an array or memoryview of it is alive.")
      .def("__len__", &View::length)
      .def_property_readonly("zero_copy", &View::zero_copy)
      .def_property_readonly("released", &View::released);
}

}  // namespace pygd2fs
