"""Wait and GetFd: threads, select loops, Ctrl-C."""

import asyncio
import errno
import os
import select
import signal
import threading

import pytest
from conftest import wait_for


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def test_a_select_loop_that_waits_until_nothing_is_left_sees_every_request(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x" * 4096)
    fd = client.GetFd()
    open_requests = set()
    started = handed_out = 0
    while handed_out < 1000:
        while started < 1000 and len(open_requests) < 64:
            open_requests.add(client.Read(path, started, [memory.sge(started, 1)], 0, ""))
            started += 1
        assert select.select([fd], [], [], 60)[0] == [fd]
        while done := client.Wait(0):
            for request in done:
                open_requests.remove(request)
                assert request.Check() == 1
                handed_out += 1
    assert not readable(fd)


def test_the_descriptor_stays_readable_until_all_are_handed_out(client, folder, memory):
    client.write_from(f"{folder}/file", b"abc")
    fd = client.GetFd()
    assert client.GetFd() == fd and not readable(fd)
    request = client.Read(f"{folder}/file", 0, [memory.sge(0, 3)], 0, "")
    assert select.select([fd], [], [], 60)[0]
    assert readable(fd) and readable(fd)  # level-triggered
    wait_for(client, request)
    assert not readable(fd)


def test_async_requests_never_show_in_wait_or_the_descriptor(client, folder, memory):
    client.write_from(f"{folder}/file", b"abcdef")
    fd = client.GetFd()

    async def main():
        requests = await asyncio.gather(
            *[client.ReadAsync(f"{folder}/file", i, [memory.sge(i, 1)], 0) for i in range(6)]
        )
        assert not readable(fd)
        assert client.Wait(0) == []
        plain = client.Read(f"{folder}/file", 0, [memory.sge(100, 6)], 0, "")
        await asyncio.gather(*[client.ReadAsync(f"{folder}/file", 0, [memory.sge(200, 6)], 0) for _ in range(50)])
        handed_out = []
        while not handed_out:
            handed_out += client.Wait(-1)
        assert handed_out == [plain]
        return requests

    assert all(request.Check() == 1 for request in asyncio.run(main()))
    assert memory.bytes[:6].tobytes() == b"abcdef"


def test_threads_share_the_work_and_each_request_goes_to_one(client, folder, memory):
    client.write_from(f"{folder}/file", b"x" * 4096)
    per_thread, threads_count = 200, 4
    lock = threading.Lock()
    seen = []

    def work(number):
        for i in range(per_thread):
            client.Read(f"{folder}/file", i, [memory.sge(number * per_thread + i, 1)], 0, "")
        while True:
            with lock:
                if len(seen) == per_thread * threads_count:
                    return
            done = client.Wait(10)
            with lock:
                seen.extend(done)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(set(seen)) == per_thread * threads_count
    assert all(request.Check() == 1 for request in seen)


def test_wait_lets_other_threads_run_and_sees_what_they_submit(client, folder, memory):
    client.write_from(f"{folder}/file", b"abc")
    waiting = threading.Event()

    def submit():
        waiting.wait()
        client.Read(f"{folder}/file", 0, [memory.sge(0, 3)], 0, "from a thread")

    thread = threading.Thread(target=submit)
    thread.start()
    waiting.set()
    [request] = client.Wait(-1)
    thread.join()
    assert request.desc == "from a thread" and request.Check() == 3


@pytest.mark.parametrize("how", ["wait", "call"])
def test_ctrl_c_ends_a_wait_and_a_blocking_call(fake_client, fake, fake_memory, how):
    fake.hold(1)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            if how == "wait":
                fake_client.Wait(-1)
            else:
                fake_client.read_into("/file", bytearray(10))
    finally:
        timer.join()
    # The blocking call's request was cancelled and has ended; its registration is gone.
    assert fake.running() == 0
    assert fake_client.InFlight() == 0
    assert fake.iomems() == 1  # that of fake_memory


def test_ctrl_c_in_a_blocking_call_waits_until_no_peer_touches_its_buffer(fake_client, fake):
    fake.hold(1)
    fake.hold_cancels(1)
    pressed = threading.Event()

    def press():
        os.kill(os.getpid(), signal.SIGINT)
        pressed.set()
        while fake.cancels_held() == 0:
            pass
        assert fake.running() == 1
        fake.hold_cancels(0)

    timer = threading.Timer(0.2, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fake_client.read_into("/file", bytearray(10))
    assert pressed.is_set() and fake.running() == 0
    timer.join()


def test_ctrl_c_ends_a_wait_on_the_real_library(real_stack):
    with real_stack.connect() as client:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            client.Wait(-1)
        timer.join()
        assert client.Stat("/").is_dir()


def test_close_wakes_threads_in_wait(stack):
    client = stack.connect()
    errors = []
    started = threading.Barrier(4)

    def wait():
        started.wait()
        try:
            client.Wait(-1)
        except OSError as error:
            errors.append(error.errno)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    client.close()
    for thread in threads:
        thread.join()
    assert errors == [errno.ECANCELED] * 3


def test_too_many_requests_are_refused_with_eagain_until_some_are_reaped(fake_client, fake, fake_memory):
    fake.set_requests_max(10)
    fake.hold(1)
    requests = [fake_client.Read("/x", 0, [fake_memory.sge()], 0, "") for _ in range(10)]
    with pytest.raises(BlockingIOError) as failure:
        fake_client.Read("/x", 0, [fake_memory.sge()], 0, "")
    assert failure.value.errno == errno.EAGAIN
    assert fake_client.InFlight() == 10
    fake.step(1)
    [done] = fake_client.Wait(-1)
    assert done in requests
    fake_client.Read("/x", 0, [fake_memory.sge()], 0, "")


def test_65536_requests_are_taken_and_no_more(client, folder, memory):
    path = f"{folder}/file"
    client.write_from(path, b"x")
    sges = [memory.sge(0, 1)]
    for _ in range(65536):
        client.Read(path, 0, sges, 0, "")
    with pytest.raises(BlockingIOError):
        client.Read(path, 0, sges, 0, "")
    left = 65536
    while left:
        done = client.Wait(-1)
        assert all(request.Status() == 0 for request in done)
        left -= len(done)
    wait_for(client, client.Read(path, 0, sges, 0, ""))
