// Hold, Iomem and Sge: memory that requests move bytes to and from.
//
// A Hold keeps a Python object's memory where it is. An Iomem is a registration; it keeps its Hold,
// an SGE keeps its Iomem, a request in flight keeps its SGEs: so a buffer given as an object cannot
// go away under a transfer. Addresses given as numbers are the caller's to keep until DeregIOMEM.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "errors.h"

namespace pygd2fs {

class Context;

class Hold {
 public:
  // From the buffer protocol. ValueError: not C-contiguous, read-only though `writable` is asked
  // for, or elements that are Python objects. TypeError: no such protocol.
  static std::unique_ptr<Hold> from_buffer(const py::object& object, bool writable);
  // From the capsule that __dlpack__() returned. Refused for the reasons above; memory that is
  // neither the host's nor CUDA's is ENOTSUP.
  static std::unique_ptr<Hold> from_dlpack(const py::object& capsule, bool writable);
  // From an address whose owner is kept alive.
  static std::unique_ptr<Hold> from_address(uint64_t address, uint64_t length, py::object owner);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  uint64_t address() const { return address_; }
  uint64_t length() const { return length_; }

 private:
  Hold() = default;

  uint64_t address_ = 0;
  uint64_t length_ = 0;
  py::object owner_ = py::none();
  Py_buffer view_{};
  bool has_view_ = false;
};

class Iomem {
 public:
  Iomem(std::shared_ptr<Context> context, xfer_gd2fs_iomem* iomem, uint64_t address,
        uint64_t length, int32_t device, py::object owner)
      : context_(std::move(context)),
        iomem_(iomem),
        device_(device),
        address_(address),
        length_(length),
        owner_(std::move(owner)) {}
  // Deregisters what nobody refers to any more; no request does then.
  ~Iomem();

  uint64_t address() const { return address_; }
  uint64_t length() const { return length_; }
  int32_t device() const { return device_; }  // of a GPU; -1: host memory
  bool registered() const { return iomem_ != nullptr; }
  std::string words() const;

  const std::shared_ptr<Context>& context() const { return context_; }
  xfer_gd2fs_iomem* handle() const { return iomem_; }
  // The handle, which from now on is the caller's to deregister.
  xfer_gd2fs_iomem* release() { return std::exchange(iomem_, nullptr); }
  // The object that was registered, or None.
  py::object drop_owner() { return std::exchange(owner_, py::none()); }

 private:
  const std::shared_ptr<Context> context_;
  xfer_gd2fs_iomem* iomem_;
  const int32_t device_;
  const uint64_t address_;
  const uint64_t length_;
  py::object owner_;
};

struct Sge {
  uint64_t address;
  uint64_t length;
  py::object iomem;  // an Iomem

  std::string words() const;
};

}  // namespace pygd2fs
