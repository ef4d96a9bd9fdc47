"""GPU memory, on the fake driver (tests/fake_cuda) or, with GD2FS_TEST_REAL_GPU=1, on the machine's own.

torch here may have no CUDA, so the arrays are of our own making: device memory from the driver with the
interfaces that array libraries give it.
"""

import asyncio
import ctypes
import errno
import os
import threading
import time

import numpy
import pytest
from conftest import Server, pattern, wait_for

REAL = os.environ.get("GD2FS_TEST_REAL_GPU") == "1"
needs_fake = pytest.mark.skipif(REAL, reason="needs the fake driver's controls")


class Cuda:
    """The driver, as an application that holds the primary context of device 0."""

    def __init__(self):
        self.driver = ctypes.CDLL(os.environ.get("GD2FS_CUDA_LIBRARY", "libcuda.so.1"))
        self.call("cuInit", 0)
        self.context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), 0)
        self.call("cuCtxPushCurrent_v2", self.context)

    def call(self, name, *arguments):
        error = getattr(self.driver, name)(*arguments)
        assert error == 0, f"{name}: CUDA error {error}"

    def alloc(self, length):
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(length))
        return pointer.value

    def free(self, pointer):
        self.call("cuMemFree_v2", ctypes.c_uint64(pointer))

    def stream(self):
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)
        return stream


class GpuArray:
    """Bytes on the GPU, as cupy or numba would hold them."""

    def __init__(self, cuda, length, **interface):
        self.cuda, self.length = cuda, length
        self.pointer = cuda.alloc(length)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": (length,),
            "typestr": "|u1",
            "data": (self.pointer, False),
            "strides": None,
        } | interface

    def __del__(self):
        self.cuda.free(self.pointer)

    def set(self, array):
        data = numpy.ascontiguousarray(array)
        self.cuda.call(
            "cuMemcpyHtoD_v2",
            ctypes.c_uint64(self.pointer),
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_size_t(data.nbytes),
        )

    def get(self):
        data = numpy.empty(self.length, numpy.uint8)
        self.cuda.call(
            "cuMemcpyDtoH_v2",
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_uint64(self.pointer),
            ctypes.c_size_t(self.length),
        )
        return data


@pytest.fixture(scope="module")
def cuda():
    return Cuda()


@pytest.fixture
def client(real_stack, cuda):
    with real_stack.connect() as client:
        yield client


@pytest.fixture
def gd2fs(real_stack):
    return real_stack.gd2fs


def test_an_array_on_the_gpu_is_a_target_and_a_source(client, folder, cuda):
    source, target = GpuArray(cuda, 5_000_000), GpuArray(cuda, 5_000_000)
    data = pattern(5_000_000)
    source.set(data)
    assert client.write_from(f"{folder}/file", source) == 5_000_000
    assert client.read_into(f"{folder}/file", target) == 5_000_000
    assert (target.get() == data).all()
    host = numpy.zeros(5_000_000, numpy.uint8)
    client.read_into(f"{folder}/file", host)
    assert (host == data).all()
    assert asyncio.run(client.read_into_async(f"{folder}/file", target, 1_000_000)) == 4_000_000
    assert (target.get()[:4_000_000] == data[1_000_000:]).all()


def test_shapes_and_strides_of_an_array_are_looked_at(client, cuda):
    good = {"shape": (10, 25, 2), "typestr": "<f4", "strides": (200, 8, 4)}
    with pytest.raises(FileNotFoundError):
        client.read_into("/no-such-file", GpuArray(cuda, 2000, **good))
    for wrong, match in (
        ({"shape": (10, 25), "typestr": "<f4", "strides": (4, 40)}, "contiguous"),
        ({"shape": (10,), "typestr": "|O8"}, "objects"),
        ({"data": (1, True)}, "read-only"),
        ({"mask": object()}, "mask"),
    ):
        with pytest.raises(ValueError, match=match):
            client.read_into("/no-such-file", GpuArray(cuda, 2000, **wrong))
    assert client.InFlight() == 0


