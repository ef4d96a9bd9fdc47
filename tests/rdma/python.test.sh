# pygd2fs against a real server: transfers, async, cancellation and deregistration in flight. Not those that name a TCP data address
# themselves, which GD2FS_REQUIRE=rdma refuses.
. tests/rdma/over_rdma.sh
by_tcp="addresses_come_from or process_may_end_with or ends_by_an_exception or import_starts_no_thread"
tests -k "real and not ($by_tcp)" tests/python/test_transfers.py tests/python/test_async.py tests/python/test_lifetime.py tests/python/test_wait.py
