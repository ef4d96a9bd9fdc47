"""ReadAsync and WriteAsync: many at once, cancellation, several loops, waiting for slots."""

import asyncio
import errno
import mmap
import threading

import numpy
import pytest
from conftest import Memory, pattern, wait_for


def test_5000_reads_gathered(client, folder):
    path = f"{folder}/file"
    memory = Memory(client, 5000 * 64)
    client.write_from(path, expected := pattern(5000 * 64))

    async def main():
        return await asyncio.gather(
            *[client.ReadAsync(path, i * 64, [memory.sge(i * 64, 64)], 0) for i in range(5000)]
        )

    requests = asyncio.run(main())
    assert [request.offset for request in requests] == [i * 64 for i in range(5000)]
    assert all(request.Status() == 0 and request.Value() == 64 for request in requests)
    assert numpy.array_equal(memory.bytes, expected)
    assert client.InFlight() == 0


def test_writes_gathered_are_all_there(client, folder, memory):
    path = f"{folder}/file"
    memory.bytes[:] = expected = pattern(1 << 20)

    async def main():
        size = 4096
        return await asyncio.gather(
            *[client.WriteAsync(path, at, [memory.sge(at, size)], 0) for at in range(0, 1 << 20, size)]
        )

    assert sum(request.Check() for request in asyncio.run(main())) == 1 << 20
    target = bytearray(1 << 20)
    assert client.read_into(path, target) == 1 << 20
    assert target == expected.tobytes()


def test_a_failed_request_is_returned_and_a_refused_one_raises(gd2fs, client, folder, memory):
    async def main():
        failed = await client.ReadAsync(f"{folder}/none", 0, [memory.sge()], 0)
        assert gd2fs.InspectStatus(failed.Status())[1::2] == (gd2fs.STATUS_CLASS_SERVER, errno.ENOENT)
        with pytest.raises(OSError) as refused:
            await client.ReadAsync("relative", 0, [memory.sge()], 0)
        assert refused.value.errno == errno.EINVAL
        with pytest.raises(ValueError):
            await client.ReadAsync("/x", 0, [memory.sge(0, 1)] * 65536, 0)
        with pytest.raises(OSError) as refused:
            await client.WriteAsync("/x", 0, [memory.sge()], 0, stream=1)
        assert refused.value.errno in (errno.ENOTSUP, errno.EINVAL)  # without, with a driver

    asyncio.run(main())


def test_more_requests_than_the_library_takes_wait_for_their_turn(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x")
    count = 66_500

    async def main():
        sges = [memory.sge(0, 1)]
        return await asyncio.gather(*[client.ReadAsync(path, 0, sges, 0) for _ in range(count)])

    requests = asyncio.run(main())
    assert len(set(requests)) == count
    assert all(request.Value() == 1 for request in requests)


@pytest.mark.parametrize("workers", [2, 3, 10])
def test_those_who_wait_take_turns(fake_client, fake, fake_memory, workers):
    """With one slot, requests complete in the order in which they were submitted. Nobody who comes back at
    once for more overtakes those in line."""
    fake.set_requests_max(1)
    ended = []

    async def work(number):
        for _ in range(20):
            await fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)
            ended.append(number)

    async def main():
        await asyncio.gather(*[work(number) for number in range(workers)])

    asyncio.run(main())
    assert ended == list(range(workers)) * 20


def test_one_whose_turn_came_in_vain_is_the_next(fake_client, fake, fake_memory):
    fake.set_requests_max(1)
    fake.hold(1)
    ended = []
    plain = []

    async def work(number):
        await fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)
        ended.append(number)

    give_turns = fake_client._loops._give_turns

    def give_turns_after_another_took_the_slot(futures):
        if not plain:
            plain.append(fake_client.Read("/x", 0, [fake_memory.sge(0, 1)], 0, ""))
        give_turns(futures)

    async def main():
        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0)
        fake_client._loops._give_turns = give_turns_after_another_took_the_slot
        fake.hold(0)
        while not plain:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(wait_for, fake_client, *plain)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert ended == [0, 1, 2, 3, 4]


def test_slots_that_another_thread_frees_wake_the_loop(fake_client, fake, fake_memory):
    fake.set_requests_max(5)
    fake.hold(1)
    plain = [fake_client.Read("/x", 0, [fake_memory.sge(0, 1)], 0, "") for _ in range(5)]
    reaped = []

    def reap():
        fake.step(5)
        while len(reaped) < 5:
            reaped.extend(fake_client.Wait(-1))
        fake.hold(0)

    async def main():
        tasks = [
            asyncio.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)) for _ in range(20)
        ]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        thread = threading.Thread(target=reap)
        thread.start()
        await asyncio.gather(*tasks)
        thread.join()

    asyncio.run(main())
    assert set(reaped) == set(plain)


