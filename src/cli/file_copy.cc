#include "cli/file_copy.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

#include <sys/stat.h>

#include "base/check.h"
#include "base/descriptor.h"

namespace gd2fs::cli {
namespace {

void free_memory(std::byte* memory) {
  std::free(memory);
}

Result<size_t> read_fully(int fd, Bytes into, uint64_t offset, const std::string& path) {
  size_t done = 0;
  while (done < into.size()) {
    const ssize_t got =
        pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(Status::from_errno(errno, path));
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Status write_fully(int fd, ConstBytes bytes, uint64_t offset, const std::string& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put =
        pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, path);
    done += static_cast<size_t>(put);
  }
  return {};
}

}  // namespace

FileCopy::FileCopy(Files& files, const CopyOptions& options, Progress& progress)
    : files_(files), options_(options), progress_(progress), memory_(nullptr, free_memory) {}

FileCopy::~FileCopy() {
  lane_.reset();  // ends what is in flight
  if (iomem_ != nullptr) files_.forget_memory(iomem_);
}

Status FileCopy::prepare() {
  if (iomem_ != nullptr) return {};
  const size_t length = options_.buffers * options_.buffer_bytes;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, length)));
  if (memory_ == nullptr) return {StatusCode::busy, "no memory for buffers", ENOMEM};
  GD2FS_ASSIGN(iomem_, files_.register_memory({memory_.get(), length}));
  lane_ = std::make_unique<Files::Lane>(files_);
  slots_.resize(options_.buffers);
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].memory = {memory_.get() + i * options_.buffer_bytes, options_.buffer_bytes};
  }
  return {};
}

Status FileCopy::run(CopyJob& job) {
  GD2FS_TRY(prepare());
  switch (job.kind) {
    case CopyJob::Kind::put:
      return put(job);
    case CopyJob::Kind::get:
      return get(job);
    case CopyJob::Kind::check:
      GD2FS_TRY(read_all(job, [](ConstBytes, uint64_t) { return Status(); }));
      return check_hash(job);
  }
  return {};
}

Status FileCopy::transfer(uint16_t opcode, size_t slot, const std::string& path, uint64_t offset,
                          uint64_t length) {
  const xfer_gd2fs_sge sge = {slots_[slot].memory.data(), length, iomem_};
  xfer_gd2fs_op op = {};
  op.opcode = opcode;
  op.off = offset;
  op.sges = &sge;
  op.nsge = 1;
  GD2FS_TRY(lane_->submit(op, slot, path));
  slots_[slot].busy = true;
  return {};
}

Status FileCopy::wait_one() {
  GD2FS_ASSIGN(Files::Lane::Ended ended, lane_->wait());
  CHECK(ended.number < slots_.size());
  Slot& slot = slots_[ended.number];
  slot.busy = false;
  slot.status = std::move(ended.status);
  slot.value = ended.value;
  return {};
}

Status FileCopy::drain() {
  Status first;
  for (Slot& slot : slots_) {
    while (slot.busy) GD2FS_TRY(wait_one());
    if (first.ok()) first = slot.status;
    slot.status = Status();
  }
  return first;
}

Status FileCopy::put(CopyJob& job) {
  GD2FS_ASSIGN(const Descriptor file, Descriptor::open(job.local, O_RDONLY));
  const std::string part = job.remote + std::string(kPartSuffix);
  // What an earlier put that was cut off left behind.
  if (Status gone = files_.unlink(part); !gone.ok() && !gone.is(StatusCode::not_found)) return gone;
  Status status = put_bytes(job, file.fd(), part);
  if (const Status drained = drain(); status.ok() && !drained.ok()) {
    status = drained.with(job.remote);
  }
  if (status.ok()) status = files_.rename(part, job.remote);
  if (!status.ok()) {
    // Nobody will use it; if it cannot be removed, the next put does it.
    [[maybe_unused]] const Status removed = files_.unlink(part);
  }
  return status;
}

