# Runs in the guest, as root of the host's files (see guest_init.sh): sets up the network and two rails, runs the tests that run.sh
# named and writes down how each ended. run.sh puts a copy of this file, and job.sh with the variables used here, into the shared folder.
share=/run/gd2fs-guest
. "$share/job.sh"  # repository, build, test_seconds, tests (an array of names, or of one command line)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
set -u
exec </dev/null

# rail NUMBER: an Ethernet device that goes nowhere, with a soft-RoCE device on it. Server and client both live in this guest, and rxe
# itself turns the packets between one device's own queue pairs around, so a rail never needs a wire.
rail() {
  local device=d$1
  ip link add "$device" type dummy
  ip link set "$device" mtu 4200 address "02:67:64:32:66:0$1"
  sysctl -qw "net.ipv6.conf.$device.accept_dad=0" "net.ipv6.conf.$device.keep_addr_on_down=1"
  ip link set "$device" up
  ip addr add "10.77.$1.1/24" dev "$device"
  ip addr add "fd77:$1::1/64" dev "$device" nodad
  rdma link add "rxe$1" type rxe netdev "$device"
}

set -e
hostname gd2fs-guest
ip link set lo up
ip link del dummy0  # the module makes one of its own
rail 0
rail 1
ulimit -l unlimited -n 65536
mkfs.ext4 -q -F /dev/vda
mkdir -p /mnt
mount -t tmpfs tmpfs /mnt
mkdir /mnt/drive
mount /dev/vda /mnt/drive
cd "$repository"
GD2FS_BUILD=$(realpath "$build")
export GD2FS_TEST_DIR=/mnt/drive GD2FS_BUILD GD2FS_BIN=$GD2FS_BUILD/bin/gd2fs GD2FS_LIB=$GD2FS_BUILD/lib/libgd2fs.so TMPDIR=/tmp
set +e

echo "guest: up after $(cut -d' ' -f1 /proc/uptime) s"
for name in "${tests[@]}"; do
  if [ -n "${command:-}" ]; then
    run=(bash -c "$command")
  else
    run=(bash "tests/rdma/$name.test.sh")
  fi
  began=$(cut -d. -f1 /proc/uptime)
  timeout -k 10 "$test_seconds" "${run[@]}" >"$share/$name.log" 2>&1
  code=$?
  echo "$(($(cut -d. -f1 /proc/uptime) - began))" >"$share/$name.seconds"
  dmesg -c >"$share/$name.dmesg"
  echo "$code" >"$share/$name.code"  # last: what run.sh looks for
  echo "guest: $name: $code"
done
umount /mnt/drive
