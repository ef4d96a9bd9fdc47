#include "memory.h"

#include <cstring>
#include <utility>

#include "context.h"
#include "dlpack.h"

namespace pygd2fs {
namespace {

bool has_python_objects(const Py_buffer& view) {
  return view.format != nullptr && std::strchr(view.format, 'O') != nullptr;
}

// A tensor in row-major order without gaps; strides are counted in elements.
bool is_contiguous(const dlpack::Tensor& tensor) {
  if (tensor.strides == nullptr) return true;
  int64_t expected = 1;
  for (int32_t i = tensor.dimensions - 1; i >= 0; --i) {
    if (tensor.shape[i] == 0) return true;
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

uint64_t tensor_bytes(const dlpack::Tensor& tensor) {
  uint64_t elements = 1;
  for (int32_t i = 0; i < tensor.dimensions; ++i) {
    elements *= static_cast<uint64_t>(tensor.shape[i]);
  }
  return (elements * tensor.type.bits * tensor.type.lanes + 7) / 8;
}

}  // namespace

std::unique_ptr<Hold> Hold::from_buffer(const py::object& object, bool writable) {
  std::unique_ptr<Hold> hold(new Hold);
  // Asked for as it is, then judged here, so that the reason can be told.
  if (PyObject_GetBuffer(object.ptr(), &hold->view_, PyBUF_FULL_RO) != 0) {
    throw py::error_already_set();
  }
  hold->has_view_ = true;
  if (has_python_objects(hold->view_)) {
    raise(PyExc_ValueError, "the elements are Python objects, not bytes");
  }
  if (PyBuffer_IsContiguous(&hold->view_, 'C') == 0) {
    raise(PyExc_ValueError, "the memory is not C-contiguous");
  }
  if (writable && hold->view_.readonly != 0) raise(PyExc_ValueError, "the memory is read-only");
  hold->address_ = reinterpret_cast<uint64_t>(hold->view_.buf);
  hold->length_ = static_cast<uint64_t>(hold->view_.len);
  return hold;
}

std::unique_ptr<Hold> Hold::from_dlpack(const py::object& capsule, bool writable) {
  const dlpack::Tensor* tensor = nullptr;
  uint64_t flags = 0;
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0) {
    const auto* managed = static_cast<const dlpack::VersionedTensor*>(
        PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (managed->version.major != 1) raise(PyExc_BufferError, "an unknown version of DLPack");
    tensor = &managed->tensor;
    flags = managed->flags;
  } else if (PyCapsule_IsValid(capsule.ptr(), "dltensor") != 0) {
    tensor = static_cast<const dlpack::Tensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  } else {
    raise(PyExc_TypeError, "__dlpack__ did not return a DLPack capsule");
  }
  if (!dlpack::is_usable(tensor->device)) {
    raise_os_error(ENOTSUP, "the tensor is on a device that is not CUDA's");
  }
  if (!is_contiguous(*tensor)) raise(PyExc_ValueError, "the memory is not C-contiguous");
  if (writable && (flags & dlpack::kReadOnly) != 0) {
    raise(PyExc_ValueError, "the memory is read-only");
  }
  if (writable && (flags & dlpack::kCopied) != 0) {
    raise(PyExc_ValueError, "DLPack gave a copy, which cannot be read into");
  }
  std::unique_ptr<Hold> hold(new Hold);
  hold->address_ = reinterpret_cast<uint64_t>(tensor->data) + tensor->byte_offset;
  hold->length_ = tensor_bytes(*tensor);
  hold->owner_ = capsule;  // it is not consumed: dropping it returns the tensor
  return hold;
}

std::unique_ptr<Hold> Hold::from_address(uint64_t address, uint64_t length, py::object owner) {
  std::unique_ptr<Hold> hold(new Hold);
  hold->address_ = address;
  hold->length_ = length;
  hold->owner_ = std::move(owner);
  return hold;
}

Hold::~Hold() {
  if (has_view_) PyBuffer_Release(&view_);
}

Iomem::~Iomem() {
  if (iomem_ != nullptr) context_->forget_iomem(iomem_);
}

std::string Iomem::words() const {
  char text[96];
  const std::string where = device_ < 0 ? "" : " cuda:" + std::to_string(device_);
  std::snprintf(text, sizeof text, "<IOMEM address=0x%llx length=%llu%s%s>",
                static_cast<unsigned long long>(address_), static_cast<unsigned long long>(length_),
                where.c_str(), iomem_ != nullptr ? "" : " (deregistered)");
  return text;
}

std::string Sge::words() const {
  char text[80];
  std::snprintf(text, sizeof text, "<SGE address=0x%llx length=%llu>",
                static_cast<unsigned long long>(address), static_cast<unsigned long long>(length));
  return text;
}

}  // namespace pygd2fs
