// The PTX text of the gather/scatter kernel, for the driver's compiler. copy_kernel.c says what it
// does.
#pragma once

namespace gd2fs::cuda {

extern const char kCopyKernelPtx[];
inline constexpr char kCopyKernelName[] = "gd2fs_copy_tiles";

}  // namespace gd2fs::cuda
