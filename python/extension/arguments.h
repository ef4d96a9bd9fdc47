// Arguments from Python: paths, numbers, arrays of numbers, slices of memory.
//
// Whatever is wrong is ValueError or TypeError naming the argument; what only the library can judge
// goes to it unchanged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "errors.h"

namespace pygd2fs {

class Context;

// The most SGEs that one request takes: the C interface counts them in 16 bits.
inline constexpr size_t kSgesMax = 65535;

// A str or os.PathLike in the bytes that the library takes (UTF-8; lone surrogates are bytes of
// their own, as in the os module).
std::string to_path(py::handle value);

uint64_t to_u64(py::handle value, const char* what);
uint16_t to_flags(py::handle value);
int to_timeout_ms(py::handle value);
// What comes first on the GPU, for xfer_gd2fs_op.gpu_stream: an int (0 and 1: the default stream),
// a torch or cupy stream, anything with __cuda_stream__. None: with memory of GPU `device` torch's
// current stream there, if torch is loaded and uses CUDA; else nothing.
uint64_t to_stream(const py::object& stream, int32_t device);

// An array of numbers: a one-dimensional buffer of integers (numpy, array.array, ...), a sequence
// of ints, or one int that stands for all.
class Numbers {
 public:
  Numbers(py::handle value, const char* what);

  bool single() const { return single_; }
  size_t size() const { return values_.size(); }
  uint64_t operator[](size_t i) const { return single_ ? values_[0] : values_[i]; }

 private:
  void take_buffer(const Py_buffer& view, const char* what);

  bool single_ = false;
  std::vector<uint64_t> values_;
};

// SGEs of one request, and the objects that keep their memory registered.
struct Slices {
  std::vector<xfer_gd2fs_sge> sges;
  py::object kept;
  uint64_t length = 0;  // of all; what overflows is the library's to refuse
  int32_t device = -1;  // of the first GPU memory; -1: there is none

  uint16_t count() const { return static_cast<uint16_t>(sges.size()); }
};

// From a sequence of SGE objects. OSError(EINVAL): one whose iomem is deregistered or of another
// Client.
Slices slices_of(const Context& context, const py::object& sges);
// The registration's handle, checked in the same way.
xfer_gd2fs_iomem* iomem_handle(const Context& context, py::handle iomem);

}  // namespace pygd2fs
