# Sourced by the tests whose programs are to use RDMA, and nothing else, over both rails; as tests in other folders do it on machines
# that have NICs. Servers that the tests start then listen on the rails.
set -euo pipefail
export GD2FS_DPADDR=${GD2FS_DPADDR:-rdma://10.77.0.1,rdma://10.77.1.1} GD2FS_SHM=off GD2FS_REQUIRE=rdma
python=.venv/bin/python
tests() { "$python" -m pytest -q -p no:cacheprovider --durations=3 --basetemp="$GD2FS_TEST_DIR/pytest" "$@"; }
