# Both rails, one of them down, killed and stopped processes; forged keys, exhausted credits, memory that may not be locked.
. tests/rdma/over_rdma.sh
"$GD2FS_BUILD/bin/fabric_test" --gtest_filter="RdmaAnyNic.*"
tests tests/processes/test_rdma.py tests/processes/test_rdma_limits.py
