#include "client.h"

#include <utility>
#include <vector>

#include "arguments.h"

namespace pygd2fs {
namespace {

// A str or None, kept for the length of the call that takes a `const char *`.
class OptionalText {
 public:
  explicit OptionalText(const py::object& value) : set_(!value.is_none()) {
    if (set_) text_ = value.cast<std::string>();
  }
  const char* c_str() const { return set_ ? text_.c_str() : nullptr; }

 private:
  const bool set_;
  std::string text_;
};

uint32_t to_u32(const py::object& value, const char* what) {
  const uint64_t number = to_u64(value, what);
  if (number > UINT32_MAX) raise(PyExc_ValueError, std::string(what) + " is too large");
  return static_cast<uint32_t>(number);
}

std::shared_ptr<Context> connect(const py::object& cpaddr, const py::object& dpaddr,
                                 const py::object& cluster, const py::object& iothreads,
                                 const py::object& memthreads, const py::object& streams,
                                 const py::object& timeout, const py::object& log_level) {
  const OptionalText cp_address(cpaddr), dp_address(dpaddr), cluster_id(cluster), level(log_level);
  xfer_gd2fs_options options{};
  options.cp_address = cp_address.c_str();
  options.dp_address = dp_address.c_str();
  options.cluster_id = cluster_id.c_str();
  options.log_level = level.c_str();
  options.iothread_count = to_u32(iothreads, "iothreads");
  options.memthread_count = to_u32(memthreads, "memthreads");
  options.conn_stream_count = to_u32(streams, "streams");
  options.timeout = to_u32(timeout, "timeout");
  return Context::connect(options);
}

xfer_gd2fs_cq* handle_of(const Queue* queue) {
  if (queue == nullptr) return nullptr;
  // NULL would name the default queue.
  if (queue->handle() == nullptr) raise_os_error(ECANCELED, "the completion queue is destroyed");
  return queue->handle();
}

// The Python object of a new Request, and the request in it.
std::pair<py::object, Request*> make_request(uint16_t opcode, const py::object& filepath,
                                             const py::object& desc) {
  auto* request = new Request(opcode, filepath, desc);
  return {py::cast(request, py::return_value_policy::take_ownership), request};
}

py::object prepare_transfer(const Slices& slices, const py::object& filepath,
                            const py::object& offset, const py::object& flags,
                            const py::object& desc, const std::string& path, xfer_gd2fs_op& op) {
  auto [object, request] = make_request(op.opcode, filepath, desc);
  op.flags = to_flags(flags);
  op.filepath = path.c_str();
  op.off = to_u64(offset, "offset");
  op.sges = slices.sges.data();
  op.nsge = slices.count();
  request->set_range(op.off, slices.length);
  request->keep(slices.kept);
  return object;
}

// The iomems of `count` rows: one for all, or one each. The first GPU among them in *device.
std::vector<xfer_gd2fs_iomem*> iomem_handles(const Context& context, const py::object& iomem,
                                             size_t count, int32_t* device) {
  if (py::isinstance<Iomem>(iomem)) {
    *device = iomem.cast<const Iomem&>().device();
    return {iomem_handle(context, iomem)};
  }
  if (PySequence_Check(iomem.ptr()) == 0) {
    raise(PyExc_TypeError, "iomem must be an IOMEM or a sequence of them");
  }
  std::vector<xfer_gd2fs_iomem*> handles;
  for (const py::handle item : iomem) {
    if (!py::isinstance<Iomem>(item)) {
      raise(PyExc_TypeError, "iomem must be an IOMEM or a sequence of them");
    }
    handles.push_back(iomem_handle(context, item));
    if (*device < 0) *device = item.cast<const Iomem&>().device();
  }
  if (handles.size() != count) raise(PyExc_ValueError, "iomem and addresses differ in length");
  return handles;
}

void check_rows(const Numbers& numbers, size_t count, const char* what) {
  if (!numbers.single() && numbers.size() != count) {
    raise(PyExc_ValueError, std::string(what) + " and addresses differ in length");
  }
}

// SGEs out of arrays. Keeps the iomems, from a tuple of its own if they are several.
Slices slices_of_arrays(const Context& context, const py::object& addresses,
                        const py::object& lengths, const py::object& iomem) {
  const Numbers address(addresses, "addresses");
  const Numbers length(lengths, "lengths");
  if (address.single()) raise(PyExc_TypeError, "addresses must be an array");
  const size_t count = address.size();
  check_rows(length, count, "lengths");
  Slices slices;
  slices.kept = py::isinstance<Iomem>(iomem) ? iomem : py::object(py::tuple(iomem));
  const auto handles = iomem_handles(context, slices.kept, count, &slices.device);
  slices.sges.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    slices.sges.push_back(
        {reinterpret_cast<void*>(address[i]), length[i], handles[handles.size() == 1 ? 0 : i]});
    slices.length += length[i];
  }
  return slices;
}

// One path for all rows, or one each.
class Paths {
 public:
  Paths(const py::object& filepaths, size_t count) {
    if (PyUnicode_Check(filepaths.ptr()) != 0 || py::hasattr(filepaths, "__fspath__")) {
      objects_.push_back(filepaths);
    } else {
      for (const py::handle item : filepaths) {
        objects_.push_back(py::reinterpret_borrow<py::object>(item));
      }
      if (objects_.size() != count) {
        raise(PyExc_ValueError, "filepath and addresses differ in length");
      }
      each_ = true;
    }
    for (const py::object& object : objects_) bytes_.push_back(to_path(object));
  }
  const py::object& object(size_t i) const { return objects_[each_ ? i : 0]; }
  const char* bytes(size_t i) const { return bytes_[each_ ? i : 0].c_str(); }

