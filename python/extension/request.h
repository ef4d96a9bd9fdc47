// Request: one operation from its submit to its completion and after.
//
// A Python object, so it is made, read and destroyed with the GIL. While it is in flight the
// Context holds a reference to it, and it holds what the library writes to or reads from: the SGEs
// (and with them their IOMEMs and those IOMEMs' buffers), the stat and the directory entries.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "errors.h"

namespace pygd2fs {

class Context;

class Request {
 public:
  Request(uint16_t opcode, py::object filepath, py::object desc)
      : opcode_(opcode), filepath_(std::move(filepath)), desc_(std::move(desc)) {}

  // What it is.
  uint16_t opcode() const { return opcode_; }
  const char* operation() const;
  const py::object& filepath() const { return filepath_; }
  const py::object& desc() const { return desc_; }
  uint64_t offset() const { return offset_; }
  uint64_t length() const { return length_; }

  // How it ended. Before that the status is CLIENT, EINPROGRESS.
  bool done() const { return done_; }
  uint16_t status() const { return done_ ? status_ : client_status(EINPROGRESS, 5); }
  uint64_t value() const { return value_; }
  std::string words() const;
  // The value, or OSError.
  uint64_t check() const;
  // What a completed STAT or READDIR brought, as tuples; None for other operations.
  py::object result() const;

  // Asks the library to end it early. False when it has ended.
  bool cancel();

  // --- for Context ---
  void set_range(uint64_t offset, uint64_t length) { offset_ = offset, length_ = length; }
  void keep(py::object object) { kept_ = std::move(object); }
  const py::object& kept() const { return kept_; }
  xfer_gd2fs_stat* make_stat();
  xfer_gd2fs_dirent* make_entries(uint32_t count);
  uint64_t* number() { return &number_; }
  void start(std::shared_ptr<Context> context) { context_ = std::move(context); }
  void end(uint16_t status, uint64_t value);

 private:
  const uint16_t opcode_;
  bool done_ = false;
  uint16_t status_ = 0;
  uint64_t value_ = 0;
  uint64_t offset_ = 0;
  uint64_t length_ = 0;
  uint64_t number_ = 0;  // the library's, for cancel
  py::object filepath_;
  py::object desc_;
  py::object kept_ = py::none();
  std::unique_ptr<xfer_gd2fs_stat> stat_;
  std::vector<xfer_gd2fs_dirent> entries_;
  std::shared_ptr<Context> context_;  // while in flight
};

}  // namespace pygd2fs
