#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include <linux/memfd.h>
#include <sys/mman.h>

#include "base/log.h"
#include "store/store.h"

namespace gd2fs {
namespace {

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

constexpr size_t kHugePageBytes = 2 * kMiB;

// A client may map the memfd read-only and no more. The seals that stop it from resizing the file
// matter as much as the one that stops writing: after its ftruncate our next touch is a SIGBUS.
class MemfdArenaSource final : public ArenaSource {
 public:
  Result<Arena> make(size_t length_bytes) override {
    if (is_aligned(length_bytes, kHugePageBytes) && !no_huge_pages_) {
      Result<Arena> huge = make_with(length_bytes, MFD_HUGETLB | MFD_HUGE_2MB);
      if (huge) {
        say("reserved huge pages");
        return huge;
      }
      no_huge_pages_ = true;
    }
    Result<Arena> arena = make_with(length_bytes, 0);
    if (!arena) return arena;
    const bool transparent = madvise(arena->data, length_bytes, MADV_HUGEPAGE) == 0;
    say(transparent ? "transparent huge pages where the system gives them" : "4 KiB pages");
    return arena;
  }

  void destroy(Arena& arena) override {
    if (arena.data != nullptr) munmap(arena.data, arena.length_bytes);
    if (arena.fd >= 0) close(arena.fd);
    arena = Arena();
  }

 private:
  static Result<Arena> make_with(size_t length_bytes, unsigned flags) {
    Arena arena;
    arena.length_bytes = length_bytes;
    arena.fd = memfd_create("gd2fs-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (arena.fd < 0) return fail(Status::from_errno(errno, "memfd_create"));
    const auto close_and_fail = [&](const char* what) {
      const int error = errno;
      close(arena.fd);
      return fail(Status::from_errno(error, what));
    };
    if (ftruncate(arena.fd, static_cast<off_t>(length_bytes)) != 0) {
      return close_and_fail("arena: ftruncate");
    }
    void* const data = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
    if (data == MAP_FAILED) return close_and_fail("arena: mmap");
    arena.data = static_cast<std::byte*>(data);
    if (fcntl(arena.fd, F_ADD_SEALS,
              F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
      const int error = errno;
      munmap(data, length_bytes);
      close(arena.fd);
      return fail(Status::from_errno(error, "arena: seals"));
    }
    madvise(data, length_bytes, MADV_DONTFORK);
    return arena;
  }

  void say(const char* kind) {
    if (said_) return;
    said_ = true;
    GD2FS_LOG_INFO("slab: {}", kind);
  }

  bool no_huge_pages_ = false;
  bool said_ = false;
};

class PlainArenaSource final : public ArenaSource {
 public:
  Result<Arena> make(size_t length_bytes) override {
    Arena arena;
    arena.length_bytes = length_bytes;
    void* const data = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return fail(Status::from_errno(errno, "arena: mmap"));
    arena.data = static_cast<std::byte*>(data);
    return arena;
  }
  void destroy(Arena& arena) override {
    if (arena.data != nullptr) munmap(arena.data, arena.length_bytes);
    arena = Arena();
  }
};

}  // namespace

std::unique_ptr<ArenaSource> memfd_arena_source() {
  return std::make_unique<MemfdArenaSource>();
}
std::unique_ptr<ArenaSource> plain_arena_source() {
  return std::make_unique<PlainArenaSource>();
}

}  // namespace gd2fs
