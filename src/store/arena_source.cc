#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <mutex>
#include <thread>
#include <unistd.h>

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/huge_map.h"
#include "base/log.h"
#include "base/quiet_thread.h"
#include "store/store.h"

namespace gd2fs {
namespace {

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

// A client may map it read-only and no more. The seals that stop it from resizing the file matter
// as much as the one that stops writing: after its ftruncate our next touch is a SIGBUS.
constexpr int kSeals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

struct SealedMemory {
  std::byte* data = nullptr;
  int fd = -1;
};

// Mapped for us, then sealed.
Result<SealedMemory> make_sealed(const char* name, size_t length_bytes, unsigned flags) {
  SealedMemory made;
  made.fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
  if (made.fd < 0) return fail(Status::from_errno(errno, "memfd_create"));
  const auto close_and_fail = [&](const char* what) {
    const int error = errno;
    close(made.fd);
    return fail(Status::from_errno(error, what));
  };
  if (ftruncate(made.fd, static_cast<off_t>(length_bytes)) != 0) {
    return close_and_fail("arena: ftruncate");
  }
  // Reserved huge pages are aligned by the kernel.
  void* const data =
      (flags & MFD_HUGETLB) != 0
          ? mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0)
          : map_at_huge_page(made.fd, length_bytes, PROT_READ | PROT_WRITE);
  if (data == MAP_FAILED) return close_and_fail("arena: mmap");
  made.data = static_cast<std::byte*>(data);
  if (fcntl(made.fd, F_ADD_SEALS, kSeals) != 0) {
    const int error = errno;
    munmap(data, length_bytes);
    close(made.fd);
    return fail(Status::from_errno(error, "arena: seals"));
  }
  madvise(data, length_bytes, MADV_DONTFORK);
  return made;
}

size_t table_bytes(size_t arena_bytes) {
  return align_up(arena_bytes / kGenerationUnitBytes * sizeof(Generation), 4096);
}

void unmap(ArenaSource::Arena& arena) {
  if (arena.data != nullptr) munmap(arena.data, arena.length_bytes);
  if (arena.fd >= 0) close(arena.fd);
  if (arena.generations != nullptr) munmap(arena.generations, table_bytes(arena.length_bytes));
  if (arena.generations_fd >= 0) close(arena.generations_fd);
  arena = ArenaSource::Arena();
}

Result<ArenaSource::Arena> make_memfd(size_t length_bytes, unsigned flags) {
  ArenaSource::Arena arena;
  arena.length_bytes = length_bytes;
  GD2FS_ASSIGN(const SealedMemory memory, make_sealed("gd2fs-arena", length_bytes, flags));
  arena.data = memory.data;
  arena.fd = memory.fd;
  const auto table = make_sealed("gd2fs-generations", table_bytes(length_bytes), 0);
  if (!table.has_value()) {
    unmap(arena);
    return fail(table.error());
  }
  arena.generations = reinterpret_cast<Generation*>(table->data);
  arena.generations_fd = table->fd;
  return arena;
}

// A thread makes arenas ahead and has the system give them their pages, a step at a time. Who needs
// one before it is complete gets it as it is: the thread goes on beside its use.
class MemfdArenaSource final : public ArenaSource {
 public:
  ~MemfdArenaSource() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (!populating_handed_out_) unmap(populating_);
    for (Arena& arena : ready_) unmap(arena);
  }

  void prepare(size_t length_bytes, size_t count) override {
    {
      std::lock_guard lock(mutex_);
      prepared_bytes_ = length_bytes;
      count_max_ = count;
    }
    if (thread_.joinable() || count == 0) return;
    thread_ = start_quiet_thread("gd2fs-slab", [this] { run(); });
  }

  Result<Arena> make(size_t length_bytes) override {
    std::lock_guard lock(mutex_);
    if (length_bytes == prepared_bytes_ && !ready_.empty()) {
      Arena arena = ready_.front();
      ready_.pop_front();
      return arena;
    }
    if (length_bytes == prepared_bytes_ && populating_.data != nullptr && !populating_handed_out_) {
      populating_handed_out_ = true;
      return populating_;
    }
    Result<Arena> arena = make_locked(length_bytes);
    if (arena && length_bytes == prepared_bytes_ && thread_.joinable()) {
      bare_.push_back(*arena);
      changed_.notify_all();
    }
    return arena;
  }

