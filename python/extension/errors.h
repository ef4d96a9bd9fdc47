// Errors of the C interface as Python sees them.
//
// Here, and only in this folder, functions throw: pybind11 carries a Python exception through C++
// as py::error_already_set. Every function needs the GIL unless it says otherwise.
#pragma once

#include <cstdint>
#include <string>

#include <pybind11/pybind11.h>

namespace pygd2fs {

namespace py = pybind11;

// What the last failed call of this thread left behind. No GIL needed.
std::string last_reason();

// Raises OSError(error, reason[, filename]); Python picks the subclass (FileNotFoundError, ...).
[[noreturn]] void raise_os_error(int error, const std::string& reason,
                                 const py::object& filename = py::none());

// Raises the Python exception of the type given.
[[noreturn]] void raise(PyObject* type, const std::string& reason);

// The reason part of a status: "No such file or directory (ENOENT, server, controller)". No GIL.
std::string status_words(uint16_t status);

// A status of class CLIENT that the extension makes itself. No GIL needed.
uint16_t client_status(int error, unsigned detail);

}  // namespace pygd2fs
