// View: bytes of a file looked at where they lie, or copied if they cannot be lent.
//
// Python looks at them through the buffer protocol, read-only; an array or memoryview keeps the
// View alive. Release() refuses while there is one, because the memory goes with it.
#pragma once

#include <memory>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "context.h"

namespace pygd2fs {

class View {
 public:
  // Submits and waits. OSError when it fails.
  View(Context& context, const py::object& filepath, uint64_t offset, uint64_t length);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  uint64_t length() const { return view_.len; }
  bool zero_copy() const { return view_.zero_copy != 0; }
  bool released() const { return released_; }
  // Whether all bytes were right until now. BufferError while somebody looks.
  bool release();

  // The buffer protocol.
  int get_buffer(PyObject* self, Py_buffer* buffer, int flags);
  void release_buffer() { --looks_; }

 private:
  void free_copy();

  void* copy_ = nullptr;  // pages that are taken only if bytes had to be copied
  uint64_t copy_bytes_ = 0;
  xfer_gd2fs_view view_{};
  int looks_ = 0;
  bool released_ = false;
};

void bind_view(py::module_& module);

}  // namespace pygd2fs