def test_an_address_of_the_gpu_is_as_good_as_one_of_the_host(gd2fs, client, folder, cuda):
    array, data = GpuArray(cuda, 1 << 20), pattern(1 << 20)
    array.set(data)
    host = numpy.zeros(1 << 20, numpy.uint8)
    on_gpu = client.RegIOMEM(array.pointer, 1 << 20)
    on_host = client.RegIOMEM(host.ctypes.data, 1 << 20)
    assert on_gpu.device == 0 and "cuda:0" in repr(on_gpu)
    assert on_host.device == -1
    sges = [
        gd2fs.SGE(array.pointer + 100, 3000, on_gpu),
        gd2fs.SGE(host.ctypes.data, 500, on_host),
        gd2fs.SGE(array.pointer + 50_000, 70_001, on_gpu),
    ]
    write = client.Write(f"{folder}/file", 0, sges, 0, "")
    wait_for(client, write)
    assert write.Check() == 73_501
    array.set(numpy.zeros(1 << 20, numpy.uint8))
    read = client.Read(f"{folder}/file", 0, sges, 0, "")
    wait_for(client, read)
    got = array.get()
    assert (got[100:3100] == data[100:3100]).all()
    assert (got[50_000:120_001] == data[50_000:120_001]).all()
    assert not got[3100:50_000].any()


def test_ten_thousand_pieces_go_as_arrays(client, folder, cuda):
    count, piece = 10_000, 1024
    array, data = GpuArray(cuda, 2 * count * piece), pattern(count * piece)
    client.write_from(f"{folder}/kv", data)
    iomem = client.RegIOMEM(array.pointer, 2 * count * piece)
    order = numpy.random.default_rng(3).permutation(count)
    addresses = array.pointer + 2 * piece * order.astype(numpy.uint64)
    lengths = numpy.full(count, piece, numpy.uint64)
    request = client.ReadV(f"{folder}/kv", 0, addresses, lengths, iomem)
    wait_for(client, request)
    assert request.Check() == count * piece
    got = array.get().reshape(count, 2, piece)[order, 0]
    assert (got.reshape(-1) == data).all()


class Stream:
    def __init__(self, handle):
        self.cuda_stream = handle


@needs_fake
def test_a_stream_is_waited_for(gd2fs, client, folder, cuda):
    array, data = GpuArray(cuda, 1 << 20), pattern(1 << 20)
    array.set(numpy.zeros(1 << 20, numpy.uint8))
    iomem = client.RegIOMEM(array.pointer, 1 << 20)
    stream = cuda.stream()
    cuda.call("cuMemHostRegister_v2", ctypes.c_void_p(data.ctypes.data), ctypes.c_size_t(1 << 20), 0)
    cuda.driver.fake_cuda_hold(1)
    try:
        cuda.call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(array.pointer),
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_size_t(1 << 20),
            stream,
        )
        request = client.Write(
            f"{folder}/file", 0, [gd2fs.SGE(array.pointer, 1 << 20, iomem)], 0, "", stream=Stream(stream.value)
        )
        assert client.Wait(50) == []
    finally:
        cuda.driver.fake_cuda_hold(0)
    wait_for(client, request)
    cuda.call("cuMemHostUnregister", ctypes.c_void_p(data.ctypes.data))
    host = numpy.zeros(1 << 20, numpy.uint8)
    client.read_into(f"{folder}/file", host, stream=stream.value)
    assert (host == data).all()
    cuda.call("cuStreamDestroy_v2", stream)


@needs_fake
def test_dereg_in_a_finally_waits_for_the_copy(gd2fs, client, folder, cuda):
    array = GpuArray(cuda, 1 << 20)
    client.write_from(f"{folder}/file", pattern(1 << 20))
    cuda.driver.fake_cuda_set_delay_ns(ctypes.c_uint64(30_000_000))
    try:

        async def main():
            iomem = client.RegIOMEM(array.pointer, 1 << 20)
            sge = gd2fs.SGE(array.pointer, 1 << 20, iomem)
            tasks = [asyncio.ensure_future(client.ReadAsync(f"{folder}/file", 0, [sge], 0)) for _ in range(5)]
            await asyncio.sleep(0.02)
            try:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                client.DeregIOMEM(iomem)

        asyncio.run(main())
        canary = numpy.full(1 << 20, 0xC5, numpy.uint8)
        array.set(canary)
        time.sleep(0.1)
        assert (array.get() == canary).all()
    finally:
        cuda.driver.fake_cuda_set_delay_ns(ctypes.c_uint64(0))