  void destroy(Arena& arena) override {
    std::unique_lock lock(mutex_);
    if (arena.data == populating_.data) {
      populated_bytes_ = populating_.length_bytes;  // no further step
      changed_.wait(lock, [&] { return arena.data != populating_.data; });
    }
    if (arena.data != nullptr) --count_;
    std::erase_if(bare_, [&](const Arena& bare) { return bare.data == arena.data; });
    unmap(arena);
    changed_.notify_all();
  }

 private:
  static constexpr size_t kStepBytes = 32 * kMiB;
  static constexpr int kNice = 10;

  Result<Arena> make_locked(size_t length_bytes) {
    if (is_aligned(length_bytes, kHugePageBytes) && !no_huge_pages_) {
      Result<Arena> huge = make_memfd(length_bytes, MFD_HUGETLB | MFD_HUGE_2MB);
      if (huge) {
        say("reserved huge pages");
        has_reserved_ = true;
        ++count_;
        return huge;
      }
      // Once there were some: those of an arena that is gone come back when no client maps it.
      no_huge_pages_ = !has_reserved_;
    }
    Result<Arena> arena = make_memfd(length_bytes, 0);
    if (!arena) return arena;
    ++count_;
    madvise(arena->data, length_bytes, MADV_HUGEPAGE);
    return arena;
  }

  void run() {
    // Requests go first: what this thread has not reached they take page by page. (On Linux the
    // value is the thread's own.)
    setpriority(PRIO_PROCESS, 0, kNice);
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (!bare_.empty()) {
        populating_ = bare_.front();
        bare_.pop_front();
        populating_handed_out_ = true;
      } else if (count_ < count_max_) {
        const Result<Arena> arena = make_locked(prepared_bytes_);
        if (!arena) {
          // The slab will hear of it when it asks.
          GD2FS_LOG_WARN("slab: no memory is prepared: {}", arena.error().to_string());
          return;
        }
        populating_ = *arena;
        populating_handed_out_ = false;
      } else {
        changed_.wait(lock);
        continue;
      }
      const bool populated = populate(lock);
      if (stopping_) return;
      if (!populating_handed_out_) ready_.push_back(populating_);
      populating_ = Arena();
      changed_.notify_all();
      if (!populated) return;
    }
  }

  // Gives [begin, begin + length) its memory: in huge pages if the system can, else in 4 KiB ones.
  // Bytes that are in use already stay as they are. 0 or errno.
  int take_memory(std::byte* begin, size_t length_bytes) {
    for (size_t at = 0; at < length_bytes; at += kHugePageBytes) {
      const size_t part = std::min(kHugePageBytes, length_bytes - at);
      if (part == kHugePageBytes && !no_huge_page_in_place_) {
        const int error = take_huge_page(begin + at);
        if (error == 0) continue;
        // Else none is at hand, or a transfer holds the memory: that part stays in small pages.
        no_huge_page_in_place_ = error == EINVAL;
      }
      if (madvise(begin + at, part, MADV_POPULATE_WRITE) != 0) return errno;
    }
    return 0;
  }

  // False where the system cannot do it.
  bool populate(std::unique_lock<std::mutex>& lock) {
    populated_bytes_ = 0;
    while (!stopping_ && populated_bytes_ < populating_.length_bytes) {
      std::byte* const begin = populating_.data + populated_bytes_;
      const size_t step = std::min(kStepBytes, populating_.length_bytes - populated_bytes_);
      lock.unlock();
      const int error = take_memory(begin, step);
      lock.lock();
      if (error != 0 && error != EINTR && error != EAGAIN) return false;
      populated_bytes_ += step;
    }
    if (!stopping_ && no_huge_pages_) {
      say(no_huge_page_in_place_ ? "4 KiB pages" : "transparent huge pages where there are any");
    }
    return true;
  }

  void say(const char* kind) {
    if (said_) return;
    said_ = true;
    GD2FS_LOG_INFO("slab: {}", kind);
  }

  std::thread thread_;
  std::mutex mutex_;  // of everything below
  size_t prepared_bytes_ = 0;
  size_t count_max_ = 0;
  std::condition_variable changed_;
  bool stopping_ = false;
  size_t count_ = 0;  // made and not destroyed
  std::deque<Arena> ready_;
  std::deque<Arena> bare_;  // handed out before this thread could begin with them
  Arena populating_;
  bool populating_handed_out_ = false;
  size_t populated_bytes_ = 0;
  bool no_huge_pages_ = false;
  bool has_reserved_ = false;
  bool no_huge_page_in_place_ = false;  // the populating thread's
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
