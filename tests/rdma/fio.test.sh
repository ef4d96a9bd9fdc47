# fio with our engine (contrib/fio/build.sh): random reads and writes, every byte verified; over IPv6.
GD2FS_DPADDR="rdma://[fd77:0::1],rdma://[fd77:1::1]"
. tests/rdma/over_rdma.sh
place=$GD2FS_TEST_DIR/fio
export HOME=$place/home GD2FS_CLUSTER=gd2fs-cluster0
mkdir -p "$HOME"
"$GD2FS_BIN" up --data "$place/data" --listen 127.0.0.1:0 --slab 128MiB --set store.data_file=64MiB \
  --set "server.listen=$GD2FS_DPADDR" >"$place/ready" &
server=$!
for _ in $(seq 300); do
  [ -s "$place/ready" ] && break
  kill -0 "$server"
  sleep 0.2
done
GD2FS_CPADDR=$(sed -n 's/^ready \(gd2fs:[^ ]*\).*/\1/p' "$place/ready")
export GD2FS_CPADDR
sed "s/size=256m/size=4m/; s|build/lib|$GD2FS_BUILD/lib|" contrib/fio/verify.fio >"$place/job.fio"
LD_LIBRARY_PATH=$GD2FS_BUILD/lib fio --aux-path="$place" "$place/job.fio"
"$GD2FS_BIN" status
kill -TERM "$server"
wait "$server"
echo "fio: ok"