 private:
  bool each_ = false;
  std::vector<py::object> objects_;
  std::vector<std::string> bytes_;
};

}  // namespace

Queue::Queue(Client& client) : context_(client.share()), queue_(context_->make_queue()) {}

Queue::~Queue() {
  destroy();
}

py::list Queue::reap(const py::object& timeout_ms) {
  if (queue_ == nullptr) raise_os_error(ECANCELED, "the completion queue is destroyed");
  return context_->reap(queue_, to_timeout_ms(timeout_ms));
}

void Queue::destroy() {
  if (queue_ != nullptr) context_->destroy_queue(std::exchange(queue_, nullptr));
}

Client::Client(const py::object& cpaddr, const py::object& dpaddr, const py::object& cluster,
               const py::object& iothreads, const py::object& memthreads, const py::object& streams,
               const py::object& timeout, const py::object& log_level)
    : context_(
          connect(cpaddr, dpaddr, cluster, iothreads, memthreads, streams, timeout, log_level)) {}

Client::~Client() {
  context_->close();
}

std::unique_ptr<Iomem> Client::reg_iomem(uint64_t address, uint64_t length, py::object owner) {
  xfer_gd2fs_iomem* iomem = context_->reg_iomem(address, length);
  return std::make_unique<Iomem>(context_, iomem, address, length, context_->iomem_device(iomem),
                                 std::move(owner));
}

void Client::dereg_iomem(Iomem& iomem) {
  if (iomem.context() != context_) {
    raise_os_error(EINVAL, "the iomem is registered with another Client");
  }
  xfer_gd2fs_iomem* handle = iomem.release();
  if (handle == nullptr) raise_os_error(EINVAL, "the iomem is deregistered already");
  context_->dereg_iomem(handle);
  iomem.drop_owner();
}

py::object Client::transfer(const Queue* queue, uint16_t opcode, const py::object& filepath,
                            const py::object& offset, const py::object& sges,
                            const py::object& flags, const py::object& desc,
                            const py::object& stream) {
  const Slices slices = slices_of(*context_, sges);
  const std::string path = to_path(filepath);
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.gpu_stream = to_stream(stream, slices.device);
  py::object request = prepare_transfer(slices, filepath, offset, flags, desc, path, op);
  context_->submit(handle_of(queue), request, op);
  return request;
}

py::object Client::transfer_arrays(const Queue* queue, uint16_t opcode, const py::object& filepath,
                                   const py::object& offset, const py::object& addresses,
                                   const py::object& lengths, const py::object& iomem,
                                   const py::object& flags, const py::object& desc,
                                   const py::object& stream) {
  const Slices slices = slices_of_arrays(*context_, addresses, lengths, iomem);
  if (slices.sges.size() > kSgesMax) {
    raise(PyExc_ValueError,
          "a request takes at most 65535 SGEs, not " + std::to_string(slices.sges.size()));
  }
  const std::string path = to_path(filepath);
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.gpu_stream = to_stream(stream, slices.device);
  py::object request = prepare_transfer(slices, filepath, offset, flags, desc, path, op);
  context_->submit(handle_of(queue), request, op);
  return request;
}

