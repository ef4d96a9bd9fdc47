# `gd2fs doctor` on a kernel that has RDMA devices: it finds them, and what is wrong with them when something is.
set -euo pipefail
export HOME=$GD2FS_TEST_DIR

look() {  # look EXIT_CODE ARGS...: doctor's answer in $answer
  local expected=$1 code=0
  shift
  answer=$("$GD2FS_BIN" doctor --offline "$@") || code=$?
  echo "$answer"
  [ "$code" = "$expected" ] || { echo "doctor $*: exit code $code, not $expected"; exit 1; }
}
says() { grep -qF -- "$1" <<<"$answer" || { echo "doctor does not say: $1"; exit 1; }; }

rails="rdma://10.77.0.1,rdma://[fd77:1::1]"
look 0 --need rdma --dp "$rails"
says "ok      library"
says "ok      rxe0 port 1: ACTIVE"
says "10.77.0.1 (GID 1), fd77::1 (GID 2)"
says "ok      rxe1 port 1 MTU: 4096 bytes in a packet (d1 has 4200)"
says "ok      rail 10.77.0.1: rxe0 port 1, GID 1"
says "ok      rail fd77:1::1: rxe1 port 1, GID 2"

look 1 --need rdma --dp "rdma://10.99.0.1"
says "LACKS   rail 10.99.0.1"

ip link set d1 down
ip link set d0 mtu 1500
look 1 --need rdma --dp "$rails"
says "note    rxe1 port 1: DOWN"
says "try: ip link set d1 up"
says "note    rxe0 port 1 MTU: 1024 bytes in a packet"
says "LACKS   rail fd77:1::1"
ip link set d1 up
ip link set d0 mtu 4200
look 0 --need rdma --dp "$rails"

# A container without the device files, and one whose memory may not be locked.
mkdir /tmp/empty
unshare --mount bash -c 'mount --bind /tmp/empty /dev/infiniband && exec "$@"' _ "$GD2FS_BIN" doctor --offline --need rdma &&
  { echo "doctor did not miss the device files"; exit 1; }
setpriv --bounding-set=-ipc_lock prlimit --memlock=65536:65536 "$GD2FS_BIN" doctor --offline --need rdma &&
  { echo "doctor did not miss memlock"; exit 1; }
echo "doctor: ok"