@needs_fake
def test_a_copy_that_fails_is_an_error_of_the_client_and_nothing_else(gd2fs, client, folder, cuda):
    array = GpuArray(cuda, 1 << 20)
    client.write_from(f"{folder}/file", pattern(1 << 20))
    cuda.driver.fake_cuda_refuse_copies(1, 1)
    with pytest.raises(OSError) as failure:
        client.read_into(f"{folder}/file", array)
    assert failure.value.errno == errno.EIO
    assert client.read_into(f"{folder}/file", array) == 1 << 20


class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "contexts", "streams", "events", "modules", "allocations", "registrations", "registered_bytes", "copies", "launches",
        "tiles", "pageable_copies", "synchronises", "lookups", "nic_flushes", "streams_asked")]  # fmt: skip


def over_shm():
    return os.environ.get("GD2FS_SHM") != "off"


def read_until_straight(client, path, array, length):
    """The first reads only begin to pin the server's memory."""
    for _ in range(200):
        before = client.Counters()["gpu_straight_read_bytes"]
        assert client.read_into(path, array) == length
        if client.Counters()["gpu_straight_read_bytes"] - before == length:
            return
        time.sleep(0.05)
    pytest.fail(f"never straight: {client.Counters()}")


@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_on_the_server_s_host_bytes_go_from_its_memory_to_the_gpu(client, folder, cuda):
    length = 24 << 20
    data, array = pattern(length), GpuArray(cuda, length)
    client.write_from(f"{folder}/file", data)
    read_until_straight(client, f"{folder}/file", array, length)
    assert client.Counters()["gpu_shared_pinned_bytes"] >= 64 << 20  # an arena at least
    # A read through odd offsets and lengths.
    for at, size in ((0, length), (12345, 7_654_321), (4 << 20, 4 << 20), (1, 65_536)):
        array.set(numpy.zeros(length, numpy.uint8))
        iomem = client.RegIOMEM(array.pointer, length)
        assert client.ReadV(f"{folder}/file", at, [array.pointer + 7], [size - 7], iomem) in client.Wait(10_000)
        assert (array.get()[7:size] == data[at : at + size - 7]).all()
        client.DeregIOMEM(iomem)
    if not REAL:
        counts = Counts()
        cuda.driver.fake_cuda_get_counts(ctypes.byref(counts))
        assert counts.pageable_copies == 0


@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_on_the_server_s_host_bytes_go_from_the_gpu_to_its_memory(client, folder, cuda):
    length = 24 << 20
    array, back = GpuArray(cuda, length), numpy.zeros(length, numpy.uint8)
    data = pattern(length)
    array.set(data)
    write_until_straight(client, f"{folder}/file", array, length)
    client.read_into(f"{folder}/file", back)
    assert (back == data).all()
    # Scattered pieces, in one request; a file that grows by odd lengths.
    iomem = client.RegIOMEM(array.pointer, length)
    pieces = [(at, 4097) for at in range(0, length - 5000, 9001)]
    addresses, lengths = [array.pointer + at for at, _ in pieces], [size for _, size in pieces]
    assert client.WriteV(f"{folder}/pieces", 333, addresses, lengths, iomem) in client.Wait(10_000)
    client.DeregIOMEM(iomem)
    expected = numpy.concatenate([data[at : at + size] for at, size in pieces])
    got = numpy.zeros(len(expected), numpy.uint8)
    assert client.read_into(f"{folder}/pieces", got, 333) == len(expected)
    assert (got == expected).all()


def write_until_straight(client, path, array, length):
    for _ in range(200):
        before = client.Counters()["gpu_straight_write_bytes"]
        assert client.write_from(path, array) == length
        if client.Counters()["gpu_straight_write_bytes"] - before == length:
            return
        time.sleep(0.05)
    pytest.fail(f"never straight: {client.Counters()}")


def copies_issued(cuda):
    counts = Counts()
    cuda.driver.fake_cuda_get_counts(ctypes.byref(counts))
    return counts.copies + counts.launches


