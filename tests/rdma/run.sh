#!/usr/bin/env bash
# Runs tests of RDMA on soft-RoCE, in a QEMU guest that is made from Debian packages alone (docs/rdma.md).
#   tests/rdma/run.sh                 the tests of the default run
#   tests/rdma/run.sh NAME...         the named ones; each is tests/rdma/NAME.test.sh
#   tests/rdma/run.sh -- COMMAND...   one command in the guest, its output to stdout, its exit code ours
#   tests/rdma/run.sh --list          the names of all
# The guest sees this machine's files as they are and can change none of them; what it writes is gone at its end. It needs what
# `tools/setup.sh rdma` installs, and the programs in build/. Logs stay in build/rdma-logs.
#   GD2FS_BUILD               where the programs are, build
#   GD2FS_GUEST_SECONDS       the whole run, 900; a guest that takes longer is killed
#   GD2FS_GUEST_TEST_SECONDS  each test, in the guest's own time, 240
#   GD2FS_GUEST_MEMORY        MiB, 5000 (taken from this machine as it is used)
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/rdma
default_tests=(verbs doctor tcp abi fio faults python)
guest_seconds=${GD2FS_GUEST_SECONDS:-900}
build=${GD2FS_BUILD:-build}

tests=() command=
case "${1:-}" in
  --list) for test in "$here"/*.test.sh; do basename "$test" .test.sh; done; exit ;;
  --) shift; tests=(command); command="$*" ;;
  "") tests=("${default_tests[@]}") ;;
  *) tests=("$@") ;;
esac
for name in "${tests[@]}"; do
  [ -n "$command" ] || [ -e "$here/$name.test.sh" ] || { echo "run.sh: no test '$name' (--list prints them)" >&2; exit 2; }
done
for program in qemu-system-x86_64 busybox cpio depmod rdma mkfs.ext4 ib_write_bw ibv_rc_pingpong; do
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null ||
    { echo "run.sh: no $program here: tools/setup.sh rdma" >&2; exit 2; }
done
# What is not built would fail in there, too, but late and in other words.
for name in "${tests[@]}"; do
  case "$name" in
    verbs | command) needed=() ;;
    abi) needed=(bin/gd2fs bin/abi_read_write) ;;
    fio) needed=(bin/gd2fs lib/libgd2fs_fio.so) ;;
    faults) needed=(bin/gd2fs bin/fabric_test lib/libgd2fs.so) ;;
    python) needed=(bin/gd2fs lib/libgd2fs.so python/pygd2fs) ;;
    *) needed=(bin/gd2fs lib/libgd2fs.so) ;;
  esac
  for file in "${needed[@]}"; do
    [ -e "$build/$file" ] || { echo "run.sh: no $build/$file: tools/build.sh, for fio contrib/fio/build.sh" >&2; exit 2; }
  done
done

# Beside the other logs; the guest has it as /run/gd2fs-guest.
mkdir -p build/rdma-logs
share=$(mktemp -d "$PWD/build/rdma-logs/guest.XXXXXX")
qemu=
clean_up() {
  if [ -n "$qemu" ] && kill -0 "$qemu" 2>/dev/null; then
    kill -KILL "$qemu"
    wait "$qemu" || true
  fi
  rm -rf "$share"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

guest=$("$here/make_guest.sh")
cp "$here/guest_main.sh" "$share/main.sh"
{
  printf 'repository=%q\ntest_seconds=%q\n' "$PWD" "${GD2FS_GUEST_TEST_SECONDS:-240}"
  printf 'command=%q\nbuild=%q\n' "$command" "$build"
  printf 'tests=('; printf '%q ' "${tests[@]}"; printf ')\n'
} >"$share/job.sh"
printf '%s\n' "$PWD" "$(realpath "$build")" >"$share/folders"
# Files that the guest's drive lies in; never written out, gone with the guest.
truncate -s 8G "$share/drive"

# KVM is left alone on purpose: it is not there on every CI machine, and emulation is the same everywhere.
setpriv --pdeathsig KILL qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m "${GD2FS_GUEST_MEMORY:-5000}" -machine pc \
  -nodefaults -display none -no-reboot -serial "file:$share/console.log" \
  -kernel "$guest/vmlinuz" -initrd "$guest/initramfs" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off no5lvl no_timer_check nowatchdog" \
  -virtfs local,path=/,mount_tag=host,security_model=none,multidevs=remap,readonly=on \
  -virtfs local,path="$share",mount_tag=share,security_model=none,multidevs=remap \
  -drive file="$share/drive",format=raw,if=virtio,cache=unsafe \
  -object rng-random,id=random,filename=/dev/urandom -device virtio-rng-pci,rng=random \
  </dev/null >"$share/qemu.log" 2>&1 &
qemu=$!
began=$SECONDS
while kill -0 "$qemu" 2>/dev/null; do
  if ((SECONDS - began > guest_seconds)); then
    echo "run.sh: the guest ran for over $guest_seconds s and is stopped" >&2
    kill -KILL "$qemu"
  fi
  sleep 0.5
done
wait "$qemu" 2>/dev/null || true
qemu=

if [ -n "$command" ]; then
  cat "$share/command.log" 2>/dev/null || true
  if [ ! -e "$share/command.code" ]; then
    echo "run.sh: the command did not end; console:" >&2
    tail -n 40 "$share/console.log" "$share/qemu.log" >&2
    exit 1
  fi
  exit "$(cat "$share/command.code")"
fi

failed=0
for name in "${tests[@]}"; do
  for kind in log dmesg; do
    cp "$share/$name.$kind" "build/rdma-logs/$name.$kind" 2>/dev/null || true
  done
  code=$(cat "$share/$name.code" 2>/dev/null || echo none)
  printf '%-12s %-6s %4s s\n' "$name" "$([ "$code" = 0 ] && echo ok || echo FAILED)" "$(cat "$share/$name.seconds" 2>/dev/null || echo -)"
  [ "$code" = 0 ] && continue
  failed=$((failed + 1))
  case "$code" in
    none) echo "    the guest ended before this test did" ;;
    124 | 137) echo "    not done in time" ;;
    *) echo "    exit code $code" ;;
  esac
  tail -n 60 "$share/$name.log" "$share/$name.dmesg" 2>/dev/null | sed 's/^/    /' || true
done
cp "$share/console.log" build/rdma-logs/
if ((failed)); then
  tail -n 15 "$share/console.log" "$share/qemu.log" | sed 's/^/    /'
fi
# The line that test.sh counts.
echo "$((${#tests[@]} - failed)) passed, $failed failed in $((SECONDS - began)).0s"
((failed == 0))
