"""ReadV, WriteV, ReadBatch, WriteBatch: addresses, lengths and offsets as arrays."""

import array
import asyncio
import errno

import numpy
import pytest
from conftest import Memory, pattern, wait_for


@pytest.fixture
def file(client, folder):
    path = f"{folder}/file"
    client.write_from(path, pattern(1 << 20))
    return path


def kinds(values):
    values = [int(value) for value in values]
    yield numpy.array(values, numpy.uint64)
    yield numpy.array(values, numpy.int64)
    yield numpy.array([[value, 0] for value in values], numpy.uint64)[:, 0]  # with a stride
    yield array.array("Q", values)
    yield values
    yield tuple(values)


def test_one_request_over_arrays_of_slices(client, file, memory):
    count, size = 1000, 100
    places = numpy.random.default_rng(3).permutation(count) * size
    for addresses in kinds(memory.iomem.address + places):
        memory.bytes[:] = 0
        read = client.ReadV(file, 7, addresses, numpy.full(count, size, numpy.int32), memory.iomem)
        wait_for(client, read)
        assert read.Value() == read.length == count * size
        got = memory.bytes[: count * size].reshape(count, size)[places // size].reshape(-1)
        assert numpy.array_equal(got, pattern(1 << 20)[7 : 7 + count * size])


def test_written_slices_come_in_their_order(client, folder, memory):
    memory.bytes[:] = pattern(1 << 20)
    write = client.WriteV(
        f"{folder}/out", 0, numpy.array([memory.iomem.address + 500, memory.iomem.address]), [20, 10], memory.iomem
    )
    wait_for(client, write)
    target = bytearray(30)
    client.read_into(f"{folder}/out", target)
    assert target == memory.bytes[500:520].tobytes() + memory.bytes[:10].tobytes()


def test_one_request_per_row(client, file, memory):
    count, size = 300, 64
    offsets = numpy.random.default_rng(5).permutation(count) * size
    addresses = memory.iomem.address + numpy.arange(count, dtype=numpy.uint64) * size
    requests = client.ReadBatch(file, offsets, addresses, size, memory.iomem, 0, "rows")
    assert [request.offset for request in requests] == offsets.tolist()
    assert {request.desc for request in requests} == {"rows"}
    wait_for(client, *requests)
    assert all(request.Value() == size for request in requests)
    expected = pattern(1 << 20)[: count * size].reshape(count, size)[offsets // size]
    assert numpy.array_equal(memory.bytes[: count * size].reshape(count, size), expected)


def test_rows_may_go_to_files_and_memories_of_their_own(client, folder, memory):
    other = Memory(client, 4096)
    memory.bytes[:8] = numpy.frombuffer(b"firstone", numpy.uint8)
    other.bytes[:8] = numpy.frombuffer(b"theother", numpy.uint8)
    paths = [f"{folder}/a", f"{folder}/b"]
    requests = client.WriteBatch(
        paths, 0, [memory.iomem.address, other.iomem.address], [8, 8], [memory.iomem, other.iomem]
    )
    wait_for(client, *requests)
    for path, expected in zip(paths, [b"firstone", b"theother"]):
        target = bytearray(9)
        assert client.read_into(path, target) == 8 and target[:8] == expected


def test_batches_from_a_loop(client, file, memory):
    count, size = 500, 128
    offsets = numpy.arange(count) * size
    addresses = memory.iomem.address + offsets

    async def main():
        reads = await client.ReadBatchAsync(file, offsets, addresses, size, memory.iomem)
        assert all(request.Value() == size for request in reads)
        writes = await client.WriteBatchAsync(file + "-copy", offsets, addresses, size, memory.iomem)
        assert all(request.Value() == size for request in writes)

    asyncio.run(main())
    assert client.Wait(0) == []
    target = bytearray(count * size)
    client.read_into(file + "-copy", target)
    assert target == pattern(1 << 20)[: count * size].tobytes()


def test_a_batch_larger_than_the_library_takes_waits_from_a_loop(fake_client, fake, fake_memory):
    fake.set_requests_max(7)
    fake_client.write_from("/file", b"x")

    async def main():
        addresses = [fake_memory.iomem.address] * 100
        batches = await asyncio.gather(
            *[fake_client.ReadBatchAsync("/file", 0, addresses, 1, fake_memory.iomem) for _ in range(10)]
        )
        for requests in batches:
            assert len(set(requests)) == 100 and all(request.Value() == 1 for request in requests)

    asyncio.run(main())
    assert fake_client.InFlight() == 0


def test_a_cancelled_batch_ends_whole(fake_client, fake, fake_memory):
    fake.set_requests_max(7)
    fake.hold(1)

    async def main():
        addresses = [fake_memory.iomem.address] * 100
        task = asyncio.create_task(fake_client.ReadBatchAsync("/f", 0, addresses, 1, fake_memory.iomem))
        await asyncio.sleep(0)
        assert fake.running() == 7
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fake.running() == 0

    asyncio.run(main())
    assert fake_client.InFlight() == 0


def test_a_batch_that_is_refused_in_part_tells_what_is_in_flight(fake_stack, fake_client, fake, fake_memory):
    fake.set_requests_max(3)
    addresses = [fake_memory.iomem.address] * 5
    with pytest.raises(fake_stack.gd2fs.BatchError) as failure:
        fake_client.ReadBatch("/f", 0, addresses, 1, fake_memory.iomem)
    assert failure.value.errno == errno.EAGAIN and len(failure.value.requests) == 3
    wait_for(fake_client, *failure.value.requests)
    assert fake_client.InFlight() == 0


def test_a_row_outside_its_memory_is_refused(client, file, memory):
    addresses = [memory.iomem.address, memory.iomem.address + len(memory.bytes)]
    with pytest.raises(OSError) as failure:
        client.ReadBatch(file, 0, addresses, 1, memory.iomem)
    assert failure.value.errno == errno.EINVAL
    wait_for(client, *failure.value.requests)
    with pytest.raises(OSError) as failure:
        client.ReadV(file, 0, addresses, 1, memory.iomem)
    assert failure.value.errno == errno.EINVAL


def test_arrays_that_make_no_sense_are_refused(client, file, memory):
    address = memory.iomem.address
    for addresses, lengths, iomem, error in [
        ([address, address], [1], memory.iomem, ValueError),
        ([address], [-1], memory.iomem, ValueError),
        (numpy.array([address], numpy.float64), 1, memory.iomem, TypeError),
        (numpy.array([[address]]), 1, memory.iomem, ValueError),
        ([address], ["1"], memory.iomem, TypeError),
        ([address], 1, [memory.iomem, memory.iomem], ValueError),
        ([address], 1, [None], TypeError),
        ([address], 1, None, TypeError),
        (address, 1, memory.iomem, TypeError),
        (numpy.array([-5]), 1, memory.iomem, ValueError),
    ]:
        for call in (client.ReadV, client.ReadBatch):
            with pytest.raises(error):
                call(file, 0, addresses, lengths, iomem)
    with pytest.raises(ValueError):
        client.ReadBatch(file, [1, 2], [address], 1, memory.iomem)
    with pytest.raises(ValueError):
        client.ReadBatch([file, file], 0, [address], 1, memory.iomem)
    with pytest.raises(ValueError, match="65535"):
        client.ReadV(file, 0, numpy.full(65536, address), 0, memory.iomem)
    assert client.ReadBatch(file, 0, [], 1, memory.iomem) == []
    assert client.InFlight() == 0
