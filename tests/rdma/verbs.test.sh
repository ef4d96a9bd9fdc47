# The guest itself: both rails move bytes by both address families, a rail that goes down says so and works again after it came back.
# Nothing of GD2FS runs here; when this fails, so does all else, for reasons that are not ours.
set -euo pipefail

# gid_of FAMILY RAIL: the GID that stands for the rail's address. The guest's processes take seconds to start, so this and the
# look-up are bash alone.
gid_of() {
  case "$1" in
    v4) printf -v gid '0000:0000:0000:0000:0000:ffff:0a4d:%02x01' "$2" ;;
    v6) printf -v gid 'fd77:%04x:0000:0000:0000:0000:0000:0001' "$2" ;;
  esac
}
# find_gid FAMILY RAIL: $index becomes that of the RoCE v2 entry in the port's table with this GID.
find_gid() {
  local port=/sys/class/infiniband/rxe$2/ports/1 entry type
  gid_of "$1" "$2"
  for index in {0..63}; do
    read -r entry <"$port/gids/$index"
    [ "$entry" = "$gid" ] || continue
    read -r type <"$port/gid_attrs/types/$index"
    [ "$type" = "RoCE v2" ] && return
  done
  echo "rxe$2 has no GID $gid"
  return 1
}

listening() {  # listening PORT
  local here sockets table
  printf -v here ':%04X 0+:0000 0A ' "$1"  # 0A: LISTEN
  for table in tcp tcp6; do
    mapfile -t sockets <"/proc/net/$table"
    if [[ "${sockets[*]}" =~ $here ]]; then return; fi
  done
  return 1
}

# both PROGRAM PORT ARGS...: a server in the background and a client of it; both must end well.
both() {
  local program=$1 port=$2 server
  shift 2
  "$program" -p "$port" "$@" &
  server=$!
  for _ in {1..100}; do
    listening "$port" && break
    sleep 0.1
  done
  "$program" -p "$port" "$@" localhost
  wait "$server"
}

port=18500
# pingpong FAMILY RAIL. -c: the bytes that arrived are compared. Two packets a message: one that was cut would show.
pingpong() {
  find_gid "$1" "$2"
  echo "== rxe$2 $gid: GID $index"
  both ibv_rc_pingpong $((port += 1)) -d "rxe$2" -g "$index" -s 8192 -n 4 -c
}
for rail in 0 1; do
  pingpong v4 "$rail"
  pingpong v6 "$rail"
done
find_gid v4 0
both ib_write_bw $((port += 1)) -d rxe0 -x "$index" -s 65536 -n 5 -F
find_gid v6 1
both ib_read_bw $((port += 1)) -d rxe1 -x "$index" -s 65536 -n 5 -F

state() { read -r now </sys/class/infiniband/rxe1/ports/1/state && [ "$now" = "$1" ]; }
ip link set d1 down
state "1: DOWN"
pingpong v4 0  # the other rail does not care
ip link set d1 up
state "4: ACTIVE"
pingpong v4 1
pingpong v6 1
echo "verbs: ok"
