#!/usr/bin/env bash
# Builds every *_fuzz.cc in a build folder configured with clang and GD2FS_FUZZ=ON, and runs each for its share of
# SECONDS, starting from tests/corpus/NAME. Findings lie in BUILD_FOLDER/findings.
#   tools/fuzz.sh BUILD_FOLDER SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
seconds=$2
mapfile -t fuzzers < <(git ls-files --cached --others --exclude-standard -- '*_fuzz.cc' | xargs -n1 basename | sed 's/\.cc$//' | sort)
((${#fuzzers[@]})) || { echo "fuzz: there is no fuzzer" >&2; exit 1; }
/usr/bin/cmake --build "$build" --target "${fuzzers[@]}"
share=$((seconds * $(nproc) / ${#fuzzers[@]}))
((share > 5)) || share=5
export share build
run_one() {
  local name=$1 corpus="$build/corpus/$1"
  mkdir -p "$corpus" $build/findings
  local seeds=()
  [ -d "tests/corpus/$name" ] && seeds=("tests/corpus/$name")
  "$build/bin/$name" -max_total_time="$share" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "$corpus" "${seeds[@]}" >"$build/$name.log" 2>&1 ||
    { echo "fuzz: $name found something:"; tail -n 30 "$build/$name.log"; return 1; }
  echo "fuzz: $name: $(grep -c . <(ls "$corpus")) inputs, $(sed -n 's/stat::number_of_executed_units: *//p' "$build/$name.log") runs, no finding"
}
export -f run_one
printf '%s\n' "${fuzzers[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_one {}'