def test_a_turn_passes_on_when_those_before_are_cancelled(fake_client, fake, fake_memory):
    fake.set_requests_max(1)
    fake.hold(1)

    async def main():
        tasks = [
            asyncio.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)) for _ in range(6)
        ]
        await asyncio.sleep(0)
        assert fake.running() == 1
        for task in tasks[1:5]:
            task.cancel()
        fake.hold(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["Request"] + ["CancelledError"] * 4 + ["Request"]

    asyncio.run(main())
    assert fake_client.InFlight() == 0


def test_a_turn_passes_on_when_the_one_who_has_it_is_cancelled(fake_client, fake, fake_memory):
    fake.set_requests_max(1)
    fake.hold(1)
    give_turns = fake_client._loops._give_turns

    async def main():
        tasks = [
            asyncio.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)) for _ in range(3)
        ]
        await asyncio.sleep(0)

        def give_turns_and_cancel(futures):
            give_turns(futures)
            tasks[1].cancel()

        fake_client._loops._give_turns = give_turns_and_cancel
        fake.hold(0)
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert [type(result).__name__ for result in results] == ["Request", "CancelledError", "Request"]

    asyncio.run(main())


def test_a_turn_passes_on_when_the_library_refuses_the_one_who_has_it(fake_client, fake, fake_memory):
    fake.set_requests_max(1)
    fake.hold(1)

    async def main():
        good = [fake_memory.sge(0, 1)]
        paths = ["/x", "/x", "not a path", "also none", "/x"]
        tasks = [asyncio.create_task(fake_client.ReadAsync(path, 0, good, 0)) for path in paths]
        await asyncio.sleep(0)
        fake.hold(0)
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert [type(result).__name__ for result in results] == ["Request"] * 2 + ["OSError"] * 2 + ["Request"]

    asyncio.run(main())


def test_a_cancelled_read_raises_only_when_no_peer_can_touch_its_buffer(fake_client, fake, fake_memory):
    fake.hold(1)
    fake.hold_cancels(1)

    async def main():
        task = asyncio.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge()], 0))
        await asyncio.sleep(0)
        assert fake.running() == 1
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0.001)
            assert not task.done()
        task.cancel()  # once more changes nothing
        await asyncio.sleep(0)
        assert not task.done() and fake.running() == fake.cancels_held() == 1
        assert fake_memory.bytes[0] == 0xCC  # the peer that has not heard of it still writes
        fake.hold_cancels(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fake.running() == 0
        fake_memory.bytes[:] = 7
        await asyncio.sleep(0.005)
        assert (fake_memory.bytes == 7).all()

    asyncio.run(main())
    assert fake_client.InFlight() == 0


def test_cancel_deregister_and_drop_at_once(client, folder):
    """The order in which callers clean up: the buffer is unmapped while the tasks still run, and its
    addresses go to the next who asks. A late byte would end the process or show in the canary."""
    path = f"{folder}/file"
    size = 4 << 20
    client.write_from(path, pattern(size))
    SGE = type(Memory(client, 4096).sge())
    canaries = []

    async def attempt(cancel_after):
        buffer = mmap.mmap(-1, size)
        view = numpy.frombuffer(buffer, numpy.uint8)
        address = view.ctypes.data
        del view
        iomem = client.RegIOMEM(address, size)
        tasks = [
            asyncio.create_task(
                client.ReadAsync(path, at, [SGE(address + at, 65536, iomem)], 0)
            )
            for at in range(0, size, 65536)
        ]
        try:
            for _ in range(cancel_after):
                await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()
            client.DeregIOMEM(iomem)
            buffer.close()
            canaries.append(mmap.mmap(-1, size))
            canaries[-1][:] = b"\xa5" * size
        await asyncio.gather(*tasks, return_exceptions=True)

    async def main():
        for cancel_after in [0, 1, 2, 3, 5, 8, 13, 30, 100]:
            await attempt(cancel_after)

    asyncio.run(main())
    assert client.InFlight() == 0
    assert client.read_into(path, target := bytearray(size)) == size
    assert target == pattern(size).tobytes()
    assert all(canary[:] == b"\xa5" * size for canary in canaries)


def test_deregistering_ends_the_requests_that_use_the_memory(fake_stack, fake_client, fake, fake_memory):
    gd2fs = fake_stack.gd2fs
    fake.hold(1)

    async def main():
        tasks = [
            asyncio.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge(0, 1)], 0)) for _ in range(10)
        ]
        await asyncio.sleep(0)
        fake_client.DeregIOMEM(fake_memory.iomem)
        assert fake.running() == 0
        for request in await asyncio.gather(*tasks):
            assert gd2fs.InspectStatus(request.Status()) == (False, gd2fs.STATUS_CLASS_CLIENT, 3, errno.ECANCELED)

    asyncio.run(main())


