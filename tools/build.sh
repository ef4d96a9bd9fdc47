#!/usr/bin/env bash
# Builds GD2FS in release mode into build/: build/bin/gd2fs, build/lib/libgd2fs.so, build/python/pygd2fs.
# Everything, or the targets named. CMake's settings stay as they were; a new build folder gets tests and all.
#   tools/build.sh [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/ccache.sh
generator=()
[ -e build/CMakeCache.txt ] || generator=(-G Ninja)
/usr/bin/cmake -S . -B build "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$PWD/.venv/bin/python" >/dev/null
/usr/bin/cmake --build build ${1:+--target "$@"}
