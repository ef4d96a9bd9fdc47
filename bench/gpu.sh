#!/usr/bin/env bash
# Checks and measures GD2FS on a machine with NVIDIA GPUs. Prints JSON rows (one per line, to $OUT/gpu.jsonl) and a table
# in Markdown ($OUT/gpu.md: gpu_table.py makes it, the section of docs/performance.md) with the machine's description; exit
# status 1 if a check failed. A part's rows are kept when another is run later: delete $OUT/gpu.jsonl to begin anew.
#
#   bench/gpu.sh [--build FOLDER] [PART...]   parts, default all: tests facts copies vram trace e2e lanes leaks stress two python
#   bench/gpu.sh --pack FOLDER                on the machine that builds: gathers what such a machine needs
#
#   tests    gpu_test on the real GPU; compute-sanitizer memcheck          1 min
#   facts    what the driver does: kinds of memory, times of calls, pinning
#   copies   copy engine beside kernel, whole transfers                    1 min
#   vram     what a client takes of the GPU's memory, beside plain use     1 min
#   trace    where the time of one hit goes (timelines: in the log)        1 min
#   e2e      reads and writes through a server, small, large, scattered    3 min
#   lanes    TCP hits by number of lanes, beside raw sockets               5 min
#   leaks    1,000 cycles of connect, read, close over each path           1 min
#   stress   8 processes, 2 clusters, SIGSTOP and SIGKILL during copies    2 min
#   two      all GPUs of the host at once, a process each (needs two)      1 min
#   python   a 16 GiB checkpoint into torch tensors, warm and fresh        4 min
#
# A machine with GPUs often has neither compiler settings nor libraries for a build of its own: --pack copies the programs,
# the libraries they load, headers and the Python package into FOLDER (about 25 MB), and --build FOLDER runs from there.
# Without --build the programs of build/ are used.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

pack() {
  local to=$1 build=$root/build
  mkdir -p "$to"/{bin,lib,bench,python/pygd2fs,extension,include}
  cp "$build"/bin/{gd2fs,gpu_test,gpu_bench} "$to/bin/"
  strip "$to"/bin/*
  cp -L "$build/lib/libgd2fs.so.1" "$to/lib/"
  cp -L "$build/lib/fake_cuda/libcuda.so.1" "$to/lib/fake_libcuda.so.1"
  cp -L "$build/lib/libcuda_trace.so" "$to/lib/"
  # What the programs load, but for what every machine has in a version that fits.
  ldd "$to/bin/gd2fs" | awk '$2 == "=>" {print $3}' | grep -Ev '/(libc|libm|libgcc_s|libstdc\+\+|ld-linux.*)\.so' |
    xargs -I{} cp -L {} "$to/lib/"
  cp "$here"/gpu.sh "$here"/gpu_*.py "$to/bench/"
  cp "$root"/python/pygd2fs/*.py "$to/python/pygd2fs/"
  cp "$root"/python/extension/* "$to/extension/"
  cp -r "$root/include/xfer" "$to/include/"
  cp -r "$("$root/.venv/bin/python" -m pybind11 --includes | tr ' ' '\n' | sed -n 's/^-I//p' | grep pybind11 | head -1)/pybind11" "$to/include/"
  du -sh "$to"
}

build=$root/build
parts=()
while (($#)); do
  case $1 in
    --pack) pack "$2"; exit ;;
    --build) build=$2; shift 2 ;;
    *) parts+=("$1"); shift ;;
  esac
done
((${#parts[@]})) || parts=(tests facts copies vram trace e2e lanes leaks stress two python)
out=${OUT:-/tmp}
rows=$out/gpu.jsonl log=$out/gpu.log
touch "$rows"
: >"$log"
scripts=$build/bench
[ -f "$scripts/gpu_e2e.py" ] || scripts=$here
export GD2FS_TEST_REAL_GPU=${GD2FS_TEST_REAL_GPU:-1}
failed=()

machine() {
  nvidia-smi --query-gpu=name,driver_version,pcie.link.gen.current,pcie.link.width.current,memory.total --format=csv,noheader || true
  uname -sr
  grep -m1 'model name' /proc/cpuinfo | cut -d: -f2
  echo "$(nproc) CPUs, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo) memory, locked memory limit $(ulimit -l)"
}

# part NAME SECONDS COMMAND...: rows of its output go to the rows, the rest to the log; says PASS or FAIL.
part() {
  local name=$1 seconds=$2 began=$SECONDS status=PASS
  shift 2
  echo "== $name" >>"$log"
  timeout "$seconds" "$@" >"$out/part.txt" 2>&1 || status="FAIL (exit $?)"
  if grep -q '^FAIL' "$out/part.txt"; then status=FAIL; fi
  grep '^{' "$out/part.txt" >>"$rows" || true
  grep -v '^{' "$out/part.txt" >>"$log" || true
  echo "$status $name ($((SECONDS - began)) s)" | tee -a "$log"
  [ "$status" = PASS ] || { failed+=("$name"); grep -v '^{' "$out/part.txt" | tail -n 40; }
  rm -f "$out/part.txt"
}

machine | tee "$out/machine.txt"
for one in "${parts[@]}"; do
  case $one in
    tests)
      part tests 120 "$build/bin/gpu_test" --gtest_brief=1 --gtest_filter=-*reset*
      part reset 60 "$build/bin/gpu_test" --gtest_brief=1 --gtest_filter=*reset*
      if command -v compute-sanitizer >/dev/null; then
        part memcheck 120 compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 9 \
          "$build/bin/gpu_test" --gtest_brief=1 --gtest_filter=*lists_of_any_shape*:*read_only*
      fi ;;
    facts) part facts 60 "$build/bin/gpu_bench" facts calls latency registration ;;
    copies) part copies 120 "$build/bin/gpu_bench" border bulk ;;
    vram) part vram 200 python3 "$scripts/gpu_vram.py" "$build" ;;
    trace) part trace 120 python3 "$scripts/gpu_trace.py" "$build" ;;
    e2e) part e2e 500 python3 "$scripts/gpu_e2e.py" "$build" ;;
    lanes) part lanes 580 python3 "$scripts/gpu_lanes.py" "$build" ;;
    leaks) part leaks 400 python3 "$scripts/gpu_leaks.py" "$build" ;;
    stress) part stress 300 python3 "$scripts/gpu_stress.py" "$build" ;;
    two) part two 200 python3 "$scripts/gpu_two.py" "$build" ;;
    python) part python 400 python3 "$scripts/gpu_python.py" "$build" ;;
    *) echo "no part '$one'" >&2; exit 2 ;;
  esac
done

python3 "$scripts/gpu_table.py" "$rows" "$out/machine.txt" all >"$out/gpu.md"
echo "rows in $rows, table in $out/gpu.md, log in $log"
((${#failed[@]} == 0)) || { echo "FAILED: ${failed[*]}"; exit 1; }