size_t Client::transfer_batch(const Queue* queue, uint16_t opcode, const py::object& filepaths,
                              const py::object& offsets, const py::object& addresses,
                              const py::object& lengths, const py::object& iomem,
                              const py::object& flags, const py::object& desc, py::list into,
                              const py::object& stream) {
  const Slices slices = slices_of_arrays(*context_, addresses, lengths, iomem);
  const size_t count = slices.sges.size();
  const Numbers offset(offsets, "offsets");
  check_rows(offset, count, "offsets");
  const Paths paths(filepaths, count);
  const uint16_t flag_bits = to_flags(flags);
  const uint64_t stream_number = to_stream(stream, slices.device);
  const size_t begin = py::len(into);
  std::vector<py::object> requests;
  std::vector<xfer_gd2fs_op> ops;
  requests.reserve(count);
  ops.reserve(count);
  for (size_t i = begin; i < count; ++i) {
    auto [object, request] = make_request(opcode, paths.object(i), desc);
    xfer_gd2fs_op op{};
    op.opcode = opcode;
    op.flags = flag_bits;
    op.gpu_stream = stream_number;
    op.filepath = paths.bytes(i);
    op.off = offset[i];
    op.sges = &slices.sges[i];
    op.nsge = 1;
    request->set_range(op.off, slices.sges[i].len);
    request->keep(slices.kept);
    requests.push_back(std::move(object));
    ops.push_back(op);
  }
  Context::Refusal refused;
  const size_t accepted = context_->submit_many(handle_of(queue), requests, ops, refused);
  for (size_t i = 0; i < accepted; ++i) into.append(requests[i]);
  if (accepted < requests.size()) {
    raise_os_error(refused.error, refused.reason, paths.object(begin + accepted));
  }
  return count;
}

py::object Client::call_transfer(uint16_t opcode, const py::object& filepath,
                                 const py::object& offset, const py::object& sges,
                                 const py::object& stream) {
  const Slices slices = slices_of(*context_, sges);
  const std::string path = to_path(filepath);
  xfer_gd2fs_op op{};
  op.opcode = opcode;
  op.gpu_stream = to_stream(stream, slices.device);
  py::object request =
      prepare_transfer(slices, filepath, offset, py::int_(0), py::str(""), path, op);
  context_->call(request, op);
  return request;
}

std::unique_ptr<View> Client::view(const py::object& filepath, const py::object& offset,
                                   const py::object& length) {
  return std::make_unique<View>(*context_, filepath, to_u64(offset, "offset"),
                                to_u64(length, "length"));
}

namespace {

// An operation on names with the text it points to.
struct NameOp {
  NameOp(uint16_t opcode, const py::object& path_object, const py::object& other_object,
         const py::object& size, uint32_t entries)
      : path(to_path(path_object)), other(other_object.is_none() ? "" : to_path(other_object)) {
    auto [object, made] = make_request(opcode, path_object, py::str(""));
    request = std::move(object);
    op.opcode = opcode;
    op.filepath = path.c_str();
    op.other = other_object.is_none() ? nullptr : other.c_str();
    op.size = to_u64(size, "size");
    if (opcode == XFER_GD2FS_OP_STAT) op.stat = made->make_stat();
    if (opcode == XFER_GD2FS_OP_READDIR) {
      op.entries = made->make_entries(entries);
      op.nentries = entries;
    }
  }
  NameOp(const py::object& path_object, uint16_t advice, const py::object& offset,
         const py::object& length)
      : NameOp(XFER_GD2FS_OP_ADVISE, path_object, py::none(), length, 0) {
    op.advice = advice;
    op.off = to_u64(offset, "offset");
  }
  NameOp(const py::object& path_object, bool pin)
      : NameOp(XFER_GD2FS_OP_SETATTR, path_object, py::none(), py::int_(0), 0) {
    attr.set = XFER_GD2FS_ATTR_PIN;
    attr.pin = pin ? 1 : 0;
    op.attr = &attr;
  }
  NameOp(const NameOp&) = delete;
  NameOp& operator=(const NameOp&) = delete;

  const std::string path;
  const std::string other;
  py::object request;
  xfer_gd2fs_attr attr{};
  xfer_gd2fs_op op{};
};

}  // namespace

py::object Client::name(const Queue* queue, uint16_t opcode, const py::object& path,
                        const py::object& other, const py::object& size, uint32_t entries) {
  NameOp op(opcode, path, other, size, entries);
  context_->submit(handle_of(queue), op.request, op.op);
  return op.request;
}

py::object Client::call_name(uint16_t opcode, const py::object& path, const py::object& other,
                             const py::object& size, uint32_t entries) {
  NameOp op(opcode, path, other, size, entries);
  context_->call(op.request, op.op);
  return op.request;
}

py::object Client::advise(const Queue* queue, const py::object& path, uint16_t advice,
                          const py::object& offset, const py::object& length) {
  NameOp op(path, advice, offset, length);
  context_->submit(handle_of(queue), op.request, op.op);
  return op.request;
}

py::object Client::call_advise(const py::object& path, uint16_t advice, const py::object& offset,
                               const py::object& length) {
  NameOp op(path, advice, offset, length);
  context_->call(op.request, op.op);
  return op.request;
}

py::object Client::set_pin(const Queue* queue, const py::object& path, bool pin) {
  NameOp op(path, pin);
  context_->submit(handle_of(queue), op.request, op.op);
  return op.request;
}

py::object Client::call_set_pin(const py::object& path, bool pin) {
  NameOp op(path, pin);
  context_->call(op.request, op.op);
  return op.request;
}

}  // namespace pygd2fs
