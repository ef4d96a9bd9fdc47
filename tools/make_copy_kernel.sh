#!/usr/bin/env bash
# Makes src/gpu/copy_kernel_ptx.cc out of src/gpu/copy_kernel.c. Needs clang-19 with its NVPTX target and nothing of
# CUDA; run it after a change of the kernel and commit both. The PTX version is set down to the oldest that sm_70 has,
# so that any driver since CUDA 10 takes it; what the kernel uses is older still.
set -euo pipefail
cd "$(dirname "$0")/.."
ptx=$(mktemp)
trap 'rm -f "$ptx"' EXIT
clang-19 --target=nvptx64-nvidia-cuda -march=sm_70 -O3 -S src/gpu/copy_kernel.c -o "$ptx"
{
  cat <<'TOP'
// Made by tools/make_copy_kernel.sh from copy_kernel.c: change that.
#include "gpu/copy_kernel_ptx.h"

// clang-format off
namespace gd2fs::cuda {

const char kCopyKernelPtx[] = R"ptx(
TOP
  sed -e 's/^\.version .*/.version 6.3/' -e 's,[ \t]*//.*$,,' -e '/^[ \t]*$/d' "$ptx"
  cat <<'END'
)ptx";

}  // namespace gd2fs::cuda
END
} >src/gpu/copy_kernel_ptx.cc