Status FileCopy::put_bytes(CopyJob& job, int fd, const std::string& remote) {
  Sha256 hash;
  uint64_t offset = 0;
  for (size_t turn = 0;; ++turn) {
    if (interrupted()) return {StatusCode::canceled, "interrupted"};
    const size_t index = turn % slots_.size();
    Slot& slot = slots_[index];
    while (slot.busy) GD2FS_TRY(wait_one());
    if (!slot.status.ok()) return slot.status.with(job.remote);
    GD2FS_ASSIGN(const size_t got, read_fully(fd, slot.memory, offset, job.local));
    if (got == 0) break;
    hash.update(slot.memory.first(got));
    GD2FS_TRY(transfer(XFER_GD2FS_OP_WRITE, index, remote, offset, got));
    offset += got;
    progress_.add_bytes(got);
    if (got < slot.memory.size()) break;
  }
  if (offset == 0) GD2FS_TRY(files_.create(remote, 0));
  job.sha256 = hash.hex();
  job.moved_bytes = offset;
  return {};
}

Status FileCopy::get(CopyJob& job) {
  const std::string part = job.local + std::string(kPartSuffix);
  GD2FS_ASSIGN(const Descriptor file, Descriptor::open(part, O_WRONLY | O_CREAT | O_TRUNC));
  Status status = read_all(job, [&](ConstBytes bytes, uint64_t offset) {
    return write_fully(file.fd(), bytes, offset, job.local);
  });
  if (status.ok()) status = check_hash(job);
  if (status.ok() && ::rename(part.c_str(), job.local.c_str()) != 0) {
    status = Status::from_errno(errno, job.local);
  }
  if (!status.ok()) ::unlink(part.c_str());
  return status;
}

Status FileCopy::start_read(const CopyJob& job, size_t slot, uint64_t offset, uint64_t length) {
  return transfer(XFER_GD2FS_OP_READ, slot, job.remote, offset, length);
}

Status FileCopy::read_all(CopyJob& job, const Sink& sink) {
  GD2FS_ASSIGN(const FileStat info, files_.stat(job.remote));
  if (info.directory) return {StatusCode::invalid, job.remote + " is a directory", EISDIR};
  const uint64_t step = options_.buffer_bytes;
  const auto length_at = [&](uint64_t at) { return std::min(step, info.size_bytes - at); };
  Sha256 hash;
  uint64_t asked = 0;  // offsets: asked for, and handed to the sink
  uint64_t handed = 0;
  Status status;
  while (status.ok() && handed < info.size_bytes) {
    if (interrupted()) status = Status(StatusCode::canceled, "interrupted");
    while (status.ok() && asked < info.size_bytes && asked - handed < step * slots_.size()) {
      status = start_read(job, asked / step % slots_.size(), asked, length_at(asked));
      asked += length_at(asked);
    }
    Slot& slot = slots_[handed / step % slots_.size()];
    while (status.ok() && slot.busy) status = wait_one();
    if (status.ok()) status = slot.status.with(job.remote);
    if (!status.ok()) break;
    const uint64_t length = length_at(handed);
    if (slot.value != length) {
      status = Status(StatusCode::stale, job.remote + " was cut while it was read");
      break;
    }
    hash.update(slot.memory.first(length));
    status = sink(slot.memory.first(length), handed);
    handed += length;
    progress_.add_bytes(length);
  }
  const Status drained = drain();
  if (status.ok() && !drained.ok()) status = drained.with(job.remote);
  job.sha256 = hash.hex();
  job.moved_bytes = handed;
  return status;
}

Status FileCopy::check_hash(const CopyJob& job) const {
  if (job.wanted_sha256.empty() || job.wanted_sha256 == job.sha256) return {};
  return {StatusCode::corrupt, job.remote + ": its SHA-256 is " + job.sha256 +
                                   ", the manifest has " + job.wanted_sha256};
}

}  // namespace gd2fs::cli
