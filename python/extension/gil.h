// Runs a call of the library without the GIL.
#pragma once

#include <cxxabi.h>
#include <type_traits>
#include <unistd.h>
#include <utility>

#include <pybind11/pybind11.h>

namespace pygd2fs {

// Takes the GIL back. Once the interpreter is ending, Python ends the thread here by unwinding its
// stack (pthread_exit, up to 3.13). Our frames hold Python objects that may not be touched then, so
// the thread sleeps until the process is gone, as Python itself does from 3.14 on.
inline void take_gil(PyThreadState* state) {
  try {
    PyEval_RestoreThread(state);
  } catch (abi::__forced_unwind&) {
    for (;;) pause();
  }
}

// `call` must neither throw nor touch Python objects. Answers what it answers.
template <class Call>
auto without_gil(Call&& call) {
  PyThreadState* const state = PyEval_SaveThread();
  if constexpr (std::is_void_v<decltype(call())>) {
    call();
    take_gil(state);
  } else {
    auto result = call();
    take_gil(state);
    return result;
  }
}

}  // namespace pygd2fs
