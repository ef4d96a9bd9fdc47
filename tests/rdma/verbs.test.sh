# The guest itself: both rails move bytes by both address families, a rail that goes down says so and works again after it came back.
# Nothing of GD2FS runs here; when this fails, so does all else, for reasons that are not ours.
set -euo pipefail

# gid_index DEVICE ADDRESS: the RoCE v2 entry of the port's GID table that stands for this address.
gid_index() {
  /usr/bin/python3 - "$@" <<'PYTHON'
import ipaddress, pathlib, sys
device, address = sys.argv[1], ipaddress.ip_address(sys.argv[2])
if address.version == 4:
    address = ipaddress.ip_address(f"::ffff:{address}")
port = pathlib.Path("/sys/class/infiniband", device, "ports/1")
for number in range(64):
    gid = ipaddress.ip_address((port / f"gids/{number}").read_text().strip())
    if gid == address and (port / f"gid_attrs/types/{number}").read_text().strip() == "RoCE v2":
        print(number)
        sys.exit()
sys.exit(f"{device} has no GID for {address}")
PYTHON
}

# both PROGRAM PORT ARGS...: a server in the background and a client of it; both must end well.
both() {
  local program=$1 port=$2 server
  shift 2
  "$program" -p "$port" "$@" &
  server=$!
  for _ in $(seq 100); do
    ss -Hltn "sport = :$port" | grep -q . && break
    sleep 0.1
  done
  "$program" -p "$port" "$@" localhost
  wait "$server"
}

port=18500
for rail in 0 1; do
  for address in "10.77.$rail.1" "fd77:$rail::1"; do
    index=$(gid_index "rxe$rail" "$address")
    echo "== rxe$rail $address: GID $index"
    # -c: the bytes that arrived are compared.
    both ibv_rc_pingpong $((port += 1)) -d "rxe$rail" -g "$index" -s 65536 -n 8 -c
  done
done
both ib_write_bw $((port += 1)) -d rxe0 -x "$(gid_index rxe0 10.77.0.1)" -s 65536 -n 8 -F
both ib_read_bw $((port += 1)) -d rxe1 -x "$(gid_index rxe1 fd77:1::1)" -s 65536 -n 8 -F

state() { cat /sys/class/infiniband/rxe1/ports/1/state; }
ip link set d1 down
[ "$(state)" = "1: DOWN" ]
both ibv_rc_pingpong $((port += 1)) -d rxe0 -g "$(gid_index rxe0 10.77.0.1)" -n 8 -c  # the other rail does not care
ip link set d1 up
[ "$(state)" = "4: ACTIVE" ]
both ibv_rc_pingpong $((port += 1)) -d rxe1 -g "$(gid_index rxe1 10.77.1.1)" -n 8 -c
both ibv_rc_pingpong $((port += 1)) -d rxe1 -g "$(gid_index rxe1 fd77:1::1)" -n 8 -c
echo "verbs: ok"
