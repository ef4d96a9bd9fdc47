# pygd2fs against a real server: transfers, async, cancellation and deregistration in flight.
. tests/rdma/over_rdma.sh
tests -k real tests/python/test_transfers.py tests/python/test_async.py tests/python/test_lifetime.py tests/python/test_wait.py
