# The C programs of tests/abi, unmodified; not `timeouts`, which speaks to controllers alone, and they are reached by TCP.
. tests/rdma/over_rdma.sh
for program in read_write arguments in_flight forks threads views; do
  echo "== $program"
  "$python" tests/abi/run_program.py disk "$GD2FS_BIN" "$GD2FS_BUILD/bin/abi_$program"
done
echo "abi: ok"
