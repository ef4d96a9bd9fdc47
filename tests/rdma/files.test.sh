# Every verb on files, a mixed load, and names.
. tests/rdma/over_rdma.sh
tests tests/processes/test_files.py
