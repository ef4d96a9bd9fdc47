// _pygd2fs: what the package pygd2fs is built on. Names that begin with an underscore are for the
// package's own Python code. The types are local to the module, so that two copies of it (one that
// is tested and one that is installed) can live in one process.
#include <pybind11/pybind11.h>
#include <xfer/gd2fs.h>

#include "arguments.h"
#include "client.h"
#include "memory.h"
#include "request.h"
#include "view.h"

namespace pygd2fs {
namespace {

template <uint16_t opcode>
py::object transfer(Client& client, const py::object& filepath, const py::object& offset,
                    const py::object& sges, const py::object& flags, const py::str& desc,
                    const py::object& stream) {
  return client.transfer(nullptr, opcode, filepath, offset, sges, flags, desc, stream);
}

template <uint16_t opcode>
py::object transfer_arrays(Client& client, const py::object& filepath, const py::object& offset,
                           const py::object& addresses, const py::object& lengths,
                           const py::object& iomem, const py::object& flags, const py::str& desc,
                           const py::object& stream) {
  return client.transfer_arrays(nullptr, opcode, filepath, offset, addresses, lengths, iomem, flags,
                                desc, stream);
}

py::dict counters_of(Client& client) {
  const xfer_gd2fs_counters counters = client.context().counters();
  py::dict out;
  out["host_read_bytes"] = counters.host_read_bytes;
  out["host_write_bytes"] = counters.host_write_bytes;
  out["gpu_straight_read_bytes"] = counters.gpu_straight_read_bytes;
  out["gpu_straight_write_bytes"] = counters.gpu_straight_write_bytes;
  out["gpu_ring_read_bytes"] = counters.gpu_ring_read_bytes;
  out["gpu_ring_write_bytes"] = counters.gpu_ring_write_bytes;
  out["gpu_nic_read_bytes"] = counters.gpu_nic_read_bytes;
  out["gpu_nic_write_bytes"] = counters.gpu_nic_write_bytes;
  out["gpu_ring_pinned_bytes"] = counters.gpu_ring_pinned_bytes;
  out["gpu_shared_pinned_bytes"] = counters.gpu_shared_pinned_bytes;
  return out;
}

py::tuple inspect_status(const py::object& value) {
  const uint64_t status = to_u64(value, "status");
  if (status > UINT16_MAX) raise(PyExc_ValueError, "a status has 16 bits");
  return py::make_tuple(XFER_GD2FS_STATUS_DO_NOT_RETRY(status) != 0,
                        XFER_GD2FS_STATUS_CLASS(status), XFER_GD2FS_STATUS_DETAIL(status),
                        XFER_GD2FS_STATUS_CODE(status));
}

void bind_memory(py::module_& module) {
  py::class_<Hold>(module, "_Hold", py::module_local())
      .def_static("from_buffer", &Hold::from_buffer, py::arg("object"), py::arg("writable"))
      .def_static("from_dlpack", &Hold::from_dlpack, py::arg("capsule"), py::arg("writable"))
      .def_static("from_address", &Hold::from_address, py::arg("address"), py::arg("length"),
                  py::arg("owner"))
      .def_property_readonly("address", &Hold::address)
      .def_property_readonly("length", &Hold::length);

  py::class_<Iomem>(module, "IOMEM", py::module_local(),
                    "Memory that is registered with a Client, made by Client.RegIOMEM.")
      .def_property_readonly("address", &Iomem::address)
      .def_property_readonly("length", &Iomem::length)
      .def_property_readonly("device", &Iomem::device, "The GPU's ordinal; -1 for host memory.")
      .def_property_readonly("registered", &Iomem::registered)
      .def("__repr__", &Iomem::words);

  py::class_<Sge>(module, "SGE", py::module_local(),
                  "A slice of registered memory, of any length and alignment.")
      .def(py::init([](const py::object& address, const py::object& length, py::object iomem) {
             if (!py::isinstance<Iomem>(iomem)) raise(PyExc_TypeError, "iomem must be an IOMEM");
             return Sge{to_u64(address, "address"), to_u64(length, "length"), std::move(iomem)};
           }),
           py::arg("address"), py::arg("length"), py::arg("iomem"))
      .def_readonly("address", &Sge::address)
      .def_readonly("length", &Sge::length)
      .def_readonly("iomem", &Sge::iomem)
      .def("__repr__", &Sge::words);
}

void bind_request(py::module_& module) {
  py::class_<Request>(module, "Request", py::module_local(),
                      "One operation. Hashable, equal to itself alone.")
      .def("Status", &Request::status,
           "0 is success; see InspectStatus. CLIENT, EINPROGRESS before.")
      .def("Value", &Request::value, "Bytes moved; 0 before the end and on failure.")
      .def("Done", &Request::done, "Whether it has completed.")
      .def("Check", &Request::check, "The value, or OSError if it failed.")
      .def("Cancel", &Request::cancel,
           "Asks for an early end; it still completes. False if it has completed.")
      .def("_result", &Request::result)
      .def_property_readonly("operation", &Request::operation)
      .def_property_readonly("filepath", &Request::filepath)
      .def_property_readonly("offset", &Request::offset)
      .def_property_readonly("length", &Request::length)
      .def_property_readonly("desc", &Request::desc)
      .def("__repr__", &Request::words);
}

void bind_queue(py::module_& module) {
  py::class_<Queue>(module, "_Queue", py::module_local())
      .def(py::init<Client&>(), py::arg("client"))
      .def("fd", &Queue::fd)
      .def("reap", &Queue::reap, py::arg("timeout_ms"))
      .def("destroy", &Queue::destroy);
}

void bind_transfers(py::class_<Client>& client) {
  const auto flags = py::arg("flags") = 0;
  const auto desc = py::arg("desc") = "";
  const auto stream = py::arg("stream") = py::none();
  client
      .def("Read", &transfer<XFER_GD2FS_OP_READ>, py::arg("filepath"), py::arg("offset"),
           py::arg("sges"), flags, desc, py::kw_only(), stream)
      .def("Write", &transfer<XFER_GD2FS_OP_WRITE>, py::arg("filepath"), py::arg("offset"),
           py::arg("sges"), flags, desc, py::kw_only(), stream)
      .def("ReadV", &transfer_arrays<XFER_GD2FS_OP_READ>, py::arg("filepath"), py::arg("offset"),
           py::arg("addresses"), py::arg("lengths"), py::arg("iomem"), flags, desc, py::kw_only(),
           stream)
      .def("WriteV", &transfer_arrays<XFER_GD2FS_OP_WRITE>, py::arg("filepath"), py::arg("offset"),
           py::arg("addresses"), py::arg("lengths"), py::arg("iomem"), flags, desc, py::kw_only(),
           stream)
      .def("_transfer", &Client::transfer, py::arg("queue").none(true), py::arg("opcode"),
           py::arg("filepath"), py::arg("offset"), py::arg("sges"), py::arg("flags"),
           py::arg("desc"), stream)
      .def("_transfer_batch", &Client::transfer_batch, py::arg("queue").none(true),
           py::arg("opcode"), py::arg("filepaths"), py::arg("offsets"), py::arg("addresses"),
           py::arg("lengths"), py::arg("iomem"), py::arg("flags"), py::arg("desc"), py::arg("into"),
           stream)
      .def("_call_transfer", &Client::call_transfer, py::arg("opcode"), py::arg("filepath"),
           py::arg("offset"), py::arg("sges"), stream)
      .def("View", &Client::view, py::arg("filepath"), py::arg("offset"), py::arg("length"),
           "Looks at bytes of a file. On the server's host, and if they lie in its cache as one "
           "piece, without a copy. The server may use that memory for something else at any time: "
           "work on the bytes, then Release(), and believe the result only if it says True.")
      .def("_name", &Client::name, py::arg("queue").none(true), py::arg("opcode"), py::arg("path"),
           py::arg("other"), py::arg("size"), py::arg("entries"))
      .def("_call_name", &Client::call_name, py::arg("opcode"), py::arg("path"), py::arg("other"),
           py::arg("size"), py::arg("entries"))
      .def("_advise", &Client::advise, py::arg("queue").none(true), py::arg("path"),
           py::arg("advice"), py::arg("offset"), py::arg("length"))
      .def("_call_advise", &Client::call_advise, py::arg("path"), py::arg("advice"),
           py::arg("offset"), py::arg("length"))
      .def("_set_pin", &Client::set_pin, py::arg("queue").none(true), py::arg("path"),
           py::arg("pin"))
      .def("_call_set_pin", &Client::call_set_pin, py::arg("path"), py::arg("pin"));
}

void bind_client(py::module_& module) {
  py::class_<Client> client(module, "_Client", py::module_local());
  client
      .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&,
                    const py::object&, const py::object&, const py::object&, const py::object&>(),
           py::arg("cpaddr"), py::arg("dpaddr"), py::arg("cluster"), py::arg("iothreads"),
           py::arg("memthreads"), py::arg("streams"), py::arg("timeout"), py::arg("log_level"))
      .def(
          "RegIOMEM",
          [](Client& self, const py::object& address, const py::object& length) {
            return self.reg_iomem(to_u64(address, "address"), to_u64(length, "length"), py::none());
          },
          py::arg("address"), py::arg("length"))
      .def(
          "_register",
          [](Client& self, const py::object& hold) {
            const Hold& memory = hold.cast<const Hold&>();
            return self.reg_iomem(memory.address(), memory.length(), hold);
          },
          py::arg("hold"))
      .def("DeregIOMEM", &Client::dereg_iomem, py::arg("iomem"))
      .def(
          "Wait",
          [](Client& self, const py::object& timeout_ms) {
            return self.context().reap(nullptr, to_timeout_ms(timeout_ms));
          },
          py::arg("timeout_ms"))
      .def("Counters", counters_of)
      .def("GetFd", [](Client& self) { return self.context().queue_fd(nullptr); })
      .def("InFlight", [](Client& self) { return self.context().in_flight(); })
      .def("_close", [](Client& self) { self.context().close(); })
      .def("_closed", [](Client& self) { return self.context().closed(); })
      .def("_reaped", [](Client& self) { return self.context().reaped(); })
      .def("_set_on_reaped", [](Client& self, const py::object& function) {
        self.context().set_on_reaped(function);
      });
  bind_transfers(client);
}

}  // namespace
}  // namespace pygd2fs

PYBIND11_MODULE(_pygd2fs, module) {
  using namespace pygd2fs;
  module.doc() = "The C interface of GD2FS for Python; use pygd2fs.";
  bind_memory(module);
  bind_request(module);
  bind_view(module);
  bind_client(module);
  bind_queue(module);
  module.def("InspectStatus", &inspect_status, py::arg("status"),
             "(do_not_retry, class, detail, code) of a Request's Status().");
  module.def("_version", &xfer_gd2fs_version);
  module.def("_python_ends", &Context::python_ends);
  module.attr("SGES_MAX") = kSgesMax;
  module.attr("REQUESTS_MAX") = XFER_GD2FS_REQUESTS_MAX;
  module.attr("STATUS_CLASS_SUCCESS") = XFER_GD2FS_STATUS_CLASS_SUCCESS;
  module.attr("STATUS_CLASS_CLIENT") = XFER_GD2FS_STATUS_CLASS_CLIENT;
  module.attr("STATUS_CLASS_SERVER") = XFER_GD2FS_STATUS_CLASS_SERVER;
  module.attr("STATUS_CLASS_TRANSPORT") = XFER_GD2FS_STATUS_CLASS_TRANSPORT;
}
