#include "fabric/shm_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/huge_map.h"

namespace gd2fs {

SharedMapping::~SharedMapping() {
  if (data_ != nullptr) munmap(data_, length_bytes_);
}

Result<SharedMapping> SharedMapping::map(int fd, size_t length_bytes, Access access) {
  const int protection = access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  void* const data = length_bytes >= kHugePageBytes
                         ? map_at_huge_page(fd, length_bytes, protection)
                         : mmap(nullptr, length_bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return fail(Status::from_errno(errno, "mmap shared memory"));
  SharedMapping mapping;
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.length_bytes_ = length_bytes;
  if (madvise(data, length_bytes, MADV_DONTFORK) != 0) {
    return fail(Status::from_errno(errno, "MADV_DONTFORK"));
  }
  return mapping;
}

Result<Descriptor> make_shared_memory(const char* name, size_t length_bytes) {
  Descriptor made(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.open()) return fail(Status::from_errno(errno, "memfd_create"));
  if (ftruncate(made.fd(), static_cast<off_t>(length_bytes)) != 0) {
    return fail(Status::from_errno(errno, "shared memory: ftruncate"));
  }
  if (fcntl(made.fd(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail(Status::from_errno(errno, "shared memory: seals"));
  }
  return made;
}

Status check_shared_memory(int fd, size_t length_bytes) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return Status::from_errno(errno, "shared memory");
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return {StatusCode::invalid, "shared memory that could be cut off"};
  }
  if (static_cast<size_t>(info.st_size) != length_bytes) {
    return {StatusCode::invalid, "shared memory of another size"};
  }
  return {};
}

}  // namespace gd2fs