def wait_until_held(cuda, issued_before):
    """An event may be queued before any copy is: only copies count."""
    end = time.monotonic() + 20
    while copies_issued(cuda) == issued_before:
        assert time.monotonic() < end, "no copy was issued"
        time.sleep(0.001)


@needs_fake
@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
@pytest.mark.parametrize("ends", ["deregister", "close", "cancel"])
@pytest.mark.parametrize("operation", ["Read", "Write"])
def test_what_ends_early_waits_for_copies_between_the_server_s_memory_and_the_gpu(real_stack, folder, cuda, operation, ends):
    length = 9 << 20
    data, array = pattern(length), GpuArray(cuda, length)
    array.set(data)
    client = real_stack.connect()
    write_until_straight(client, f"{folder}/file", array, length)
    read_until_straight(client, f"{folder}/file", array, length)
    iomem = client.RegIOMEM(array.pointer, length)
    issued_before = copies_issued(cuda)
    cuda.driver.fake_cuda_hold(1)
    try:
        request = getattr(client, operation)(f"{folder}/file", 0, [real_stack.gd2fs.SGE(array.pointer, length, iomem)], 0, "")
        wait_until_held(cuda, issued_before)
        if ends == "cancel":
            request.Cancel()
            assert client.Wait(100) == []
        else:
            end = threading.Thread(target=lambda: client.DeregIOMEM(iomem) if ends == "deregister" else client.close())
            end.start()
            end.join(0.2)
            assert end.is_alive()  # a copy may still touch the memory
    finally:
        cuda.driver.fake_cuda_hold(0)
    if ends == "cancel":
        wait_for(client, request)
    else:
        end.join(20)
        assert not end.is_alive()
    # From here on nothing touches it.
    canary = numpy.full(length, 0x5A, numpy.uint8)
    array.set(canary)
    time.sleep(0.1)
    assert (array.get() == canary).all()
    if ends != "close":
        client.close()


@needs_fake
@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_a_server_that_dies_under_the_copies_leaves_the_process_whole(real_stack, folder, cuda, tmp_path, monkeypatch):
    length = 9 << 20
    data, array = pattern(length), GpuArray(cuda, length)
    array.set(data)
    server = Server(tmp_path / "data")
    monkeypatch.setenv("GD2FS_TOKEN_FILE", str(server.token_file))
    client = real_stack.gd2fs.Client(server.address, "tcp://127.0.0.1", server.cluster, timeout=3000)
    write_until_straight(client, "/file", array, length)
    read_until_straight(client, "/file", array, length)
    iomem = client.RegIOMEM(array.pointer, length)
    sges = [real_stack.gd2fs.SGE(array.pointer, length, iomem)]
    issued_before = copies_issued(cuda)
    cuda.driver.fake_cuda_hold(1)
    try:
        requests = []
        for begin in (client.Read, client.Write):
            requests.append(begin("/file", 0, sges, 0, ""))
            wait_until_held(cuda, issued_before)
            time.sleep(0.1)  # until this one has as many as it gets
            issued_before = copies_issued(cuda)
        server.process.kill()
        server.process.wait()
        assert client.Wait(500) == []  # its memory is still mapped, and the copies under way
    finally:
        cuda.driver.fake_cuda_hold(0)
    wait_for(client, *requests)
    for request in requests:
        with pytest.raises(OSError):
            request.Check()
    # What was pinned of the dead server's memory is given back.
    end = time.monotonic() + 10
    while client.Counters()["gpu_shared_pinned_bytes"] > 0:
        assert time.monotonic() < end, client.Counters()
        time.sleep(0.1)
    client.close()


