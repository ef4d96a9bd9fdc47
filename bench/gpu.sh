#!/usr/bin/env bash
# Checks and measures GD2FS on a machine with NVIDIA GPUs. Prints JSON rows (one per line, to $OUT/gpu.jsonl) and a table
# in Markdown ($OUT/gpu.md) with the machine's description; exit status 1 if a check failed.
#
#   bench/gpu.sh [--build FOLDER] [--real PART...]   parts: tests facts copies e2e python (default: all)
#   bench/gpu.sh --pack FOLDER                       on the machine that builds: gathers what such a machine needs
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
  # What the programs load, but for what every machine has in a version that fits.
  ldd "$to/bin/gd2fs" | awk '$2 == "=>" {print $3}' | grep -Ev '/(libc|libm|libgcc_s|libstdc\+\+|ld-linux.*)\.so' |
    xargs -I{} cp -L {} "$to/lib/"
  cp "$here"/gpu.sh "$here"/gpu_e2e.py "$here"/gpu_python.py "$to/bench/"
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
((${#parts[@]})) || parts=(tests facts copies e2e python)
out=${OUT:-/tmp}
rows=$out/gpu.jsonl log=$out/gpu.log
: >"$rows"
: >"$log"
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
    e2e) part e2e 300 python3 "$build/bench/gpu_e2e.py" "$build" ;;
    python) part python 240 python3 "$build/bench/gpu_python.py" "$build" ;;
    *) echo "no part '$one'" >&2; exit 2 ;;
  esac
done

python3 - "$rows" "$out/machine.txt" >"$out/gpu.md" <<'TABLE'
import json
import sys

print("# GPU figures\n\n" + "".join(f"- {line.strip()}\n" for line in open(sys.argv[2]) if line.strip()))
kinds = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    kinds.setdefault(row.pop("row"), []).append(row)
for kind, rows in kinds.items():
    keys = list(dict.fromkeys(key for row in rows for key in row))
    print(f"## {kind}\n\n| " + " | ".join(keys) + " |\n|" + " --- |" * len(keys))
    for row in rows:
        print("| " + " | ".join(f"{row[k]:.4g}" if isinstance(row.get(k), float) else str(row.get(k, "")) for k in keys) + " |")
    print()
TABLE
echo "rows in $rows, table in $out/gpu.md, log in $log"
((${#failed[@]} == 0)) || { echo "FAILED: ${failed[*]}"; exit 1; }
