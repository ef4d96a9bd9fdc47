// Client and Queue: the classes that Python programs, and the package's own Python code, drive.
//
// A Client owns a Context and closes it when it goes. A Queue is a further completion queue of it:
// one per event loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "context.h"
#include "errors.h"
#include "memory.h"
#include "view.h"

namespace pygd2fs {

class Client;

class Queue {
 public:
  explicit Queue(Client& client);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  int fd() { return context_->queue_fd(queue_); }
  py::list reap(const py::object& timeout_ms);
  // Cancels what would complete here and returns when its memory is free.
  void destroy();

  xfer_gd2fs_cq* handle() const { return queue_; }

 private:
  const std::shared_ptr<Context> context_;
  xfer_gd2fs_cq* queue_;
};

class Client {
 public:
  Client(const py::object& cpaddr, const py::object& dpaddr, const py::object& cluster,
         const py::object& iothreads, const py::object& memthreads, const py::object& streams,
         const py::object& timeout, const py::object& log_level);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Context& context() { return *context_; }
  std::shared_ptr<Context> share() { return context_; }

  std::unique_ptr<Iomem> reg_iomem(uint64_t address, uint64_t length, py::object owner);
  void dereg_iomem(Iomem& iomem);

  // Bytes: one request. A null queue is the default one. `stream` as in to_stream().
  py::object transfer(const Queue* queue, uint16_t opcode, const py::object& filepath,
                      const py::object& offset, const py::object& sges, const py::object& flags,
                      const py::object& desc, const py::object& stream);
  // The same with the SGEs as arrays over one iomem or a sequence of them.
  py::object transfer_arrays(const Queue* queue, uint16_t opcode, const py::object& filepath,
                             const py::object& offset, const py::object& addresses,
                             const py::object& lengths, const py::object& iomem,
                             const py::object& flags, const py::object& desc,
                             const py::object& stream);
  // One request per row; those accepted are appended to `into`, whose length is also the row to
  // begin at. Returns the number of rows. OSError when one is refused.
  size_t transfer_batch(const Queue* queue, uint16_t opcode, const py::object& filepaths,
                        const py::object& offsets, const py::object& addresses,
                        const py::object& lengths, const py::object& iomem, const py::object& flags,
                        const py::object& desc, py::list into, const py::object& stream);
  // Submits and waits.
  py::object call_transfer(uint16_t opcode, const py::object& filepath, const py::object& offset,
                           const py::object& sges, const py::object& stream);

  // Submits and waits.
  std::unique_ptr<View> view(const py::object& filepath, const py::object& offset,
                             const py::object& length);

  // Names. `other` and `size` are those of xfer_gd2fs_op; None and 0 where not used.
  py::object name(const Queue* queue, uint16_t opcode, const py::object& path,
                  const py::object& other, const py::object& size, uint32_t entries);
  py::object call_name(uint16_t opcode, const py::object& path, const py::object& other,
                       const py::object& size, uint32_t entries);
  // Advice on a range (XFER_GD2FS_ADVICE_*), and the pin.
  py::object advise(const Queue* queue, const py::object& path, uint16_t advice,
                    const py::object& offset, const py::object& length);
  py::object call_advise(const py::object& path, uint16_t advice, const py::object& offset,
                         const py::object& length);
  py::object set_pin(const Queue* queue, const py::object& path, bool pin);
  py::object call_set_pin(const py::object& path, bool pin);

 private:
  const std::shared_ptr<Context> context_;
};

}  // namespace pygd2fs
