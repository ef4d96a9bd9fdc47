# Both rails, one of them down, killed and stopped processes.
. tests/rdma/over_rdma.sh
tests tests/processes/test_rdma.py
