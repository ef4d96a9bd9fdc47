#!/usr/bin/env bash
# Sets up, builds and runs all tests; the second of the README's two commands. As root on Debian 12.
#   ./test.sh              everything (CI runs this)
#   ./test.sh quick        release build, unit, ABI and Python tests only
#   ./test.sh STEP...      the named steps; ./test.sh list prints them
# Each step's output goes to build/test-logs/STEP.log. GD2FS_SIM_SEEDS, GD2FS_KILL_ROUNDS and GD2FS_FUZZ_SECONDS widen
# the randomised parts.
set -euo pipefail
cd "$(dirname "$0")"

export GD2FS_SIM_SEEDS="${GD2FS_SIM_SEEDS:-500}"
export GD2FS_KILL_ROUNDS="${GD2FS_KILL_ROUNDS:-20}"
export GD2FS_FUZZ_SECONDS="${GD2FS_FUZZ_SECONDS:-180}"
. tools/ccache.sh
# A sanitizer's report names lines.
export ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 TSAN_OPTIONS=external_symbolizer_path=/usr/bin/llvm-symbolizer-19
export GTEST_COLOR=no PYTHONDONTWRITEBYTECODE=1
jobs=$(nproc)

all_steps=(setup format layers build unit sim abi python processes rdma model clang fuzz tidy tsan)
quick_steps=(setup format layers build unit abi python)

configure() {  # configure FOLDER CMAKE_ARGS...
  local folder=$1
  shift
  local generator=()
  [ -e "$folder/CMakeCache.txt" ] || generator=(-G Ninja)
  /usr/bin/cmake -S . -B "$folder" "${generator[@]}" -DPython_EXECUTABLE="$PWD/.venv/bin/python" "$@"
}
run_ctest() { /usr/bin/ctest --test-dir "$1" -j "$jobs" --output-on-failure --no-tests=error "${@:2}"; }
sources() { git ls-files --cached --others --exclude-standard -- '*.cc' '*.h' '*.c' | grep -v '^contrib/fio/'; }

step_setup() { tools/setup.sh build test; }
step_format() { sources | xargs clang-format-19 --dry-run -Werror; }
step_layers() { python3 tools/check_layers.py; }
step_build() { tools/build.sh; }
step_unit() { run_ctest build -L unit; }
step_sim() { run_ctest build -L sim; }
step_abi() { over_both run_ctest build -L abi; }
# On one host programs use shared memory by themselves; the second run is over TCP.
over_both() { "$@" && GD2FS_SHM=off "$@"; }
step_python() { PYTHONPATH=build/python over_both .venv/bin/python -m pytest -q -p no:cacheprovider tests/python; }
step_processes() {
  contrib/fio/build.sh
  export GD2FS_BIN="$PWD/build/bin/gd2fs"
  over_both .venv/bin/python -m pytest -q -p no:cacheprovider --durations=5 tests/processes
}
step_model() { tools/check_protocol_model.sh; }
# One build by the second compiler serves the compile check, the sanitizers, tidy and the fuzzers.
configure_clang() {
  configure build-clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" -DCMAKE_C_FLAGS_DEBUG="-O1 -g1" \
    -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 -DGD2FS_SANITIZE=address,undefined -DGD2FS_FUZZ=ON \
    -DGD2FS_PYTHON=OFF
}
step_clang() {
  configure_clang
  /usr/bin/cmake --build build-clang
  GD2FS_SIM_SEEDS=$((GD2FS_SIM_SEEDS / 10)) run_ctest build-clang -L 'unit|sim|abi'
}
step_tidy() {
  configure_clang
  /usr/bin/cmake --build build-clang --target gd2fs_messages
  tools/tidy.py build-clang
}
step_tsan() {
  configure build-tsan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" -DCMAKE_C_FLAGS_DEBUG="-O1 -g1" \
    -DGD2FS_SANITIZE=thread -DGD2FS_PYTHON=OFF
  /usr/bin/cmake --build build-tsan --target loop_test fabric_test client_test abi_memory_tests
  # The tool itself ends a child of a process with threads that starts a thread.
  GD2FS_SIM_SEEDS=20 run_ctest build-tsan -R '^(loop|fabric|client|abi\.memory)\.' -E '^abi\.memory\.forks$'
}
step_fuzz() {
  configure_clang
  tools/fuzz.sh build-clang "$GD2FS_FUZZ_SECONDS"
}
# RDMA on soft-RoCE in a guest of QEMU's; what is missing for it is installed, or it fails. Three minutes or more.
step_rdma() {
  tools/setup.sh rdma
  contrib/fio/build.sh
  tests/rdma/run.sh
}

case "${1:-all}" in
  all) steps=("${all_steps[@]}") ;;
  quick) steps=("${quick_steps[@]}") ;;
  list) printf '%s\n' "${all_steps[@]}"; exit 0 ;;
  *) steps=("$@") ;;
esac

mkdir -p build/test-logs
tests_passed=0 tests_failed=0 failed_steps=()
count() {  # adds a step's own tests, as its runner's closing lines tell them
  local log=$1 line
  while read -r line; do
    if [[ $line =~ ^[0-9]+%\ tests\ passed(,\ ([0-9]+)\ tests\ failed)?\ out\ of\ ([0-9]+) ]]; then
      tests_failed=$((tests_failed + ${BASH_REMATCH[2]:-0}))
      tests_passed=$((tests_passed + BASH_REMATCH[3] - ${BASH_REMATCH[2]:-0}))
    elif [[ $line =~ (^|[^0-9])([0-9]+)\ passed.*\ in\ [0-9.]+s ]]; then
      tests_passed=$((tests_passed + BASH_REMATCH[2]))
      if [[ $line =~ ([0-9]+)\ failed ]]; then tests_failed=$((tests_failed + BASH_REMATCH[1])); fi
    fi
  done <"$log"
}

for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || { echo "test.sh: no step '$step' (./test.sh list)" >&2; exit 2; }
  log="build/test-logs/$step.log"
  began=$SECONDS
  # A step that fails does not keep the others from running: one run shows all that is wrong.
  # Not as the condition itself: there bash would ignore that a command of the step fails.
  (set -euo pipefail; "step_$step") >"$log" 2>&1 </dev/null &
  if wait $!; then
    result=ok
  else
    result=FAILED
    failed_steps+=("$step")
  fi
  count "$log"
  printf '%-10s %-6s %4d s\n' "$step" "$result" $((SECONDS - began))
  if [ "$result" = FAILED ]; then
    tail -n 60 "$log" | sed 's/^/    /'
    case "$step" in setup | build) break ;; esac
  fi
done

echo
if ((${#failed_steps[@]})); then
  echo "failed steps: ${failed_steps[*]} (logs in build/test-logs)"
  ((tests_failed > 0)) || tests_failed=${#failed_steps[@]}
else
  echo "all steps passed: ${steps[*]}"
fi
echo "$tests_passed passed, $tests_failed failed"
((${#failed_steps[@]} == 0))
