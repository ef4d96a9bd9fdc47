// Context: one connection to a cluster, and the table of requests in flight on it.
//
// Everything here runs with the GIL, which guards all members; it is released around every call
// into the library that may take time. The library never sees a pointer of ours as an id: ids are
// numbers that the table turns into requests, so that a completion that arrives beside close()
// finds nothing rather than freed memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "errors.h"
#include "request.h"

namespace pygd2fs {

class Context : public std::enable_shared_from_this<Context> {
 public:
  // At most so many completions are handed out at once.
  static constexpr int kReapMax = 1024;
  // A wait goes back to Python this often to see whether Ctrl-C was pressed.
  static constexpr int kSignalCheckMs = 100;

  // ConnectionError when the library cannot connect.
  static std::shared_ptr<Context> connect(const xfer_gd2fs_options& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Ends everything; returns when no peer can touch any buffer. Requests in flight end as CLIENT,
  // ECANCELED. Once only; later calls do nothing.
  void close();
  bool closed() const { return closed_; }

  // OSError when the library refuses.
  xfer_gd2fs_iomem* reg_iomem(uint64_t address, uint64_t length);
  int32_t iomem_device(xfer_gd2fs_iomem* iomem);
  xfer_gd2fs_counters counters();
  void dereg_iomem(xfer_gd2fs_iomem* iomem);
  void forget_iomem(xfer_gd2fs_iomem* iomem);

  xfer_gd2fs_cq* make_queue();
  void destroy_queue(xfer_gd2fs_cq* queue);
  int queue_fd(xfer_gd2fs_cq* queue);  // nullptr: the default one

  // Submits ops[i] for the Request that objects[i] is, in order, up to the first that is refused.
  // Returns how many were accepted; if not all, the reason is in `refused`.
  struct Refusal {
    int error = 0;
    std::string reason;
  };
  size_t submit_many(xfer_gd2fs_cq* queue, const std::vector<py::object>& objects,
                     std::vector<xfer_gd2fs_op>& ops, Refusal& refused);
  // The same for one; OSError when it is refused.
  void submit(xfer_gd2fs_cq* queue, const py::object& object, xfer_gd2fs_op& op);
  // Requests completed on a queue (nullptr: the default one), waiting up to timeout_ms for the
  // first; a negative time is for ever. KeyboardInterrupt and the like end it.
  py::list reap(xfer_gd2fs_cq* queue, int timeout_ms);
  // Python ends, and what is open is about to be closed by this thread. Only threads that it does
  // not wait for (daemon threads) are still in reap(): they stay there. An exception of theirs
  // would be printed while Python takes its streams apart, which ends the process by SIGABRT.
  static void python_ends();
  // Submits and waits on a queue of the call's own. KeyboardInterrupt cancels the request and is
  // raised when its memory is free.
  void call(const py::object& object, xfer_gd2fs_op& op);
  bool cancel(uint64_t number);

  size_t in_flight() const { return in_flight_.size(); }
  // How many requests have been reaped so far, and a function to call after more have been (or
  // None).
  uint64_t reaped() const { return reaped_; }
  void set_on_reaped(py::object function) { on_reaped_ = std::move(function); }

 private:
  explicit Context(xfer_gd2fs_ctx* ctx);

  // Why a call that returned NULL failed.
  [[noreturn]] void raise_null(const std::string& reason, int otherwise) const;
  // Puts the request into the table; from then on its completion may be handed out by any thread.
  void enter(xfer_gd2fs_cq* queue, const py::object& object, xfer_gd2fs_op& op);
  // Takes a request that was not accepted out again.
  void leave(const py::object& object, const xfer_gd2fs_op& op, int error);
  // Says that slots became free.
  void note_reaped(int count);
  py::list hand_out(const xfer_gd2fs_completion* completions, int count);
  // Waits until the request has ended, however long it takes, without looking at signals.
  void drain(xfer_gd2fs_cq* queue, const Request& request);

  xfer_gd2fs_ctx* const ctx_;
  const int process_;  // that connected
  bool closed_ = false;
  uint64_t last_id_ = 0;
  uint64_t reaped_ = 0;
  struct Entry {
    py::object request;
    xfer_gd2fs_cq* queue;
  };
  std::unordered_map<uint64_t, Entry> in_flight_;  // by id
  std::vector<xfer_gd2fs_cq*> idle_queues_;        // for call()
  py::object on_reaped_ = py::none();
};

}  // namespace pygd2fs
