#!/usr/bin/env bash
# Builds every *_fuzz.cc in a build folder configured with clang and GD2FS_FUZZ=ON, and runs each for its share of
# SECONDS, from its own seeds (src/base/fuzz_seeds.h) and from what earlier runs found (BUILD_FOLDER/corpus). Inputs that
# ended badly lie in BUILD_FOLDER/findings.
#   tools/fuzz.sh BUILD_FOLDER SECONDS [FUZZER...]
# For an hour:  GD2FS_FUZZ_SECONDS=3600 ./test.sh fuzz
# A fuzzer fails when an input crashes, leaks, hangs (10 s) or takes memory (1 GiB, 256 MiB at once), and also when its
# seeds or its run reach no more code than an empty input does: then it fuzzes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
seconds=$2
fuzzers=("${@:3}")
if ((${#fuzzers[@]} == 0)); then
  mapfile -t fuzzers < <(git ls-files --cached --others --exclude-standard -- '*_fuzz.cc' | xargs -n1 basename | sed 's/\.cc$//' | sort)
fi
((${#fuzzers[@]})) || { echo "fuzz: there is no fuzzer" >&2; exit 1; }
/usr/bin/cmake --build "$build" --target "${fuzzers[@]}"

# Formats of one fixed shape are soon exhausted; the others get three times as much, and what drives whole processes, a
# run of which takes milliseconds, ten times.
weight_of() {
  case $1 in
    capability_fuzz | frame_fuzz | path_fuzz | plan_fuzz | token_fuzz) echo 1 ;;
    deployment_fuzz) echo 10 ;;
    *) echo 3 ;;
  esac
}
weights=0
for name in "${fuzzers[@]}"; do weights=$((weights + $(weight_of "$name"))); done

covered() { sed -n 's/.* cov: \([0-9]*\) .*/\1/p' | tail -n 1; }
run_one() {
  local name=$1 share=$2 program="$build/bin/$1" corpus="$build/corpus/$1" seeds="$build/seeds/$1" log="$build/$1.log"
  rm -rf "$seeds"
  mkdir -p "$corpus" "$seeds" "$build/findings"
  "$program" "--seeds=$seeds" -runs=0 >"$log" 2>&1 || { echo "fuzz: $name made no seeds:"; tail -n 30 "$log"; return 1; }
  local nothing begins ends
  nothing=$("$program" -runs=0 2>&1 | covered)
  begins=$("$program" -runs=0 "$seeds" 2>&1 | covered) || true
  "$program" -seed=1 -max_total_time="$share" -rss_limit_mb=1024 -malloc_limit_mb=256 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "$corpus" "$seeds" >"$log" 2>&1 ||
    { echo "fuzz: $name found something:"; grep -v '^#' "$log" | tail -n 40; return 1; }
  ends=$(covered <"$log")
  echo "fuzz: $name: $share s, $(sed -n 's/stat::number_of_executed_units: *//p' "$log") runs," \
    "covers $nothing without, $begins with seeds, $ends in the end, $(find "$corpus" -type f | wc -l) inputs kept"
  ((begins > nothing && ends >= begins)) || { echo "fuzz: $name reaches nothing"; return 1; }
}
export -f run_one covered
export build
for name in "${fuzzers[@]}"; do
  share=$((seconds * $(nproc) * $(weight_of "$name") / weights))
  echo "$name $((share > 3 ? share : 3))"
done | xargs -P "$(nproc)" -L1 bash -c 'set -euo pipefail; run_one "$0" "$1"'
