#!/usr/bin/env bash
# Builds every *_fuzz.cc with clang's libFuzzer and runs each for its share of SECONDS, starting from tests/corpus/NAME.
#   tools/fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
generator=()
[ -e build-fuzz/CMakeCache.txt ] || generator=(-G Ninja)
/usr/bin/cmake -S . -B build-fuzz "${generator[@]}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang-19 \
  -DCMAKE_CXX_COMPILER=clang++-19 -DGD2FS_FUZZ=ON -DGD2FS_TESTS=OFF -DGD2FS_PYTHON=OFF -DGD2FS_SANITIZE=address,undefined
mapfile -t fuzzers < <(git ls-files --cached --others --exclude-standard -- '*_fuzz.cc' | xargs -n1 basename | sed 's/\.cc$//' | sort)
((${#fuzzers[@]})) || { echo "fuzz: there is no fuzzer" >&2; exit 1; }
/usr/bin/cmake --build build-fuzz --target "${fuzzers[@]}"
share=$((seconds * $(nproc) / ${#fuzzers[@]}))
((share > 5)) || share=5
export share
run_one() {
  local name=$1 corpus="build-fuzz/corpus/$1"
  mkdir -p "$corpus" build-fuzz/findings
  local seeds=()
  [ -d "tests/corpus/$name" ] && seeds=("tests/corpus/$name")
  "build-fuzz/bin/$name" -max_total_time="$share" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="build-fuzz/findings/$name-" "$corpus" "${seeds[@]}" >"build-fuzz/$name.log" 2>&1 ||
    { echo "fuzz: $name found something:"; tail -n 30 "build-fuzz/$name.log"; return 1; }
  echo "fuzz: $name: $(grep -c . <(ls "$corpus")) inputs, $(sed -n 's/stat::number_of_executed_units: *//p' "build-fuzz/$name.log") runs, no finding"
}
export -f run_one
printf '%s\n' "${fuzzers[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_one {}'