def test_a_timeout_around_a_read_cancels_it(fake_client, fake, fake_memory):
    fake.hold(1)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await fake_client.ReadAsync("/x", 0, [fake_memory.sge()], 0)
        assert fake.running() == 0
        fake.hold(0)
        assert (await fake_client.ReadAsync("/x", 0, [fake_memory.sge()], 0)).Done()

    asyncio.run(main())


def test_several_loops_in_threads_each_get_their_own(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x" * 4096)
    results = {}

    def work(number):
        async def main():
            return await asyncio.gather(
                *[client.ReadAsync(path, number, [memory.sge(number, 1)], 0, str(number)) for _ in range(300)]
            )

        results[number] = asyncio.run(main())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, requests in results.items():
        assert {request.desc for request in requests} == {str(number)}
        assert all(request.Check() == 1 for request in requests)


def test_a_new_loop_each_time_leaves_no_queues_behind(stack, client, folder, memory):
    client.write_from(f"{folder}/file", b"x")
    sges = [memory.sge(0, 1)]
    for _ in range(1100):  # more than the library has queues
        assert asyncio.run(client.ReadAsync(f"{folder}/file", 0, sges, 0)).Check() == 1
    if stack.fake:
        assert stack.fake.cqs() <= 3


def test_a_loop_that_is_dropped_with_requests_in_flight_frees_their_slots(fake_client, fake, fake_memory):
    fake.hold(1)
    loop = asyncio.new_event_loop()

    async def start():
        task = loop.create_task(fake_client.ReadAsync("/x", 0, [fake_memory.sge()], 0))
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(start())
    assert fake_client.InFlight() == 1
    loop.close()
    task._log_destroy_pending = False
    # The next loop's first request finds the closed one and gives its queue back.
    fake.hold(0)
    asyncio.run(fake_client.ReadAsync("/x", 0, [fake_memory.sge()], 0))
    assert fake_client.InFlight() == 0 and fake.running() == 0


def test_close_ends_what_a_loop_awaits(fake_stack, fake):
    gd2fs = fake_stack.gd2fs
    client = fake_stack.connect()
    memory = Memory(client, 4096)
    fake.hold(1)
    fake.set_requests_max(2)

    async def main():
        tasks = [asyncio.create_task(client.ReadAsync("/x", 0, [memory.sge()], 0)) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.to_thread(client.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for request in results[:2]:
            assert gd2fs.InspectStatus(request.Status())[1:] == (gd2fs.STATUS_CLASS_CLIENT, 4, errno.ECANCELED)
        for error in results[2:]:
            assert isinstance(error, OSError) and error.errno == errno.ECANCELED
        with pytest.raises(OSError) as failure:
            await client.ReadAsync("/x", 0, [memory.sge()], 0)
        assert failure.value.errno == errno.ECANCELED

    asyncio.run(main())


def test_close_from_within_the_loop(stack):
    async def main():
        async with stack.connect() as client:
            memory = Memory(client, 4096)
            tasks = [asyncio.create_task(client.ReadAsync("/none", 0, [memory.sge()], 0)) for _ in range(50)]
            await asyncio.sleep(0)
        assert client.closed
        for request in await asyncio.gather(*tasks):
            assert request.Status() & 0xFF in (errno.ENOENT, errno.ECANCELED)

    asyncio.run(main())


def test_names_and_targets_from_a_loop(client, folder):
    async def main():
        await client.MkdirAsync(f"{folder}/d")
        await client.CreateAsync(f"{folder}/d/a", 10)
        with pytest.raises(FileExistsError):
            await client.CreateAsync(f"{folder}/d/a")
        assert (await client.StatAsync(f"{folder}/d/a")).size == 10
        await client.TruncateAsync(f"{folder}/d/a", 5)
        await client.RenameAsync(f"{folder}/d/a", f"{folder}/d/b")
        assert await client.write_from_async(f"{folder}/d/b", b"hello world") == 11
        await client.FsyncAsync(f"{folder}/d/b")
        target = bytearray(20)
        assert await client.read_into_async(f"{folder}/d/b", target, 6) == 5
        assert target[:5] == b"world"
        assert [entry.name for entry in await client.ReaddirAsync(f"{folder}/d")] == ["b"]
        await client.UnlinkAsync(f"{folder}/d/b")
        await client.RmdirAsync(f"{folder}/d")
        with pytest.raises(FileNotFoundError):
            await client.StatAsync(f"{folder}/d")

    asyncio.run(main())


def test_a_gather_where_one_is_cancelled_leaves_the_others_alone(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x" * 1000)

    async def main():
        tasks = [asyncio.create_task(client.ReadAsync(path, i, [memory.sge(i, 1)], 0)) for i in range(100)]
        await asyncio.sleep(0)
        tasks[50].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result.Check() == 1 for i, result in enumerate(results) if i != 50)
        assert isinstance(results[50], asyncio.CancelledError)

    asyncio.run(main())
    wait_for(client, client.Read(path, 0, [memory.sge(0, 1)], 0, ""))
