// The rules that every Disk engine keeps in the same words, the simulated one included. Pure
// functions, any thread.
#pragma once

#include <string_view>

#include "disk/disk.h"

namespace gd2fs {

inline constexpr size_t kDiskNameMaxBytes = 1024;            // a whole relative name
inline constexpr size_t kDiskComponentMaxBytes = 255;        // one folder or file name
inline constexpr uint64_t kDiskTransferMaxBytes = 1 * kGiB;  // one DiskOp
inline constexpr uint64_t kDiskFileMaxBytes = uint64_t{1} << 52;

// invalid for "", "/a", "a//b", "a/", "a/../b", ".", and names over the limits.
Status check_disk_name(std::string_view name);
// The same, but "" stands for the disk's top folder.
Status check_disk_dir(std::string_view name);
// The folder of a checked name: "a/b" -> "a", "b" -> "".
std::string_view disk_name_dir(std::string_view name);
// The alignment and bounds of a transfer.
Status check_disk_op(const DiskOp& op);
// Whether its file, opened so, takes it: only direct files do, and writes need a writable one. A
// sync is for every file.
Status check_disk_access(const DiskOp& op, OpenKind kind, bool writable);
// Offset and length of a blocking call: aligned too if the file is direct.
Status check_disk_range(uint64_t offset_bytes, uint64_t length_bytes, OpenKind kind,
                        const void* address);

}  // namespace gd2fs
