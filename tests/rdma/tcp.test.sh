# Our programs in the guest, over TCP and over shared memory: what fails over RDMA and not here fails because of RDMA.
set -euo pipefail
cd "$GD2FS_TEST_DIR"
export HOME=$PWD/home
mkdir -p home model
head -c 5000000 /dev/urandom >model/a.bin
head -c 70001 /dev/urandom >model/b.bin
: >model/empty

"$GD2FS_BIN" up --data "$PWD/data" --listen 127.0.0.1:0 --slab 128MiB --set store.data_file=64MiB >ready &
server=$!
for _ in $(seq 300); do
  [ -s ready ] && break
  kill -0 "$server"  # it died: the test ends here
  sleep 0.2
done
GD2FS_CPADDR=$(sed -n 's/^ready \(gd2fs:[^ ]*\).*/\1/p' ready)
export GD2FS_CPADDR

for path in off on; do
  export GD2FS_SHM=$path
  "$GD2FS_BIN" put -q model "/model-$path"
  "$GD2FS_BIN" verify "/model-$path"
  "$GD2FS_BIN" get -q "/model-$path" "got-$path"
  for file in a.bin b.bin empty; do
    cmp "model/$file" "got-$path/$file"
  done
done
"$GD2FS_BIN" status
kill -TERM "$server"
wait "$server"
echo "tcp: ok"
