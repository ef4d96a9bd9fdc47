// Machine: what the checks may know: the files of the kernel below a root ("/", or a tree that a
// test made), and a few answers that only this process can get. Blocking; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gd2fs::cli::doctor {

struct Machine {
  std::string root;                     // in front of every path; empty for the real one
  bool verbs_library = false;           // libibverbs.so.1 can be loaded and has what we need
  std::string verbs_library_why;        // if not: why
  uint64_t memlock_bytes = UINT64_MAX;  // RLIMIT_MEMLOCK; UINT64_MAX is no limit
  int io_uring_errno = 0;               // of io_uring_setup; 0: it works
  struct IpoibAddress {
    std::string text;       // "192.168.1.1"
    std::string interface;  // "ib0"
    std::string port_guid;  // as the end of a GID in sysfs: "0002:c903:00ab:cdef"
  };
  std::vector<IpoibAddress> ipoib_addresses;  // of InfiniBand ports (src/verbs/ipoib.h)

  static Machine this_one();

  // The file's first 64 KiB without white space at its end; "" if it cannot be read.
  std::string read(const std::string& path) const;
  std::string read_bytes(const std::string& path) const;  // as it is
  // The names in a directory, sorted as people count (2 before 10); none if it cannot be read.
  std::vector<std::string> list(const std::string& path) const;
  bool exists(const std::string& path) const;
  bool may_open(const std::string& path) const;  // for reading and writing
  // Where the links lead, without the root; "" if nowhere.
  std::string resolve(const std::string& path) const;
};

}  // namespace gd2fs::cli::doctor
