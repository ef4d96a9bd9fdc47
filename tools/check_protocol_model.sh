#!/bin/sh
# Checks the protocol of docs/protocol.md with the exhaustive model in docs/protocol_model/: the
# model must hold, and every mutant (a rule taken out by -DM_...) must be found wrong.
# Needs spin and gcc. --deep takes the larger bounds as well (some minutes, 6 GiB).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
model=$here/docs/protocol_model/gd2fs.pml
work=$(mktemp -d "${TMPDIR:-/tmp}/gd2fs-model.XXXXXX")
trap 'rm -rf "$work"' EXIT
memory_max_mib=5500

command -v spin >/dev/null || { echo "spin is missing: apt-get install spin" >&2; exit 2; }

# build NAME PAN_FLAGS SPIN_FLAGS...: the checker $work/NAME/pan
build() {
  name=$1; pan_flags=$2; shift 2
  mkdir -p "$work/$name"
  cp "$model" "$work/$name/gd2fs.pml"
  (cd "$work/$name" && spin -a "$@" gd2fs.pml >/dev/null &&
     gcc -w ${optimize:--O2} $pan_flags -DCOLLAPSE -DMEMLIM=$memory_max_mib -o pan pan.c)
}

# holds NAME PAN_FLAGS RUN_FLAGS SPIN_FLAGS...: no error, and the whole state space was seen
holds() {
  name=$1; pan_flags=$2; run_flags=$3; shift 3
  build "$name" "$pan_flags" "$@"
  (cd "$work/$name" && ./pan $run_flags -m200000 -n) >"$work/$name/out" 2>&1 || true
  states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/$name/out")
  if ! grep -q 'errors: 0' "$work/$name/out" || grep -q 'Search not completed' "$work/$name/out"; then
    echo "FAIL $name: the model does not hold or was not searched to its end" >&2
    tail -n 30 "$work/$name/out" >&2
    cp "$work/$name/gd2fs.pml.trail" "${TMPDIR:-/tmp}/gd2fs.pml.trail" 2>/dev/null || true
    exit 1
  fi
  echo "ok   $name: $states states, no error"
}

# found NAME: the mutant is found wrong by an assertion or a deadlock, not by running out
found() {
  name=$1
  build "$name" -DSAFETY "-DM_$name" -DOPS=4 -DFAULTS=2
  (cd "$work/$name" && ./pan -m200000 -n) >"$work/$name/out" 2>&1 || true
  reason=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$work/$name/out")
  case $reason in
    *assertion*|*"invalid end state"*) echo "ok   mutant $name: found wrong, $reason" ;;
    *) echo "FAIL: mutant $name was not found wrong" >&2; tail -n 20 "$work/$name/out" >&2; exit 1 ;;
  esac
}

holds three_operations_two_faults -DSAFETY "" -DOPS=3 -DFAULTS=2
holds four_operations_one_fault -DSAFETY "" -DOPS=4 -DFAULTS=1
holds progress -DNP -l -DOPS=3 -DFAULTS=1
if [ "${1:-}" = --deep ]; then
  holds three_operations_three_faults -DSAFETY "" -DOPS=3 -DFAULTS=3
fi
# The mutants are the rules named in the model, so that none can be forgotten here.
mutants=$(sed -n 's/.*\(ifdef\|ifndef\|defined(\) *M_\([A-Z_]*\).*/\2/p' "$model" | sort -u)
[ "$(echo "$mutants" | wc -l)" -ge 17 ] || { echo "FAIL: mutants are missing" >&2; exit 1; }
optimize=-O0
for mutant in $mutants; do found "$mutant"; done