@needs_fake
@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_a_straight_copy_that_fails_is_made_through_the_ring(client, folder, cuda):
    length = 6_000_000
    data, array, back = pattern(length), GpuArray(cuda, length), numpy.zeros(length, numpy.uint8)
    array.set(numpy.zeros(length, numpy.uint8))
    write_until_straight(client, f"{folder}/file", array, length)
    read_until_straight(client, f"{folder}/file", array, length)
    array.set(data)
    before = client.Counters()
    cuda.driver.fake_cuda_refuse_copies(1, 2)
    assert client.write_from(f"{folder}/file", array) == length
    assert client.Counters()["gpu_ring_write_bytes"] - before["gpu_ring_write_bytes"] == length
    client.read_into(f"{folder}/file", back)
    assert (back == data).all()
    array.set(numpy.zeros(length, numpy.uint8))
    before = client.Counters()
    cuda.driver.fake_cuda_refuse_copies(1, 2)
    assert client.read_into(f"{folder}/file", array) == length
    assert client.Counters()["gpu_ring_read_bytes"] > before["gpu_ring_read_bytes"]
    assert (array.get() == data).all()
    # Once more, and all is as it was.
    before = client.Counters()
    assert client.write_from(f"{folder}/file", array) == length
    assert client.Counters()["gpu_straight_write_bytes"] - before["gpu_straight_write_bytes"] == length


def test_counters_say_which_way_the_bytes_went(real_stack, folder, cuda):
    with real_stack.connect() as client:
        assert set(client.Counters().values()) == {0}
        host, array = pattern(1 << 20), GpuArray(cuda, 1 << 20)
        client.write_from(f"{folder}/file", host)
        client.read_into(f"{folder}/file", numpy.zeros(1 << 20, numpy.uint8))
        client.read_into(f"{folder}/file", array)
        client.write_from(f"{folder}/other", array)
        counters = client.Counters()
        assert counters["host_read_bytes"] == counters["host_write_bytes"] == 1 << 20
        assert counters["gpu_straight_read_bytes"] + counters["gpu_ring_read_bytes"] == 1 << 20
        assert counters["gpu_straight_write_bytes"] + counters["gpu_ring_write_bytes"] == 1 << 20
        assert counters["gpu_ring_pinned_bytes"] >= 32 << 20


@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_where_the_straight_way_is_required_the_first_byte_takes_it(real_stack, folder, cuda, monkeypatch):
    monkeypatch.setenv("GD2FS_REQUIRE", "gpu_direct")
    length = 10_000_000
    array, data = GpuArray(cuda, length), pattern(length)
    with real_stack.connect() as client:
        array.set(data)
        assert client.write_from(f"{folder}/file", array) == length
        array.set(numpy.zeros(length, numpy.uint8))
        assert client.read_into(f"{folder}/file", array) == length
        assert (array.get() == data).all()
        counters = client.Counters()
        assert counters["gpu_straight_write_bytes"] == counters["gpu_straight_read_bytes"] == length
        assert counters["gpu_ring_write_bytes"] == counters["gpu_ring_read_bytes"] == 0


@needs_fake
@pytest.mark.skipif(not over_shm(), reason="only on the server's host")
def test_where_the_server_s_memory_cannot_be_pinned_the_ring_serves_or_require_says_so(real_stack, folder, cuda, monkeypatch):
    length = 10_000_000
    array, data = GpuArray(cuda, length), pattern(length)
    cuda.driver.fake_cuda_refuse_registrations(ctypes.c_uint64(64 << 20), 2)  # arenas: out of memory
    try:
        with real_stack.connect() as client:
            client.write_from(f"{folder}/file", data)
            for _ in range(3):
                array.set(numpy.zeros(length, numpy.uint8))
                assert client.read_into(f"{folder}/file", array) == length
                assert (array.get() == data).all()
                time.sleep(0.05)
            assert client.Counters()["gpu_straight_read_bytes"] == 0
            assert client.Counters()["gpu_ring_read_bytes"] == 3 * length
        monkeypatch.setenv("GD2FS_REQUIRE", "gpu_direct")
        with real_stack.connect() as client:
            with pytest.raises(OSError) as failure:
                client.read_into(f"{folder}/file", array)
            assert failure.value.errno == errno.ENOTSUP
            back = numpy.zeros(length, numpy.uint8)  # host memory is none of its business
            assert client.read_into(f"{folder}/file", back) == length
            assert (back == data).all()
    finally:
        cuda.driver.fake_cuda_refuse_registrations(ctypes.c_uint64(0), 0)


def test_what_is_required_and_switched_off_is_refused(real_stack, monkeypatch):
    monkeypatch.setenv("GD2FS_REQUIRE", "gpu_direct")
    monkeypatch.setenv("GD2FS_SHM", "off")
    with pytest.raises(OSError):
        real_stack.connect()
